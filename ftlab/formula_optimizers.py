"""Optimizers that are formulas: a pure function, applied tensor by tensor."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ftlab.formulas import adabound, lion, signum

Group = dict[str, Any]
Kept = dict[str, Any]
"""What is remembered of one parameter: tensors and numbers by name."""
FINAL_RATE = 0.1
"""AdaBound's final rate at the learning rate of the run, as its authors have it; a schedule scales both."""
Update = Callable[[Tensor, Tensor, Kept, Group], tuple[Tensor, Kept]]


class FormulaOptimizer(torch.optim.Optimizer):
    """Update each parameter that has a gradient by a formula, with the rate and the decay of its group.

    Args:
        groups: As :func:`ftlab.optimizers.make_optimizer` makes them.
        lr: The learning rate of the run, before any schedule.
        update: From a parameter, its gradient, what is remembered of it and its group, to the new parameter and what
            is remembered next. It changes nothing that it is given.
    """

    def __init__(self, groups: list[Group], lr: float, update: Update) -> None:
        super().__init__(groups, {"lr": lr, "base_lr": lr, "weight_decay": 0.0})
        self.update = update

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make one update; a parameter without a gradient stays, and what is remembered of it too."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    new, self.state[param] = self.update(param.detach(), param.grad, self.state[param], group)
                    param.copy_(new)


def update_signsgd(param: Tensor, grad: Tensor, kept: Kept, group: Group) -> tuple[Tensor, Kept]:
    """Make a step of signSGD, which remembers nothing."""
    new, _ = signum({"": param}, {"": grad}, {}, group["lr"], beta=0.0)
    return new[""], {}


def update_signum(param: Tensor, grad: Tensor, kept: Kept, group: Group) -> tuple[Tensor, Kept]:
    """Make a step of :func:`ftlab.formulas.signum`."""
    new, momentum = signum({"": param}, {"": grad}, _named(kept, "momentum"), group["lr"])
    return new[""], {"momentum": momentum[""]}


def update_lion(param: Tensor, grad: Tensor, kept: Kept, group: Group) -> tuple[Tensor, Kept]:
    """Make a step of :func:`ftlab.formulas.lion`, with the decay of the group."""
    momentum = _named(kept, "momentum")
    new, momentum = lion({"": param}, {"": grad}, momentum, group["lr"], weight_decay=group["weight_decay"])
    return new[""], {"momentum": momentum[""]}


def update_adabound(param: Tensor, grad: Tensor, kept: Kept, group: Group) -> tuple[Tensor, Kept]:
    """Make a step of :func:`ftlab.formulas.adabound`; its final rate follows the schedule, as the first one does."""
    past = {"": (kept["first"], kept["second"], kept["step"])} if kept else {}
    final = FINAL_RATE * group["lr"] / group["base_lr"]
    decay = group["weight_decay"]
    new, past = adabound({"": param}, {"": grad}, past, group["lr"], final_rate=final, weight_decay=decay)
    return new[""], dict(zip(("first", "second", "step"), past[""], strict=True))


def _named(kept: Kept, key: str) -> dict[str, Tensor]:
    return {"": kept[key]} if key in kept else {}


UPDATES: dict[str, Update] = {
    "signsgd": update_signsgd,
    "signum": update_signum,
    "lion": update_lion,
    "adabound": update_adabound,
}
