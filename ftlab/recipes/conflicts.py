"""Find conflicts between rules, by what the rules do rather than by their names."""

from collections.abc import Sequence

from ftlab.rule import Penalty, Prepare, Project, Rule, Schedule, rate_curve


def conflicts(plan: Sequence[Rule]) -> list[str]:
    """Return a sentence for each conflict between the rules of a recipe.

    >>> from ftlab.formulas.clip_norm import ClipNorm
    >>> from ftlab.formulas.warmup import WarmupCosine, WarmupLinear
    >>> conflicts([ClipNorm(1.0), ClipNorm(2.0), WarmupLinear()])
    ['ClipNorm appears twice; both act, in order.']
    >>> conflicts([WarmupLinear(), WarmupCosine()])
    ['WarmupLinear and WarmupCosine each make the learning rate rise and fall; their factors multiply.']
    """
    return [*_repeated(plan), *_freezing(plan), *_pulling(plan), *_scheduling(plan)]


def _repeated(plan: Sequence[Rule]) -> list[str]:
    names = [type(rule).__name__ for rule in plan]
    return [f"{name} appears twice; both act, in order." for name in dict.fromkeys(names) if names.count(name) > 1]


def _freezing(plan: Sequence[Rule]) -> list[str]:
    """Find rules of several types that freeze parameters."""
    freezing = [rule for rule in plan if rule.freezes]
    if len({type(rule) for rule in freezing}) < 2:
        return []
    return [f"{_names(freezing)} each freeze parameters; only what none of them freezes is trained."]


def _pulling(plan: Sequence[Rule]) -> list[str]:
    """Find rules that pull weights towards θ₀ together with rules that also pull, that freeze, or that change θ₀."""
    returning = [rule for rule in plan if rule.needs_origin and not rule.freezes]
    pulling = [rule for rule in returning if isinstance(rule, Penalty | Project)]
    changing = [rule for rule in plan if rule.changes_start]
    freezing = [rule for rule in plan if rule.freezes and isinstance(rule, Prepare)]
    sentences = []
    if len({type(rule) for rule in pulling}) > 1:
        sentences.append(f"{_names(pulling)} each pull the weights towards θ₀; the pulls add up.")
    if pulling and freezing:
        leave = "leave" if len({type(rule) for rule in freezing}) > 1 else "leaves"
        sentences.append(f"{_names(pulling)} can pull towards θ₀ only what {_names(freezing)} {leave} trainable.")
    if changing and returning:
        sentences.append(
            f"The θ₀ of {_names(returning)} is the loaded weights, so the change by {_names(changing)} is pulled back."
        )
    return sentences


def _scheduling(plan: Sequence[Rule]) -> list[str]:
    """Find schedules without a warm-up, and several schedules that rise or that fall."""
    curves = {rule: rate_curve(rule) for rule in plan if isinstance(rule, Schedule)}
    rising = [rule for rule, rates in curves.items() if rates and rates[0] < max(rates) / 2]
    falling = [rule for rule, rates in curves.items() if rates and rates[-1] < max(rates) / 2]
    verbs_of: dict[str, list[str]] = {}
    for verb, rules in (("rise", rising), ("fall", falling)):
        if len(rules) > 1:
            verbs_of.setdefault(_names(rules), []).append(verb)
    sentences = [
        f"{names} each make the learning rate {' and '.join(verbs)}; their factors multiply."
        for names, verbs in verbs_of.items()
    ]
    if curves and not rising and all(curves.values()):
        sentences.append("There is no warm-up: a recipe with a schedule of its own gets only that one.")
    return sentences


def _names(rules: Sequence[Rule]) -> str:
    return " and ".join(dict.fromkeys(type(rule).__name__ for rule in rules))
