"""Make the optimizer, give every parameter its learning rate, and save what an optimizer remembers by name."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_choice
from ftlab.parameters import roles
from ftlab.rule import Rates

Group = dict[str, Any]
MakeOptimizer = Callable[[list[Group]], torch.optim.Optimizer]
NAMES = ("adamw", "sgd", "signsgd", "signum", "lion", "adabound")
WITHOUT_DECAY = ("sgd", "signsgd", "signum")
WEIGHT_DECAY = 0.01
"""The decay of weights where the optimizer has one; biases and the gains of normalising modules have none."""


def make_optimizer(
    optimizer: str | MakeOptimizer, net: nn.Module, params: Mapping[str, nn.Parameter], lr: float
) -> torch.optim.Optimizer:
    """Make an optimizer from two groups of parameters: weights (decayed), and biases and norm gains (not decayed).

    Args:
        optimizer: ``"adamw"``, ``"sgd"`` (plain gradient descent), ``"signsgd"``, ``"signum"``, ``"lion"``,
            ``"adabound"``, or a function from groups to a torch optimizer. The groups hold their weight decay, 0.01 or
            0, which takes precedence over the optimizer's own default.
        net: Its modules' types tell which parameters are biases and gains.
        params: What to train, by name.
        lr: The learning rate to begin with.

    Raises:
        ArgumentError: If the name is unknown, or the function gives something else than an optimizer of these groups.
    """
    role = roles(net)
    groups: list[Group] = []
    for decay, wanted in ((WEIGHT_DECAY, True), (0.0, False)):
        chosen = [param for name, param in params.items() if (role[name] == "weight") == wanted]
        if chosen:
            groups.append({"params": chosen, "lr": lr, "weight_decay": decay, "family": len(groups)})
    if callable(optimizer):
        return _of_groups(optimizer(groups))
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


def _of_groups(made: Any) -> torch.optim.Optimizer:
    """Return what a reader's function made, if its groups are those that it was given."""
    if not isinstance(made, torch.optim.Optimizer) or not all("family" in group for group in made.param_groups):
        do = "Write it as in optimizer=lambda groups: torch.optim.Adagrad(groups)"
        raise argument_error(
            "begin", "optimizer", "give a torch optimizer of the groups it is given", type(made).__name__, do
        )
    return made


def set_rates(optimizer: torch.optim.Optimizer, params: Mapping[str, nn.Parameter], rates: Rates) -> None:
    """Give every parameter its learning rate; those of one family and one rate share a group.

    Raises:
        ArgumentError: If a schedule left a parameter out.
    """
    if missing := [name for name in params if name not in rates]:
        do = "A schedule gives every name a rate; 0 keeps a parameter still"
        raise argument_error("step", "rates", "hold every trainable parameter", f"none for {missing[0]}", do)
    name_of = {id(param): name for name, param in params.items()}
    families: dict[int, Group] = {}
    wanted: dict[tuple[int, float], list[Tensor]] = {}
    for group in optimizer.param_groups:
        families.setdefault(group["family"], group)
        for param in group["params"]:
            wanted.setdefault((group["family"], rates[name_of[id(param)]]), []).append(param)
    if len(wanted) == len(optimizer.param_groups) == len(families):
        for group, (_, rate) in zip(optimizer.param_groups, wanted, strict=True):
            group["lr"] = rate
    else:
        optimizer.param_groups[:] = [
            families[family] | {"lr": rate, "params": chosen} for (family, rate), chosen in wanted.items()
        ]


def state_by_name(optimizer: torch.optim.Optimizer, params: Mapping[str, nn.Parameter]) -> dict[str, dict[str, Any]]:
    """Return what an optimizer remembers of each parameter, by the parameter's name."""
    return {name: dict(optimizer.state[param]) for name, param in params.items() if param in optimizer.state}


def load_state_by_name(
    optimizer: torch.optim.Optimizer, params: Mapping[str, nn.Parameter], memory: Mapping[str, Mapping[str, Any]]
) -> None:
    """Load optimizer state by parameter name; parameters without saved state start fresh."""
    optimizer.state.clear()
    for name, values in memory.items():
        param = params[name]
        optimizer.state[param] = {
            key: value.to(param.device) if isinstance(value, Tensor) else value for key, value in values.items()
        }
