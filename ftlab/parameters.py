"""Choose parameters by pattern, and measure them."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from ftlab.errors import misused

Tensors = dict[str, Tensor]
Pattern = str | tuple[str, ...]

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


def select(names: Iterable[str], pattern: Pattern) -> list[str]:
    """Return the names that match a pattern; a pattern that matches none is an error.

    ``*`` stands for any characters, so ``encoder.layer.1.*`` is layer 1 and never layer 10.
    A tuple of patterns chooses what any of them matches, each name once.

    >>> select(["a.weight", "a.bias", "b.weight"], "*.weight")
    ['a.weight', 'b.weight']
    """
    names = list(names)
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    for one in patterns:
        if not any(fnmatchcase(name, one) for name in names):
            some = ", ".join(names[:1] + names[len(names) // 2 : len(names) // 2 + 1] + names[-1:])
            raise misused(
                "select",
                f"pattern {one!r}",
                "match a parameter",
                f"none of {len(names)} names",
                f"They look like {some}; a star stands for any characters",
            )
    return [name for name in names if any(fnmatchcase(name, one) for one in patterns)]


def joint_norm(tensors: Mapping[str, Tensor]) -> Tensor:
    r"""Return the Euclidean length of all tensors taken as one vector.

    >>> joint_norm({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])})
    tensor(5.)
    """
    if not tensors:
        return torch.zeros(())
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors.values()])
    return torch.stack([norm.float() for norm in norms]).square().sum().sqrt()


def distance(params: Mapping[str, Tensor], origin: Mapping[str, Tensor]) -> Tensor:
    """Return the Euclidean distance between two sets of parameters, over the names of ``origin``.

    >>> distance({"a": torch.tensor([3.0, 4.0])}, {"a": torch.zeros(2)})
    tensor(5.)
    """
    return joint_norm({name: params[name] - tensor for name, tensor in origin.items()})


def roles(model: nn.Module) -> dict[str, str]:
    """Tell for each parameter name whether it is a ``weight``, a ``bias``, or a ``gain`` (a normalising module's weight).

    Modules that normalise are found by their type (LayerNorm, RMSNorm, BatchNorm, a model's own class of them), since
    a name such as ``ln_1.weight`` or ``0.weight`` says nothing.

    >>> roles(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    {'0.weight': 'weight', '0.bias': 'bias', '1.weight': 'gain', '1.bias': 'bias'}
    """
    found = {}
    for prefix, module in model.named_modules():
        norm = isinstance(module, _NORMS) or type(module).__name__.endswith("Norm")
        for name, _ in module.named_parameters(recurse=False):
            role = "bias" if name == "bias" else "gain" if norm else "weight"
            found[f"{prefix}.{name}" if prefix else name] = role
    return found
