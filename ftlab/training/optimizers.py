"""Build the optimizer, set a learning rate per parameter, and save and load optimizer state by parameter name."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_choice
from ftlab.parameters import roles
from ftlab.rule import Rates

Group = dict[str, Any]
"""A parameter group of a torch optimizer."""
MakeOptimizer = Callable[[list[Group]], torch.optim.Optimizer]
NAMES = ("adamw", "sgd", "signsgd", "signum", "lion", "adabound")
WITHOUT_DECAY = ("sgd", "signsgd", "signum")
"""Optimizers without weight decay."""
WEIGHT_DECAY = 0.01
"""The weight decay of the other optimizers; biases and the gains of normalisation layers are not decayed."""


def make_optimizer(
    optimizer: str | MakeOptimizer, net: nn.Module, params: Mapping[str, nn.Parameter], lr: float
) -> torch.optim.Optimizer:
    """Build an optimizer with two parameter groups: weights (decayed), and biases and norm gains (not decayed).

    Args:
        optimizer: ``"adamw"``, ``"sgd"`` (plain gradient descent), ``"signsgd"``, ``"signum"``, ``"lion"``,
            ``"adabound"``, or a function from parameter groups to a torch optimizer. Each group sets its weight decay,
            0.01 or 0, which takes precedence over the optimizer's own default.
        net: The model. The types of its modules determine which parameters are biases and norm gains.
        params: The parameters to train, by name.
        lr: The learning rate before any schedule, greater than 0.

    Returns:
        A torch optimizer. Each of its groups has a ``family``, the number of the group that it comes from.

    Raises:
        ArgumentError: If the name is unknown, or the function does not return an optimizer of these groups.
    """
    role = roles(net)
    groups: list[Group] = []
    for decay, of_weights in ((WEIGHT_DECAY, True), (0.0, False)):
        members = [param for name, param in params.items() if (role[name] == "weight") == of_weights]
        if members:
            groups.append({"params": members, "lr": lr, "weight_decay": decay, "family": len(groups)})
    if callable(optimizer):
        return _check_optimizer(optimizer(groups))
    check_choice("begin", "optimizer", optimizer, NAMES)
    if optimizer in WITHOUT_DECAY:
        groups = [group | {"weight_decay": 0.0} for group in groups]
    if optimizer == "sgd":
        return torch.optim.SGD(groups, lr=lr)
    if optimizer != "adamw":
        from ftlab.training.formula_optimizers import UPDATES, FormulaOptimizer

        return FormulaOptimizer(groups, lr, UPDATES[optimizer])
    on_mps = next(iter(params.values())).device.type == "mps"
    return torch.optim.AdamW(groups, lr=lr, fused=not on_mps)


def _check_optimizer(optimizer: Any) -> torch.optim.Optimizer:
    """Return the result of a user's function if it is an optimizer of the groups that the function received."""
    if not isinstance(optimizer, torch.optim.Optimizer) or not all(
        "family" in group for group in optimizer.param_groups
    ):
        do = "Write optimizer=lambda groups: torch.optim.Adagrad(groups)"
        got = type(optimizer).__name__
        raise argument_error("begin", "optimizer", "return a torch optimizer of its groups", got, do)
    return optimizer


def set_rates(optimizer: torch.optim.Optimizer, params: Mapping[str, nn.Parameter], rates: Rates) -> None:
    """Set the learning rate of every parameter; parameters of one family with equal rates share a group.

    Args:
        optimizer: From :func:`make_optimizer`.
        params: The trainable parameters, by name.
        rates: The learning rates, by parameter name.

    Raises:
        ArgumentError: If a parameter has no rate.
    """
    if missing := [name for name in params if name not in rates]:
        do = "A schedule must return a rate for every name; 0 keeps a parameter unchanged"
        raise argument_error("step", "rates", "hold every trainable parameter", f"none for {missing[0]}", do)
    name_of = {id(param): name for name, param in params.items()}
    families: dict[int, Group] = {}
    members_of: dict[tuple[int, float], list[Tensor]] = {}
    for group in optimizer.param_groups:
        families.setdefault(group["family"], group)
        for param in group["params"]:
            members_of.setdefault((group["family"], rates[name_of[id(param)]]), []).append(param)
    if len(members_of) == len(optimizer.param_groups) == len(families):
        for group, (_, rate) in zip(optimizer.param_groups, members_of, strict=True):
            group["lr"] = rate
    else:
        optimizer.param_groups[:] = [
            families[family] | {"lr": rate, "params": members} for (family, rate), members in members_of.items()
        ]


def state_by_name(optimizer: torch.optim.Optimizer, params: Mapping[str, nn.Parameter]) -> dict[str, dict[str, Any]]:
    """Return a copy of the optimizer's state dictionary of each parameter, by parameter name."""
    return {name: dict(optimizer.state[param]) for name, param in params.items() if param in optimizer.state}


def load_state_by_name(
    optimizer: torch.optim.Optimizer, params: Mapping[str, nn.Parameter], saved: Mapping[str, Mapping[str, Any]]
) -> None:
    """Replace the optimizer's state by a saved one; parameters without saved state start fresh."""
    optimizer.state.clear()
    for name, values in saved.items():
        param = params[name]
        optimizer.state[param] = {
            key: value.to(param.device) if isinstance(value, Tensor) else value for key, value in values.items()
        }
