"""A recipe is a list of rules: read it from text, complete it, explain it."""

import ast
import difflib
import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ftlab import formulas
from ftlab.errors import argument_error, check_choice
from ftlab.recipes.conflicts import conflicts
from ftlab.rule import KINDS, Finish, GradientRule, Penalty, Prepare, Project, Rule, Schedule

MOMENTS = {
    Prepare: "once, before the first update",
    Penalty: "every update, added to the loss",
    GradientRule: "every update, after backward",
    Schedule: "every update, before it",
    Project: "every update, after it",
    Finish: "once, after the last update",
}
LETTERS = dict(zip(KINDS, ("θ₀", "Ω", "G", "α", "Π", "θ*"), strict=True))
UPDATES = {
    "adamw": "AdamW({})",
    "sgd": "{}",
    "signsgd": "sign({})",
    "signum": "Signum({})",
    "lion": "Lion({})",
    "adabound": "AdaBound({})",
}
"""How an optimizer is written, with {} for the gradient."""


def rules() -> dict[str, type[Rule]]:
    """Return the rules that a recipe can name."""
    found = vars(formulas).items()
    return {name: one for name, one in found if inspect.isclass(one) and issubclass(one, Rule)}


def parse(text: str, known: Mapping[str, type[Rule]] | None = None) -> Rule:
    """Read a rule from text such as ``Decay(0.9, per='epoch')``; nothing in it is ever evaluated.

    Numbers, strings, tuples, ``None``, ``True``, ``False`` and ``inf`` may stand as arguments. ``known`` names the rules
    that may be meant, those of ftlab if left out.

    Raises:
        ArgumentError: If it is not a known rule with such arguments, or the rule refuses them.

    Example:
        >>> parse("Reinit(0.15)")
        Reinit(scale=0.15, pattern='*')
    """
    known = rules() if known is None else known
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        do = "Write it as in 'ClipNorm(1.0)'"
        raise argument_error("parse", "rule", "be a rule's name with its arguments in parentheses", repr(text), do)
    name = call.func.id
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        do = f"Perhaps {near[0]} is meant" if near else f"There are {', '.join(sorted(known))}"
        raise argument_error("parse", "rule", "be one that ftlab has", repr(name), do.rstrip("."))
    try:
        positional = [_literal(one) for one in call.args]
        named = {str(one.arg): _literal(one.value) for one in call.keywords if one.arg}
        if len(named) < len(call.keywords):
            raise ValueError("**")
    except ValueError as error:
        do = "Arguments are numbers, strings, tuples, None, True, False or inf"
        raise argument_error("parse", f"argument of {name}", "be a plain value", repr(text), do) from error
    try:
        inspect.signature(known[name]).bind(*positional, **named)
    except TypeError as error:
        do = f"It is written {name}{inspect.signature(known[name])}".replace(" -> None", "")
        raise argument_error("parse", f"arguments of {name}", "fit the rule", f"{text!r} ({error})", do) from error
    return known[name](*positional, **named)


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id == "inf":
        return math.inf
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(node.operand)
        if isinstance(value, int | float):
            return -value
    if isinstance(node, ast.Tuple):
        return tuple(_literal(one) for one in node.elts)
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError("not a literal")


def check_recipe(recipe: Any) -> tuple[Rule, ...]:
    """Return a recipe as a tuple of rules, reading those that are text."""
    if isinstance(recipe, str | Rule) or not isinstance(recipe, Sequence):
        raise argument_error("finetune", "recipe", "be a list of rules", repr(recipe), "Write it as [ClipNorm(1.0)]")
    read = tuple(parse(one) if isinstance(one, str) else one for one in recipe)
    for one in read:
        if not isinstance(one, Rule):
            what = f"the class {one.__name__}" if inspect.isclass(one) else repr(one)
            do = "Give it its arguments, as in ClipNorm(1.0)"
            raise argument_error("finetune", "recipe", "hold rules only", what, do)
    return read


