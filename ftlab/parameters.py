"""Parameters by name: choose them by pattern, measure them; and modules in evaluation mode for a while."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import reduce

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error

Tensors = dict[str, Tensor]
Pattern = str | tuple[str, ...]
PIECE = 1 << 18
"""How many entries of a tensor to work on at once on a CPU; that many stay in its cache."""

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
            raise argument_error(
                "select",
                f"pattern {one!r}",
                "match a parameter",
                f"none of {len(names)} names",
                f"They look like {some}; a star stands for any characters",
            )
    return [name for name in names if any(fnmatchcase(name, one) for one in patterns)]


def join_patterns(pattern: Pattern) -> str:
    """Return a pattern, or several, as they stand in a sentence.

    >>> join_patterns(("*.bias", "head.*"))
    '*.bias, head.*'
    """
    return pattern if isinstance(pattern, str) else ", ".join(pattern)


def freeze_params(params: Iterable[nn.Parameter]) -> None:
    """Stop the training of parameters, and mark those that were trained, so that :func:`unfreeze_params` knows them.

    >>> net = nn.Linear(2, 2)
    >>> freeze_params([net.weight]), net.weight.requires_grad, unfreeze_params(net), net.weight.requires_grad
    (None, False, None, True)
    """
    for param in params:
        if param.requires_grad:
            param.requires_grad_(False)
            vars(param)["frozen_by_rule"] = True


def unfreeze_params(model: nn.Module) -> None:
    """Let everything that :func:`freeze_params` has stopped be trained again; what was frozen before it stays frozen."""
    for param in model.parameters():
        if vars(param).pop("frozen_by_rule", False):
            param.requires_grad_(True)


def joint_norm(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the Euclidean length of all tensors taken as one vector, added up in single precision at least.

    >>> joint_norm({"a": torch.tensor([3.0]), "b": torch.tensor([4.0])})
    tensor(5.)
    """
    if not tensors:
        return torch.zeros(())
    wide = reduce(torch.promote_types, (tensor.dtype for tensor in tensors.values()), torch.float32)
    norms = torch._foreach_norm([tensor.detach() for tensor in tensors.values()], 2, wide)
    joint: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return joint


def distance(params: Mapping[str, Tensor], origin: Mapping[str, Tensor]) -> Tensor:
    """Return the Euclidean distance between two sets of parameters, over the names of ``origin``.

    >>> distance({"a": torch.tensor([3.0, 4.0])}, {"a": torch.zeros(2)})
    tensor(5.)
    """
    return joint_norm({name: params[name] - tensor for name, tensor in origin.items()})


def roles(model: nn.Module) -> dict[str, str]:
    """Tell for each parameter name whether it is a ``weight``, a ``bias``, or a ``gain`` (a normalising module's weight).

    Modules that normalise are found by their type (LayerNorm, RMSNorm, BatchNorm, a model's own class of them), since
    a name such as ``ln_1.weight`` or ``0.weight`` says nothing. A bias has its name: ``bias``, ``in_proj_bias`` and
    ``bias_hh_l0`` are such.

    >>> roles(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    {'0.weight': 'weight', '0.bias': 'bias', '1.weight': 'gain', '1.bias': 'bias'}
    """
    found = {}
    for prefix, module in model.named_modules():
        norm = isinstance(module, _NORMS) or type(module).__name__.endswith("Norm")
        for name, _ in module.named_parameters(recurse=False):
            bias = name == "bias" or name.endswith("_bias") or name.startswith("bias_")
            role = "bias" if bias else "gain" if norm else "weight"
            found[f"{prefix}.{name}" if prefix else name] = role
    return found


