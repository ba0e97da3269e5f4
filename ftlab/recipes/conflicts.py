"""Rules that get in each other's way, found by what they do, whatever they are called."""

from collections.abc import Sequence

import torch
from torch import nn

from ftlab.rule import Now, Penalty, Prepare, Project, Rule, Schedule

UPDATES, PER_EPOCH = 1000, 100


def conflicts(plan: Sequence[Rule]) -> list[str]:
    """Return sentences about rules that get in each other's way.

    >>> from ftlab.formulas import ClipNorm, WarmupCosine, WarmupLinear
    >>> conflicts([ClipNorm(1.0), ClipNorm(2.0), WarmupLinear()])
    ['ClipNorm stands twice: each acts in its turn.']
    >>> conflicts([WarmupLinear(), WarmupCosine()])
    ['WarmupLinear and WarmupCosine each let the rate rise and fall, so that it is their product.']
    """
    return [*_twice(plan), *_held(plan), *_drawn(plan), *_rates(plan)]


def course(rule: Schedule) -> list[float]:
    """Return what a schedule makes of a rate of 1 in a run of 1000 updates; nothing if it cannot be told without a model.

    >>> from ftlab.formulas import Decay
    >>> [round(rate, 3) for rate in course(Decay(0.5, per="epoch"))[::250]]
    [1.0, 0.25, 0.031, 0.008]
    """
    with torch.random.fork_rng([]):  # explaining draws nothing from the reader's chance
        model = nn.Linear(1, 1)
    params = {name: param.detach() for name, param in model.named_parameters()}
    rates = dict.fromkeys(params, 1.0)
    found: list[float] = []
    try:
        memory = rule.start(model, [], None, Now(steps=UPDATES, steps_per_epoch=PER_EPOCH, params=params))
        for step in range(UPDATES):
            now = Now(step, UPDATES, PER_EPOCH, params=params, grads=params, rates=rates, origin=params)
            new, memory = rule.schedule(dict(rates), memory, now)
            found.append(max(new.values()))
    except Exception:  # a reader's schedule may need more of a model than there is here
        return []
    return found


def _twice(plan: Sequence[Rule]) -> list[str]:
    names = [type(rule).__name__ for rule in plan]
    return [f"{name} stands twice: each acts in its turn." for name in dict.fromkeys(names) if names.count(name) > 1]


def _held(plan: Sequence[Rule]) -> list[str]:
    """Several rules that keep parameters from being trained."""
    holders = [rule for rule in plan if rule.holds]
    if len({type(rule) for rule in holders}) < 2:
        return []
    return [f"{_names(holders)} each hold parameters still: only what none of them holds is trained."]


def _drawn(plan: Sequence[Rule]) -> list[str]:
    """Rules that draw weights to θ₀, beside others that draw them too, freeze them, or have moved them from there."""
    going_back = [rule for rule in plan if rule.needs_origin and not rule.holds]
    drawing = [rule for rule in going_back if isinstance(rule, Penalty | Project)]
    moved = [rule for rule in plan if rule.moves]
    frozen = [rule for rule in plan if rule.holds and isinstance(rule, Prepare)]
    found = []
    if len({type(rule) for rule in drawing}) > 1:
        found.append(f"{_names(drawing)} each draw the weights to θ₀: their pulls add up.")
    if drawing and frozen:
        leave = "leave" if len({type(rule) for rule in frozen}) > 1 else "leaves"
        found.append(f"Only what {_names(frozen)} {leave} free can be drawn to θ₀ by {_names(drawing)}.")
    if moved and going_back:
        found.append(f"The θ₀ of {_names(going_back)} is as loaded: what {_names(moved)} did is drawn back.")
    return found


def _rates(plan: Sequence[Rule]) -> list[str]:
    """Schedules without a warm-up, and several that rise or fall."""
    courses = {rule: course(rule) for rule in plan if isinstance(rule, Schedule)}
    rising = [rule for rule, rates in courses.items() if rates and rates[0] < max(rates) / 2]
    falling = [rule for rule, rates in courses.items() if rates and rates[-1] < max(rates) / 2]
    said: dict[str, list[str]] = {}
    for what, chosen in (("rise", rising), ("fall", falling)):
        if len(chosen) > 1:
            said.setdefault(_names(chosen), []).append(what)
    found = [
        f"{names} each let the rate {' and '.join(what)}, so that it is their product." for names, what in said.items()
    ]
    if courses and not rising and all(courses.values()):
        found.append("There is no warm-up: a recipe that names a schedule gets that and no other.")
    return found


def _names(rules: Sequence[Rule]) -> str:
    return " and ".join(dict.fromkeys(type(rule).__name__ for rule in rules))