def complete(recipe: Sequence[Rule]) -> tuple[Rule, ...]:
    """Add warm-up and linear decay to a recipe without a schedule; add nothing else.

    >>> complete([])
    (WarmupLinear(warmup=0.1),)
    """
    if any(isinstance(rule, Schedule) for rule in recipe):
        return tuple(recipe)
    return (*recipe, formulas.WarmupLinear())


def explain(recipe: Sequence[Rule | str], optimizer: Any = "adamw") -> str:
    """Return the plan of a recipe: as an equation, then rule by rule in the order in which they act.

    Args:
        recipe: Rules, or their text.
        optimizer: As in :func:`ftlab.finetune`.

    Example:
        >>> print(explain(["ClipNorm(1.0)", "Decay(0.9, per='epoch')"]))
        θ ← θ − α_t·AdamW(G(∇J))
        <BLANKLINE>
        every update, after backward:
          G  ClipNorm(max_norm=1.0)
             g ← g·min(1, 1/‖g‖)
             Shorten all gradients together to a joint length of at most 1.
        every update, before it:
          α  Decay(gamma=0.9, per='epoch')
             α_e = α·0.9^e
             Multiply the learning rate by 0.9 after every epoch.
        <BLANKLINE>
        take care:
          There is no warm-up: a recipe with a schedule of its own gets only that one.
    """
    given = check_recipe(list(recipe))
    plan = complete(given)
    lines = [equation(plan, optimizer), ""]
    shown: list[Rule] = []
    for kind, letter in LETTERS.items():
        chosen = [rule for rule in plan if isinstance(rule, kind)]
        if chosen:
            lines.append(f"{MOMENTS[kind]}:")
        for rule in chosen:
            if any(rule is one for one in shown):
                lines.append(f"  {letter:<2} {rule!r}   (its other half, as above)")
                continue
            shown.append(rule)
            usual = "" if rule in given else "   (the usual one, since the recipe names no schedule)"
            words = rule.sentence[0].upper() + rule.sentence[1:]
            lines += [f"  {letter:<2} {rule!r}{usual}", f"     {rule.equation}", f"     {words}."]
    cautions = [caution for rule in plan for caution in rule.cautions(plan)] + conflicts(plan)
    if cautions:
        lines += ["", "take care:", *(f"  {caution}" for caution in dict.fromkeys(cautions))]
    return "\n".join(lines)


def equation(plan: Sequence[Rule], optimizer: Any = "adamw") -> str:
    """Return the update that a recipe makes, with what comes before the first and after the last, in plain characters.

    >>> print(equation([formulas.SignPrune(1e-5), formulas.EMA(), formulas.Reinit(0.15)], "sgd"))
    θ₀ ← Reinit(θ₀)
    θ ← Π(θ − α·∇J)
    θ* = EMA(θ)
    """
    present = {kind for kind in KINDS if any(isinstance(rule, kind) for rule in plan)}
    gradient = "∇(J + Ω)" if Penalty in present else "∇J"
    if GradientRule in present:
        gradient = f"G({gradient})"
    rate = "α_t" if Schedule in present else "α"
    update = f"θ − {rate}·{_update(optimizer).format(gradient)}"
    lines = [f"θ ← Π({update})" if Project in present else f"θ ← {update}"]
    before = [rule for rule in plan if isinstance(rule, Prepare)]
    after = [rule for rule in plan if isinstance(rule, Project | Finish) and type(rule).finish is not Rule.finish]
    if before:
        lines.insert(0, f"θ₀ ← {_applied(before, 'θ₀')}")
    if after:
        lines.append(f"θ* = {_applied(after[::-1], 'θ')}")
    return "\n".join(lines)


def _applied(rules: Sequence[Rule], symbol: str) -> str:
    """Write the rules as functions, the first innermost."""
    for rule in rules:
        symbol = f"{type(rule).__name__}({symbol})"
    return symbol


def _update(optimizer: Any) -> str:
    """Return how an optimizer is written, with {} for the gradient."""
    if not callable(optimizer):
        check_choice("explain", "optimizer", optimizer, tuple(UPDATES))
        return UPDATES[optimizer]
    name = getattr(optimizer, "__name__", "")
    return f"{name if name.isidentifier() else 'opt'}({{}})"