def matrices(model: nn.Module, *, layers: bool = False) -> list[str]:
    """Return the names of the weight matrices: of linear and convolving modules, not of embeddings or normalising ones.

    With ``layers``, only those inside the model's stack of layers, where it has one: neither head nor pooler.

    >>> matrices(nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2), nn.LayerNorm(2)))
    ['1.weight']
    """
    found = {name for name, role in roles(model).items() if role == "weight" and name.rpartition(".")[2] == "weight"}
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            found.discard(f"{prefix}.weight")
    chosen = [name for name, param in model.named_parameters() if name in found and param.ndim > 1]
    stacks = [f"{prefix}." for prefix, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    return [name for name in chosen if name.startswith(tuple(stacks))] if layers and stacks else chosen


def penalised(model: nn.Module, names: Iterable[str], pattern: Pattern, where: str) -> list[str]:
    """Return the weights among the names that match a pattern: neither biases nor the gains of normalising modules.

    >>> penalised(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), ["0.weight", "0.bias", "1.weight"], "*", "WeightDecay")
    ['0.weight']
    """
    role = roles(model)
    found = [name for name in select(names, pattern) if role[name] == "weight"]
    if not found:
        do = "Biases and gains are left alone; choose weights, such as '*.weight'"
        raise argument_error(where, f"pattern {pattern!r}", "match a trainable weight", "none", do)
    return found


def is_conv1d(module: nn.Module) -> bool:
    """Return whether a module is the linear module of GPT-2, whose weight has the shape (inputs, outputs).

    >>> is_conv1d(nn.Linear(2, 2))
    False
    """
    return type(module).__name__ == "Conv1D"


def top_mask(tensors: Mapping[str, Tensor], without: float, *, together: bool = True) -> Tensors:
    """Return masks that are true where the largest entries stand, and false on a share of the smallest.

    Args:
        tensors: By name.
        without: The share that is not marked, from 0 to 1: of n entries, round(without·n).
        together: Whether all tensors are one set, or each is one of its own.

    Among equal entries the later ones are marked, NaN counts as the largest. So the number marked is exact, and the same
    every time.

    >>> top_mask({"a": torch.tensor([3.0, 1.0, 2.0, 1.0])}, 0.25)
    {'a': tensor([ True, False,  True,  True])}
    """
    if not together:
        return {name: top_mask({name: tensor}, without)[name] for name, tensor in tensors.items()}
    flat = torch.cat([tensor.detach().flatten() for tensor in tensors.values()] or [torch.zeros(0)])
    unmarked = round(without * flat.numel())
    if unmarked == 0:
        return {name: torch.ones_like(tensor, dtype=torch.bool) for name, tensor in tensors.items()}
    bound = flat.kthvalue(unmarked).values
    marked = ~(flat <= bound)
    level = (flat == bound).nonzero().flatten()
    marked[level[unmarked - int((flat < bound).sum()) :]] = True
    pieces = torch.split(marked, [tensor.numel() for tensor in tensors.values()])
    return {name: piece.view(tensor.shape) for (name, tensor), piece in zip(tensors.items(), pieces, strict=True)}


def depths(model: nn.Module) -> dict[str, int]:
    """Tell for each parameter name how far above the input it stands: embeddings 0, layer i is i + 1, the rest L + 1.

    The layers are the entries of a ``ModuleList``; of several lists, the one that holds the most parameters. What is
    registered before it and every embedding outside of it have the depth 0. What is registered after it (pooler, last
    norm, head) has L + 1. A model without such a list is a chain: its parts that have parameters count 0, 1, 2, ...

    >>> depths(nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False)))
    {'0.weight': 0, '1.weight': 1, '1.bias': 1, '3.weight': 2}
    """
    lists = [(prefix, one) for prefix, one in model.named_modules() if isinstance(one, nn.ModuleList) and _size(one)]
    if not lists:
        return _chain(model)
    prefix, layers = max(lists, key=lambda pair: _size(pair[1]))  # the outermost of equal ones, which comes first
    embedded = {f"{name}.weight" for name, one in model.named_modules() if isinstance(one, nn.Embedding)}
    found, below = {}, 0
    for name, _ in model.named_parameters():
        if name.startswith(f"{prefix}."):
            found[name] = int(name.removeprefix(f"{prefix}.").partition(".")[0]) + 1
            below = len(layers) + 1
        else:
            found[name] = 0 if name in embedded else below
    return found


def _size(module: nn.Module) -> int:
    return sum(param.numel() for param in module.parameters())


def _chain(model: nn.Module, prefix: str = "") -> dict[str, int]:
    """Return the depths of a model without a list of layers; a part that holds everything is the chain itself."""
    parts = [(name, one) for name, one in model.named_children() if _size(one)]
    own = len(list(model.named_parameters(recurse=False)))
    if len(parts) == 1 and not own:
        return _chain(parts[0][1], f"{prefix}{parts[0][0]}.")
    index = {name: number for number, (name, _) in enumerate(parts)}
    return {f"{prefix}{name}": index.get(name.partition(".")[0], 0) for name, _ in model.named_parameters()}


def layer_stack(model: nn.Module, where: str = "layer_stack") -> tuple[str, nn.ModuleList]:
    """Return a transformer's layers with the name of their list.

    >>> layer_stack(nn.Linear(2, 2))
    Traceback (most recent call last):
    ftlab.errors.ArgumentError: layer_stack: model must have a list of layers as long as its config says. Got Linear. Use a transformer such as BERT or GPT-2.
    """
    count = getattr(getattr(model, "config", None), "num_hidden_layers", None)
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    do = "Use a transformer such as BERT or GPT-2"
    raise argument_error(where, "model", "have a list of layers as long as its config says", type(model).__name__, do)


def outside_base(model: nn.Module, names: Iterable[str]) -> list[str]:
    """Return the names outside the base model of a ``transformers`` model; none in a model without a base.

    >>> outside_base(nn.Linear(2, 2), ["weight", "bias"])
    []
    """
    prefix = getattr(model, "base_model_prefix", "")
    return [name for name in names if not name.startswith(f"{prefix}.")] if prefix else []


def head_names(model: nn.Module, names: Iterable[str], origin: Collection[str]) -> list[str]:
    """Return the names of the head: what was not in the checkpoint; if all was, what is outside the base model.

    Args:
        model: A ``transformers`` model, or any other.
        names: The names to choose from.
        origin: The names that were in the checkpoint.

    Example:
        >>> head_names(nn.Linear(2, 2), ["weight", "bias"], ["weight"])
        ['bias']
    """
    names = list(names)
    return [name for name in names if name not in origin] or outside_base(model, names)


@contextmanager
def eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode, without dropout, while the context lasts; then give each part its own mode back.

    >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with eval_mode(net):
    ...     print([part.training for part in net])
    [False, False]
    >>> [part.training for part in net]
    [True, False]
    """
    modes = {part: part.training for module in modules for part in module.modules()}
    for part in modes:
        part.training = False
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
