"""Parameters by name: select them by pattern, find their roles and depths, measure them; and evaluation mode."""

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
"""The number of tensor entries to process at once on a CPU; that many fit its cache."""

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)


def select(names: Iterable[str], pattern: Pattern) -> list[str]:
    """Return the names that match a pattern; a pattern without a match is an error.

    ``*`` stands for any characters, so ``encoder.layer.1.*`` is layer 1 and never layer 10.
    A tuple of patterns selects the names that any of them matches, each name once.

    >>> select(["a.weight", "a.bias", "b.weight"], "*.weight")
    ['a.weight', 'b.weight']
    """
    names = list(names)
    patterns = (pattern,) if isinstance(pattern, str) else pattern
    for single in patterns:
        if not any(fnmatchcase(name, single) for name in names):
            examples = ", ".join(names[:1] + names[len(names) // 2 : len(names) // 2 + 1] + names[-1:])
            do = f"They look like {examples}; a star stands for any characters"
            got = f"none of {len(names)} names"
            raise argument_error("select", f"pattern {single!r}", "match a parameter", got, do)
    return [name for name in names if any(fnmatchcase(name, single) for single in patterns)]


def join_patterns(pattern: Pattern) -> str:
    """Return a pattern, or several, as text for a sentence.

    >>> join_patterns(("*.bias", "head.*"))
    '*.bias, head.*'
    """
    return pattern if isinstance(pattern, str) else ", ".join(pattern)


def freeze_params(params: Iterable[nn.Parameter]) -> None:
    """Freeze parameters, and mark those that were trainable for :func:`unfreeze_params`.

    >>> net = nn.Linear(2, 2)
    >>> freeze_params([net.weight]), net.weight.requires_grad, unfreeze_params(net), net.weight.requires_grad
    (None, False, None, True)
    """
    for param in params:
        if param.requires_grad:
            param.requires_grad_(False)
            vars(param)["frozen_by_rule"] = True


def unfreeze_params(model: nn.Module) -> None:
    """Make the parameters trainable again that :func:`freeze_params` froze; others stay as they are."""
    for param in model.parameters():
        if vars(param).pop("frozen_by_rule", False):
            param.requires_grad_(True)


def joint_norm(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the L2 norm of all tensors taken as one vector, summed in fp32 at least.

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
    """Return the role of each parameter by name: ``weight``, ``bias``, or ``gain`` (the weight of a normalisation module).

    Normalisation modules are found by type (LayerNorm, RMSNorm, BatchNorm, or a class whose name ends in Norm), since a
    name such as ``ln_1.weight`` or ``0.weight`` does not show it. A bias is found by name: ``bias``, ``in_proj_bias``,
    ``bias_hh_l0``.

    >>> roles(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    {'0.weight': 'weight', '0.bias': 'bias', '1.weight': 'gain', '1.bias': 'bias'}
    """
    by_name = {}
    for prefix, module in model.named_modules():
        norm = isinstance(module, _NORMS) or type(module).__name__.endswith("Norm")
        for name, _ in module.named_parameters(recurse=False):
            bias = name == "bias" or name.endswith("_bias") or name.startswith("bias_")
            role = "bias" if bias else "gain" if norm else "weight"
            by_name[f"{prefix}.{name}" if prefix else name] = role
    return by_name


def matrices(model: nn.Module, *, layers: bool = False) -> list[str]:
    """Return the names of the weight matrices of linear and convolutional modules; embeddings and norms are left out.

    With ``layers``, only those inside a list of layers if the model has one, so neither head nor pooler.

    >>> matrices(nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2), nn.LayerNorm(2)))
    ['1.weight']
    """
    weights = {name for name, role in roles(model).items() if role == "weight" and name.rpartition(".")[2] == "weight"}
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            weights.discard(f"{prefix}.weight")
    chosen = [name for name, param in model.named_parameters() if name in weights and param.ndim > 1]
    stacks = [f"{prefix}." for prefix, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    return [name for name in chosen if name.startswith(tuple(stacks))] if layers and stacks else chosen


def penalised(model: nn.Module, names: Iterable[str], pattern: Pattern, where: str) -> list[str]:
    """Return the weights among the names that match a pattern: neither biases nor gains.

    >>> penalised(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), ["0.weight", "0.bias", "1.weight"], "*", "WeightDecay")
    ['0.weight']
    """
    role = roles(model)
    weights = [name for name in select(names, pattern) if role[name] == "weight"]
    if not weights:
        do = "Biases and gains are left alone; choose weights, such as '*.weight'"
        raise argument_error(where, f"pattern {pattern!r}", "match a trainable weight", "none", do)
    return weights


def is_conv1d(module: nn.Module) -> bool:
    """Return whether a module is GPT-2's linear module, whose weight has the shape (inputs, outputs).

    >>> is_conv1d(nn.Linear(2, 2))
    False
    """
    return type(module).__name__ == "Conv1D"


def top_mask(tensors: Mapping[str, Tensor], without: float, *, together: bool = True) -> Tensors:
    """Return masks that are true for the largest entries, and false for a share of the smallest.

    Args:
        tensors: By name.
        without: The share that is not marked, from 0 to 1: of n entries, round(without·n).
        together: Whether the tensors are ranked together, or each on its own.

    Of equal entries the later ones are marked; NaN counts as the largest. So the number of marked entries is exact, and
    the masks are reproducible.

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
    """Return the depth of each parameter by name: embeddings 0, layer i of L is i + 1, all that follows L + 1.

    The layers are the entries of a ``ModuleList``; of several lists, the one with the most parameters. Modules that are
    registered before it and all embeddings outside it have depth 0. Modules after it (pooler, last norm, head) have
    L + 1. In a model without such a list, the parts that have parameters have depth 0, 1, 2, ...

    >>> depths(nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False)))
    {'0.weight': 0, '1.weight': 1, '1.bias': 1, '3.weight': 2}
    """
    lists = [
        (prefix, module)
        for prefix, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and _size(module)
    ]
    if not lists:
        return _chain(model)
    prefix, layers = max(lists, key=lambda pair: _size(pair[1]))  # of equal ones the outermost, which comes first
    embedded = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    by_name, outside = {}, 0
    for name, _ in model.named_parameters():
        if name.startswith(f"{prefix}."):
            by_name[name] = int(name.removeprefix(f"{prefix}.").partition(".")[0]) + 1
            outside = len(layers) + 1
        else:
            by_name[name] = 0 if name in embedded else outside
    return by_name


def _size(module: nn.Module) -> int:
    return sum(param.numel() for param in module.parameters())


def _chain(model: nn.Module, prefix: str = "") -> dict[str, int]:
    """Return the depths in a model without a list of layers; a single part that holds all parameters is unwrapped."""
    parts = [(name, part) for name, part in model.named_children() if _size(part)]
    own = len(list(model.named_parameters(recurse=False)))
    if len(parts) == 1 and not own:
        return _chain(parts[0][1], f"{prefix}{parts[0][0]}.")
    index = {name: number for number, (name, _) in enumerate(parts)}
    return {f"{prefix}{name}": index.get(name.partition(".")[0], 0) for name, _ in model.named_parameters()}


def layer_stack(model: nn.Module, where: str = "layer_stack") -> tuple[str, nn.ModuleList]:
    """Return the name of a transformer's list of layers, and the list.

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
    """Return the names outside the base model of a ``transformers`` model; none if the model is its own base or has none.

    >>> outside_base(nn.Linear(2, 2), ["weight", "bias"])
    []
    """
    prefix = getattr(model, "base_model_prefix", "")
    if not prefix or getattr(model, "base_model", model) is model:
        return []
    return [name for name in names if not name.startswith(f"{prefix}.")]


def head_names(model: nn.Module, names: Iterable[str], origin: Collection[str]) -> list[str]:
    """Return the names of the head: parameters that were not in the checkpoint, or else those outside the base model.

    Args:
        model: A ``transformers`` model, or any other.
        names: The names to select from.
        origin: The names that were in the checkpoint.

    Example:
        >>> head_names(nn.Linear(2, 2), ["weight", "bias"], ["weight"])
        ['bias']
    """
    names = list(names)
    return [name for name in names if name not in origin] or outside_base(model, names)


def train_mode(model: nn.Module, rows: int) -> None:
    """Put a model into training mode, except batch normalisation that is frozen, or has one row, which has no spread.

    >>> net = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout())
    >>> train_mode(net, rows=1)
    >>> [module.training for module in net]
    [False, True]
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            flags = [param.requires_grad for param in module.parameters(recurse=False)]
            module.train(rows > 1 and (any(flags) or not flags))


@contextmanager
def eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode while the context lasts; then restore the mode of each submodule.

    >>> net = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    >>> with eval_mode(net):
    ...     print([part.training for part in net])
    [False, False]
    >>> [part.training for part in net]
    [True, False]
    """
    modes = {submodule: submodule.training for module in modules for submodule in module.modules()}
    for submodule in modes:
        submodule.training = False
    try:
        yield
    finally:
        for submodule, mode in modes.items():
            submodule.training = mode
