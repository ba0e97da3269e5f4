"""Find rules that conflict, by what they do and not by their names."""

from collections.abc import Sequence

from ftlab.rule import Penalty, Prepare, Project, Rule, Schedule, course


def conflicts(plan: Sequence[Rule]) -> list[str]:
    """Return a sentence for each conflict between the rules of a recipe.

    >>> from ftlab.formulas.clip_norm import ClipNorm
    >>> from ftlab.formulas.warmup import WarmupCosine, WarmupLinear
    >>> conflicts([ClipNorm(1.0), ClipNorm(2.0), WarmupLinear()])
    ['ClipNorm appears twice; both act, in order.']
    >>> conflicts([WarmupLinear(), WarmupCosine()])
    ['WarmupLinear and WarmupCosine each make the learning rate rise and fall; their factors multiply.']
    """
    return [*_twice(plan), *_held(plan), *_drawn(plan), *_rates(plan)]


def _twice(plan: Sequence[Rule]) -> list[str]:
    names = [type(rule).__name__ for rule in plan]
    return [f"{name} appears twice; both act, in order." for name in dict.fromkeys(names) if names.count(name) > 1]


def _held(plan: Sequence[Rule]) -> list[str]:
    """Find several rules that freeze parameters."""
    holders = [rule for rule in plan if rule.freezes]
    if len({type(rule) for rule in holders}) < 2:
        return []
    return [f"{_names(holders)} each freeze parameters; only what none of them freezes is trained."]


def _drawn(plan: Sequence[Rule]) -> list[str]:
    """Find rules that pull weights towards θ₀, beside others that pull too, freeze, or change the start."""
    going_back = [rule for rule in plan if rule.needs_origin and not rule.freezes]
    drawing = [rule for rule in going_back if isinstance(rule, Penalty | Project)]
    moved = [rule for rule in plan if rule.changes_start]
    frozen = [rule for rule in plan if rule.freezes and isinstance(rule, Prepare)]
    found = []
    if len({type(rule) for rule in drawing}) > 1:
        found.append(f"{_names(drawing)} each pull the weights towards θ₀; the pulls add up.")
    if drawing and frozen:
        leave = "leave" if len({type(rule) for rule in frozen}) > 1 else "leaves"
        found.append(f"{_names(drawing)} can pull towards θ₀ only what {_names(frozen)} {leave} trainable.")
    if moved and going_back:
        found.append(
            f"The θ₀ of {_names(going_back)} is the loaded weights, so the change by {_names(moved)} is pulled back."
        )
    return found


def _rates(plan: Sequence[Rule]) -> list[str]:
    """Find schedules without a warm-up, and several that rise or fall."""
    courses = {rule: course(rule) for rule in plan if isinstance(rule, Schedule)}
    rising = [rule for rule, rates in courses.items() if rates and rates[0] < max(rates) / 2]
    falling = [rule for rule, rates in courses.items() if rates and rates[-1] < max(rates) / 2]
    said: dict[str, list[str]] = {}
    for what, chosen in (("rise", rising), ("fall", falling)):
        if len(chosen) > 1:
            said.setdefault(_names(chosen), []).append(what)
    found = [
        f"{names} each make the learning rate {' and '.join(what)}; their factors multiply."
        for names, what in said.items()
    ]
    if courses and not rising and all(courses.values()):
        found.append("There is no warm-up: a recipe with a schedule of its own gets only that one.")
    return found


def _names(rules: Sequence[Rule]) -> str:
    return " and ".join(dict.fromkeys(type(rule).__name__ for rule in rules))
