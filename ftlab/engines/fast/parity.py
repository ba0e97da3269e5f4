"""Check on a few texts that packed and padded passes agree; a model for which they differ is not packed."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.frozen_cache import FrozenCache
from ftlab.engines.fast.packing import cheap_dropouts, may_be_packed, packed, untouched
from ftlab.formulas._architectures import first_position
from ftlab.losses.logits import logits_of
from ftlab.parameters import eval_mode

SHARES = (1, 3 / 4, 1 / 2, 0)
"""How long the texts of a trial are, as shares of the longest, each of one token at least."""
SHORT, LONG = 64, 256
"""A trial's longest text has 64 tokens at least, or the next power of 2 up to 256: so a model is seldom tried again."""
TOLERANCE = 1e-4
"""How far packed scores and gradients may be from padded ones, relative to the greatest."""


@dataclass(frozen=True)
class Parity:
    """The result of a check, which the model carries as the attribute ``packing_parity``.

    It holds for the model's present children (body and head): a copy, an unpickled model, and a model with a new head or
    body are checked anew.
    """

    children: tuple[nn.Module, ...]
    longest: int
    """The length of the longest text in the check; a longer text needs a new check."""
    same: bool
    """Whether packed and padded passes agree."""
    first_only: bool
    """Whether they agree when the last layer is computed for first tokens only."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # copy.deepcopy and pickle put None in its place


def parity_of(model: nn.Module) -> Parity | None:
    """Return the result of the model's last check; None if it was not checked as it is now."""
    parity: Parity | None = vars(model).get("packing_parity")
    return parity if parity is not None and parity.children == tuple(model.children()) else None


def packing(
    model: nn.Module, batch: Mapping[str, Tensor], cache: FrozenCache | None = None
) -> AbstractContextManager[Any]:
    """Return the context in which a model's passes are packed, where that was found to change nothing, with cheap dropout.

    Args:
        model: Any.
        batch: Padded rows; on their tokens the model is tried if it was not before.
        cache: The outputs of the model's frozen layers so far.
    """
    if "attention_mask" not in batch or "input_ids" not in batch or not may_be_packed(model):
        return cheap_dropouts(model)
    parity = parity_of(model)
    if parity is None or batch["attention_mask"].shape[1] > parity.longest:
        body: Any = model.base_model
        parity = tried(model, batch) if untouched(body) else None
        if parity is None:
            return cheap_dropouts(model)
        vars(model)["packing_parity"] = parity
    return packed(model, first_only=parity.first_only, cache=cache) if parity.same else cheap_dropouts(model)


def packs(model: nn.Module, longest: int) -> bool:
    """Say whether a model was tried on texts of a length at least, and runs packed."""
    parity = parity_of(model)
    return parity is not None and parity.same and longest <= parity.longest


def tried(model: nn.Module, batch: Mapping[str, Tensor]) -> Parity | None:
    """Compare scores and gradients of a few texts, packed and padded, in fp32 and without dropout.

    The texts are made of the batch's tokens, at different lengths up to one that few batches will exceed. The model's
    gradients, its mode and the generators are afterwards as they were. Returns None where the model did not run packed at
    all, since then nothing was found out.
    """
    longest, children = _longest(model, batch), tuple(model.children())
    with torch.inference_mode(False), torch.random.fork_rng([]), eval_mode(model):
        try:
            rows = _texts(model, batch, longest)
            with torch.autocast(rows["input_ids"].device.type, enabled=False):
                padded = _scores_and_gradients(model, rows)
                same = _agrees(model, rows, padded, first_only=False)
                first_only = same and _agrees(model, rows, padded, first_only=True)
        except Exception:  # of whatever kind: a model that cannot be tried, or packed, runs padded
            return Parity(children, longest, False, False)
    return None if same is None else Parity(children, longest, same, bool(first_only))


def _longest(model: Any, batch: Mapping[str, Tensor]) -> int:
    """Return the length up to which a model is tried: that of the batch, and some more where the model has room."""
    longest = batch["attention_mask"].shape[1]
    places = getattr(model.config, "max_position_embeddings", None)
    room = places - first_position(model.base_model) if places else longest
    return max(longest, min(room, LONG, max(SHORT, 1 << (longest - 1).bit_length())))


def _texts(model: Any, batch: Mapping[str, Tensor], longest: int) -> dict[str, Tensor]:
    """Rearrange the tokens of a batch as texts of different lengths; more texts where they are short."""
    tokens = batch["input_ids"][batch["attention_mask"].bool()]
    shares = SHARES * max(1, SHORT // longest) if longest <= LONG else SHARES[::2]
    lengths = torch.tensor([max(1, int(longest * share)) for share in shares], device=tokens.device)
    mask = (torch.arange(longest, device=tokens.device) < lengths[:, None]).to(batch["attention_mask"].dtype)
    ids = tokens.repeat(-(-mask.numel() // len(tokens)))[: mask.numel()].view(mask.shape)
    pad = getattr(model.config, "pad_token_id", None) or 0
    return {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}


def _agrees(
    model: nn.Module, rows: dict[str, Tensor], padded: tuple[list[Tensor], list[Tensor]], *, first_only: bool
) -> bool | None:
    """Say whether scores and gradients come out the same, packed; None where the model did not run packed."""
    with packed(model, first_only=first_only) as used:
        found = _scores_and_gradients(model, rows)
    if not used.packed:
        return None
    return all(_near(part, others) for part, others in zip(padded, found, strict=True))


def _near(expected: list[Tensor], found: list[Tensor]) -> bool:
    greatest = max(float(one.abs().max()) for one in expected)
    margin = TOLERANCE * max(greatest, 1e-6)
    return all(float((one - other).abs().max()) <= margin for one, other in zip(expected, found, strict=True))


def _scores_and_gradients(model: nn.Module, rows: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    with torch.enable_grad():
        scores = logits_of(model, rows)
        params = [param for param in model.parameters() if param.requires_grad]
        if not params:
            return [scores.detach()], [scores.detach()]
        found = torch.autograd.grad(scores.square().sum(), params, allow_unused=True)
    zeros = (torch.zeros_like(param) if grad is None else grad for param, grad in zip(params, found, strict=True))
    return [scores.detach()], list(zeros)
