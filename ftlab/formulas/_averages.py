"""What the rules that end with an average of the weights share."""

from torch import nn

from ftlab.errors import note
from ftlab.parameters import Tensors


def load_average(where: str, model: nn.Module, mean: Tensors) -> nn.Module:
    """Copy averaged parameters into a model, and mention those that the model no longer has.

    >>> import torch
    >>> load_average("EMA", nn.Linear(2, 1, bias=False), {"weight": torch.ones(1, 2)}).weight.tolist()
    [[1.0, 1.0]]
    """
    params = {name: param.detach() for name, param in model.named_parameters() if name in mean}
    if len(params) < len(mean):
        note(where, f"{len(mean) - len(params)} averaged parameters are no longer there; list {where} later.")
    for name, param in params.items():
        param.copy_(mean[name])
    return model
