"""Explain a recipe: the update as an equation, then what each rule does and when."""

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
             Rescale all gradients by one factor so that their global norm is at most 1.
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
            words = rule.description[0].upper() + rule.description[1:]
            lines += [f"  {letter:<2} {rule!r}{usual}", f"     {rule.equation}", f"     {words}."]
    cautions = [caution for rule in plan for caution in rule.cautions(plan)] + conflicts(plan)
    if cautions:
        lines += ["", "take care:", *(f"  {caution}" for caution in dict.fromkeys(cautions))]
    return "\n".join(lines)


def equation(plan: Sequence[Rule], optimizer: Any = "adamw") -> str:
    """Return the update that a recipe makes, with what comes before the first and after the last, in plain characters.

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
    update = f"θ − {rate}·{_update(optimizer).format(gradient)}"
    lines = [f"θ ← Π({update})" if Project in present else f"θ ← {update}"]
    before = [rule for rule in plan if isinstance(rule, Prepare)]
    after = [rule for rule in plan if rule.changes_end]
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
