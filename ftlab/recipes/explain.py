"""Explain a recipe: the update as an equation, then what each rule does, and when."""

from collections.abc import Sequence
from typing import Any

from ftlab.errors import check_choice
from ftlab.recipes.conflicts import conflicts
from ftlab.recipes.parse import check_recipe, complete
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


def explain(recipe: Sequence[Rule | str], optimizer: Any = "adamw") -> str:
    """Explain a recipe: one update as an equation, then each rule in the order in which the rules act.

    A recipe without a schedule is completed as in :func:`ftlab.finetune`. Warnings, such as
    those of conflicting rules, come last.

    Args:
        recipe: A list of rules, or of rules as text such as ``"ClipNorm(1.0)"``.
        optimizer: The name of an optimizer, or a function, as in :func:`ftlab.finetune`.

    Returns:
        The explanation, several lines of text.

    Raises:
        ArgumentError: If a rule or the optimizer is unknown, or a rule's arguments are invalid.

    Example:
        >>> print(explain(["ClipNorm(1.0)", "Decay(0.9, per='epoch')"]))
        θ ← θ − α_t·AdamW(G(∇J))
        <BLANKLINE>
        every update, after backward:
          G  ClipNorm(max_norm=1.0)
             g ← g·min(1, 1/‖g‖)
             Rescale all gradients by one factor so that their global norm is at most 1.
        every update, before it:
          α  Decay(gamma=0.9, per='epoch')
             α_e = α·0.9^e
             Multiply the learning rate by 0.9 after every epoch.
        <BLANKLINE>
        take care:
          There is no warm-up: a recipe with a schedule of its own gets only that one.
    """
    rules = check_recipe(list(recipe))
    plan = complete(rules)
    lines = [equation(plan, optimizer), ""]
    shown: list[Rule] = []
    for kind, letter in LETTERS.items():
        of_kind = [rule for rule in plan if isinstance(rule, kind)]
        if of_kind:
            lines.append(f"{MOMENTS[kind]}:")
        for rule in of_kind:
            if any(rule is earlier for earlier in shown):
                lines.append(f"  {letter:<2} {rule!r}   (the same rule as above)")
                continue
            shown.append(rule)
            usual = "" if rule in rules else "   (the usual one, since the recipe names no schedule)"
            words = rule.description[0].upper() + rule.description[1:]
            lines += [f"  {letter:<2} {rule!r}{usual}", f"     {rule.equation}", f"     {words}."]
    cautions = [caution for rule in plan for caution in rule.cautions(plan)] + conflicts(plan)
    if cautions:
        lines += ["", "take care:", *(f"  {caution}" for caution in dict.fromkeys(cautions))]
    return "\n".join(lines)


def equation(plan: Sequence[Rule], optimizer: Any = "adamw") -> str:
    """Return one update as an equation in plain characters, with the changes before the first and after the last update.

    >>> from ftlab.formulas.ema import EMA
    >>> from ftlab.formulas.reinit import Reinit
    >>> from ftlab.formulas.sign_prune import SignPrune
    >>> print(equation([SignPrune(1e-5), EMA(), Reinit(0.15)], "sgd"))
    θ₀ ← Reinit(θ₀)
    θ ← Π(θ − α·∇J)
    θ* = EMA(θ)
    """
    present = {kind for kind in KINDS if any(isinstance(rule, kind) for rule in plan)}
    gradient = "∇(J + Ω)" if Penalty in present else "∇J"
    if GradientRule in present:
        gradient = f"G({gradient})"
    rate = "α_t" if Schedule in present else "α"
    update = f"θ − {rate}·{_optimizer_template(optimizer).format(gradient)}"
    lines = [f"θ ← Π({update})" if Project in present else f"θ ← {update}"]
    before = [rule for rule in plan if isinstance(rule, Prepare)]
    after = [rule for rule in plan if rule.changes_end]
    if before:
        lines.insert(0, f"θ₀ ← {_applied(before, 'θ₀')}")
    if after:
        lines.append(f"θ* = {_applied(after[::-1], 'θ')}")
    return "\n".join(lines)


def _applied(rules: Sequence[Rule], symbol: str) -> str:
    """Return the rules as nested functions of a symbol, the first one innermost."""
    for rule in rules:
        symbol = f"{type(rule).__name__}({symbol})"
    return symbol


def _optimizer_template(optimizer: Any) -> str:
    """Return how an optimizer is written, with {} for the gradient."""
    if not callable(optimizer):
        check_choice("explain", "optimizer", optimizer, tuple(UPDATES))
        return UPDATES[optimizer]
    name = getattr(optimizer, "__name__", "")
    return f"{name if name.isidentifier() else 'opt'}({{}})"
