"""Try on a few texts whether a model, packed, does what it does padded; what differs is not packed."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ftlab.fast.packing import can_be_packed, cheap_dropouts, packed
from ftlab.fast.prefix import without_dropout
from ftlab.losses.outputs import logits_of

ROWS = 8
TOLERANCE = 1e-4
"""How far packed scores and gradients may be from padded ones, relative to the greatest."""


@dataclass(frozen=True)
class Found:
    """What was found out about a model."""

    longest: int
    """The longest texts that it was tried on; with longer ones it is tried again."""
    same: bool
    """Whether packed and padded come out the same."""
    first_only: bool
    """Whether they do where the last layer is computed for first tokens alone."""


_found: "WeakKeyDictionary[nn.Module, Found]" = WeakKeyDictionary()


def packing(model: nn.Module, batch: Mapping[str, Tensor]) -> AbstractContextManager[Any]:
    """Return the context in which a model's passes are packed, where that was found to change nothing, with cheap dropout.

    Args:
        model: Any.
        batch: Padded rows, on which the model is tried if it was not before.
    """
    if "attention_mask" not in batch or "input_ids" not in batch or not can_be_packed(model):
        return cheap_dropouts(model)
    longest = batch["attention_mask"].shape[1]
    found = _found.get(model)
    if found is None or longest > found.longest:
        same = agrees(model, batch, first_only=False)
        if same is None:
            return cheap_dropouts(model)
        found = _found[model] = Found(longest, bool(same), bool(same and agrees(model, batch, first_only=True)))
    return packed(model, first_only=found.first_only) if found.same else cheap_dropouts(model)


def agrees(model: nn.Module, batch: Mapping[str, Tensor], *, first_only: bool) -> bool | None:
    """Compare scores and gradients of a few texts, packed and padded, in fp32 and without dropout.

    The texts are cut to different lengths, so that the test says something about any batch. The model's gradients, its
    mode and the generators are afterwards as they were. Returns None where the model did not run packed at all, since then
    nothing was found out.
    """
    with torch.inference_mode(False):
        return _agrees(
            model, {name: batch[name][:ROWS].clone() for name in ("input_ids", "attention_mask")}, first_only
        )


def _agrees(model: nn.Module, rows: dict[str, Tensor], first_only: bool) -> bool | None:
    longest = rows["attention_mask"].shape[1]
    for row in range(len(rows["attention_mask"])):
        rows["attention_mask"][row, max(1, longest - row) :] = 0
    pad = getattr(getattr(model, "config", None), "pad_token_id", None) or 0
    rows["input_ids"] = rows["input_ids"].masked_fill(rows["attention_mask"] == 0, pad)
    device = rows["input_ids"].device.type
    with torch.random.fork_rng([]), without_dropout(model), torch.autocast(device, enabled=False):
        padded = _scores_and_gradients(model, rows)
        try:
            with packed(model, first_only=first_only) as used:
                found = _scores_and_gradients(model, rows)
        except Exception:  # of whatever kind: a model that cannot be packed runs padded
            return False
    if not used.packed:
        return None
    greatest = [max(float(one.abs().max()) for one in part) for part in padded]
    return all(
        float((one - other).abs().max()) <= TOLERANCE * max(scale, 1e-6)
        for scale, part, others in zip(greatest, padded, found, strict=True)
        for one, other in zip(part, others, strict=True)
    )


def _scores_and_gradients(model: nn.Module, rows: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    with torch.enable_grad():
        scores = logits_of(model, rows)
        params = [param for param in model.parameters() if param.requires_grad]
        if not params:
            return [scores.detach()], [scores.detach()]
        found = torch.autograd.grad(scores.square().sum(), params, allow_unused=True)
    zeros = (torch.zeros_like(param) if grad is None else grad for param, grad in zip(params, found, strict=True))
    return [scores.detach()], list(zeros)
