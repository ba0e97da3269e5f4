"""Optimizers that apply a formula, a pure function, to one parameter after another."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ftlab.formulas.adabound import adabound
from ftlab.formulas.lion import lion
from ftlab.formulas.signum import signum
from ftlab.parameters import PIECE

Group = dict[str, Any]
ParamState = dict[str, Any]
"""The optimizer state of one parameter: tensors and numbers by name."""
FINAL_LR = 0.1
"""AdaBound's final learning rate, the authors' default. A schedule scales it together with the learning rate."""
Update = Callable[[Tensor, Tensor, ParamState, Group], tuple[Tensor, ParamState]]


class FormulaOptimizer(torch.optim.Optimizer):
    """Update each parameter that has a gradient by a formula, with the learning rate and weight decay of its group.

    Args:
        groups: Parameter groups from :func:`ftlab.training.optimizers.make_optimizer`.
        lr: The learning rate of the run, before any schedule.
        update: A function of a parameter, its gradient, its state and its group that returns the new parameter and the
            new state. It must act elementwise, because large tensors are passed in pieces, and must not modify its
            inputs.
    """

    def __init__(self, groups: list[Group], lr: float, update: Update) -> None:
        super().__init__(groups, {"lr": lr, "base_lr": lr, "weight_decay": 0.0})
        self.update = update

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Make one update; parameters without a gradient, and their state, are unchanged."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self.state[param] = self._update_param(param.detach(), param.grad, self.state[param], group)

    def _update_param(self, param: Tensor, grad: Tensor, state: ParamState, group: Group) -> ParamState:
        """Update a parameter in place, piece by piece if it is large, and return its new state."""
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        whole = param.device.type != "cpu" or param.numel() <= PIECE
        if whole or not all(tensor.is_contiguous() for tensor in (param, grad, *tensors.values())):
            new_param, new_state = self.update(param, grad, state, group)
            param.copy_(new_param)
            return new_state
        new_state = dict(state)
        for start in range(0, param.numel(), PIECE):
            piece, piece_grad = (tensor.view(-1)[start : start + PIECE] for tensor in (param, grad))
            pieces = {key: tensor.view(-1)[start : start + PIECE] for key, tensor in tensors.items()}
            new_piece, piece_state = self.update(piece, piece_grad, {**state, **pieces}, group)
            piece.copy_(new_piece)
            for key, value in piece_state.items():
                if isinstance(value, Tensor):
                    if key not in new_state:
                        new_state[key] = torch.empty_like(param)
                    new_state[key].view(-1)[start : start + PIECE].copy_(value)
                else:
                    new_state[key] = value
        return new_state


def update_signsgd(param: Tensor, grad: Tensor, state: ParamState, group: Group) -> tuple[Tensor, ParamState]:
    """Make a step of signSGD, which has no state."""
    new, _ = signum({"": param}, {"": grad}, {}, group["lr"], beta=0.0)
    return new[""], {}


def update_signum(param: Tensor, grad: Tensor, state: ParamState, group: Group) -> tuple[Tensor, ParamState]:
    """Make a step of :func:`ftlab.formulas.signum.signum`."""
    new, momentum = signum({"": param}, {"": grad}, _by_name(state, "momentum"), group["lr"])
    return new[""], {"momentum": momentum[""]}


def update_lion(param: Tensor, grad: Tensor, state: ParamState, group: Group) -> tuple[Tensor, ParamState]:
    """Make a step of :func:`ftlab.formulas.lion.lion`, with the weight decay of the group."""
    momentum = _by_name(state, "momentum")
    new, momentum = lion({"": param}, {"": grad}, momentum, group["lr"], weight_decay=group["weight_decay"])
    return new[""], {"momentum": momentum[""]}


def update_adabound(param: Tensor, grad: Tensor, state: ParamState, group: Group) -> tuple[Tensor, ParamState]:
    """Make a step of :func:`ftlab.formulas.adabound.adabound`; a schedule scales its final learning rate as well."""
    past = {"": (state["first"], state["second"], state["step"])} if state else {}
    final_lr = FINAL_LR * group["lr"] / group["base_lr"]
    decay = group["weight_decay"]
    new, past = adabound({"": param}, {"": grad}, past, group["lr"], final_rate=final_lr, weight_decay=decay)
    return new[""], dict(zip(("first", "second", "step"), past[""], strict=True))


def _by_name(state: ParamState, key: str) -> dict[str, Tensor]:
    return {"": state[key]} if key in state else {}


UPDATES: dict[str, Update] = {
    "signsgd": update_signsgd,
    "signum": update_signum,
    "lion": update_lion,
    "adabound": update_adabound,
}
