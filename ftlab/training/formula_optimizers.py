"""Optimizers that are formulas: a pure function, applied tensor by tensor."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ftlab.formulas.adabound import adabound
from ftlab.formulas.lion import lion
from ftlab.formulas.signum import signum
from ftlab.parameters import PIECE

Group = dict[str, Any]
Kept = dict[str, Any]
"""What is remembered of one parameter: tensors and numbers by name."""
FINAL_RATE = 0.1
"""AdaBound's final rate at the learning rate of the run, as its authors have it; a schedule scales both."""
Update = Callable[[Tensor, Tensor, Kept, Group], tuple[Tensor, Kept]]


class FormulaOptimizer(torch.optim.Optimizer):
    """Update each parameter that has a gradient by a formula, with the rate and the decay of its group.

    Args:
        groups: As :func:`ftlab.training.optimizers.make_optimizer` makes them.
        lr: The learning rate of the run, before any schedule.
        update: From a parameter, its gradient, what is remembered of it and its group, to the new parameter and what
            is remembered next: entry by entry, so that it may be given a piece of a tensor. It changes nothing that it
            is given.
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
                    self.state[param] = self._updated(param.detach(), param.grad, self.state[param], group)

    def _updated(self, param: Tensor, grad: Tensor, kept: Kept, group: Group) -> Kept:
        """Update a parameter in place, piece by piece where it is large; return what is remembered of it."""
        tensors = {key: one for key, one in kept.items() if isinstance(one, Tensor)}
        whole = param.device.type != "cpu" or param.numel() <= PIECE
        if whole or not all(one.is_contiguous() for one in (param, grad, *tensors.values())):
            new, kept = self.update(param, grad, kept, group)
            param.copy_(new)
            return kept
        after = dict(kept)
        for start in range(0, param.numel(), PIECE):
            piece, of_grad = (one.view(-1)[start : start + PIECE] for one in (param, grad))
            before = {**kept, **{key: one.view(-1)[start : start + PIECE] for key, one in tensors.items()}}
            new, past = self.update(piece, of_grad, before, group)
            piece.copy_(new)
            for key, one in past.items():
                if isinstance(one, Tensor):
                    if key not in after:
                        after[key] = torch.empty_like(param)
                    after[key].view(-1)[start : start + PIECE].copy_(one)
                else:
                    after[key] = one
        return after


def update_signsgd(param: Tensor, grad: Tensor, kept: Kept, group: Group) -> tuple[Tensor, Kept]:
    """Make a step of signSGD, which remembers nothing."""
    new, _ = signum({"": param}, {"": grad}, {}, group["lr"], beta=0.0)
    return new[""], {}


def update_signum(param: Tensor, grad: Tensor, kept: Kept, group: Group) -> tuple[Tensor, Kept]:
    """Make a step of :func:`ftlab.formulas.signum.signum`."""
    new, momentum = signum({"": param}, {"": grad}, _named(kept, "momentum"), group["lr"])
    return new[""], {"momentum": momentum[""]}


def update_lion(param: Tensor, grad: Tensor, kept: Kept, group: Group) -> tuple[Tensor, Kept]:
    """Make a step of :func:`ftlab.formulas.lion.lion`, with the decay of the group."""
    momentum = _named(kept, "momentum")
    new, momentum = lion({"": param}, {"": grad}, momentum, group["lr"], weight_decay=group["weight_decay"])
    return new[""], {"momentum": momentum[""]}


def update_adabound(param: Tensor, grad: Tensor, kept: Kept, group: Group) -> tuple[Tensor, Kept]:
    """Make a step of :func:`ftlab.formulas.adabound.adabound`; its final rate follows the schedule, as the first one does."""
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
