"""Check on a few texts that packed and padded passes agree; a model for which they differ is not packed."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.data.batches import predicts_tokens
from ftlab.data.conversations import IGNORE
from ftlab.engines.fast.frozen_cache import FrozenCache
from ftlab.engines.fast.packing import can_be_packed, cheap_dropouts, is_unmodified, packed_passes
from ftlab.formulas._architectures import first_position
from ftlab.losses.logits import logits_of
from ftlab.losses.next_token import target_logits
from ftlab.parameters import eval_mode

SHARES = (1, 3 / 4, 1 / 2, 0)
"""The lengths of the check's texts, as shares of the longest; each text has at least one token."""
SHORT, LONG = 64, 256
"""The longest text of a check has at least 64 tokens, or the next power of 2 up to 256, so that few checks are needed."""
ALIKE = 8
"""With how many common tokens the texts of a check begin, for a model that predicts tokens."""
TOLERANCE = 1e-4
"""How far packed scores and gradients may be from padded ones, relative to the largest entry."""


@dataclass(frozen=True)
class Parity:
    """The result of a check, stored as the model's attribute ``packing_parity``.

    It holds for the model's present children (body and head): a copy, an unpickled model, and a model with a new head or
    body are checked again.
    """

    children: tuple[nn.Module, ...]
    longest: int
    """The length of the longest text in the check; a longer text needs a new check."""
    same: bool
    """Whether packed and padded passes agree."""
    shortcut: bool
    """Whether they agree with a shortcut: the last layer for first tokens only, or a common beginning computed once."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()  # copy.deepcopy and pickle store None instead


def parity_of(model: nn.Module) -> Parity | None:
    """Return the result of the model's last check; None if the model, as it is now, was not checked."""
    parity: Parity | None = vars(model).get("packing_parity")
    return parity if parity is not None and parity.children == tuple(model.children()) else None


def packed_context(
    model: nn.Module, batch: Mapping[str, Tensor], cache: FrozenCache | None = None
) -> AbstractContextManager[Any]:
    """Return the context in which a model's passes have cheap dropout and, if packed and padded passes agree, are packed.

    Args:
        model: Any model.
        batch: Padded rows; if the model was not checked yet, it is checked on their tokens.
        cache: The outputs of the model's frozen layers so far.
    """
    if "attention_mask" not in batch or "input_ids" not in batch or not can_be_packed(model):
        return cheap_dropouts(model)
    parity = parity_of(model)
    if parity is None or batch["attention_mask"].shape[1] > parity.longest:
        body: Any = model.base_model
        parity = check_parity(model, batch) if is_unmodified(body) else None
        if parity is None:
            return cheap_dropouts(model)
        vars(model)["packing_parity"] = parity
    if not parity.same:
        return cheap_dropouts(model)
    return packed_passes(model, first_only=parity.shortcut, share=parity.shortcut, cache=cache)


def is_packed(model: nn.Module, longest: int) -> bool:
    """Return whether the model was checked on texts of at least this length, and runs packed."""
    parity = parity_of(model)
    return parity is not None and parity.same and longest <= parity.longest


def check_parity(model: nn.Module, batch: Mapping[str, Tensor]) -> Parity | None:
    """Compare the scores and gradients of a few texts, packed and padded, in fp32 and without dropout.

    The texts consist of the batch's tokens, at different lengths up to one that few batches will exceed. The model's
    gradients, its mode and the random generators are restored. Returns None if the model did not run packed at all,
    since then nothing was compared.
    """
    longest, children = _longest(model, batch), tuple(model.children())
    with torch.inference_mode(False), torch.random.fork_rng([]), eval_mode(model):
        try:
            rows = _texts(model, batch, longest)
            with torch.autocast(rows["input_ids"].device.type, enabled=False):
                padded = _scores_and_gradients(model, rows)
                if predicts_tokens(rows) and _agrees(model, rows, padded, shortcut=True):
                    return Parity(children, longest, True, True)  # one pass more would cost seconds
                same = _agrees(model, rows, padded, shortcut=False)
                shortcut = same and not predicts_tokens(rows) and _agrees(model, rows, padded, shortcut=True)
        except Exception:  # of any kind: a model for which the check fails runs padded
            return Parity(children, longest, False, False)
    return None if same is None else Parity(children, longest, same, bool(shortcut))


def _longest(model: Any, batch: Mapping[str, Tensor]) -> int:
    """Return the length of the check's longest text: that of the batch, or more if the model has the positions."""
    longest = batch["attention_mask"].shape[1]
    positions = getattr(model.config, "max_position_embeddings", None)
    limit = positions - first_position(model.base_model) if positions else longest
    return max(longest, min(limit, LONG, max(SHORT, 1 << (longest - 1).bit_length())))


def _texts(model: Any, batch: Mapping[str, Tensor], longest: int) -> dict[str, Tensor]:
    """Rearrange the tokens of a batch as texts of different lengths; more texts if they are short.

    If every token of the batch may be a target, two texts suffice, since such models are large; they begin alike, and all
    their tokens are targets.
    """
    tokens = batch["input_ids"][batch["attention_mask"].bool()]
    next_token = predicts_tokens(batch)
    shares = SHARES * max(1, SHORT // longest) if longest <= LONG else SHARES[::2]
    shares = (1, 1 / 2) if next_token else shares
    lengths = torch.tensor([max(1, int(longest * share)) for share in shares], device=tokens.device)
    mask = (torch.arange(longest, device=tokens.device) < lengths[:, None]).to(batch["attention_mask"].dtype)
    ids = tokens.repeat(-(-mask.numel() // len(tokens)))[: mask.numel()].view(mask.shape).clone()
    pad = getattr(model.config, "pad_token_id", None) or 0
    if not next_token:
        return {"input_ids": ids.masked_fill(mask == 0, pad), "attention_mask": mask}
    ids[:, :ALIKE] = ids[0, :ALIKE]
    return {
        "input_ids": ids.masked_fill(mask == 0, pad),
        "attention_mask": mask,
        "labels": ids.masked_fill(mask == 0, IGNORE),
    }


def _agrees(
    model: nn.Module, rows: dict[str, Tensor], padded: tuple[list[Tensor], list[Tensor]], *, shortcut: bool
) -> bool | None:
    """Return whether packed scores and gradients equal the padded ones; None if the model did not run packed."""
    with packed_passes(model, first_only=shortcut, share=shortcut) as usage:
        packed = _scores_and_gradients(model, rows)
    if not usage.packed:
        return None
    return all(_near(expected, actual) for expected, actual in zip(padded, packed, strict=True))


def _near(expected: list[Tensor], actual: list[Tensor]) -> bool:
    largest = max(float(tensor.abs().max()) for tensor in expected)
    margin = TOLERANCE * max(largest, 1e-6)
    return all(float((a - b).abs().max()) <= margin for a, b in zip(expected, actual, strict=True))


def _scores_and_gradients(model: nn.Module, rows: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    with torch.enable_grad():
        scores = target_logits(model, rows)[0] if "labels" in rows else logits_of(model, rows)
        params = [param for param in model.parameters() if param.requires_grad]
        if not params:
            return [scores.detach()], [scores.detach()]
        grads = torch.autograd.grad(scores.square().sum(), params, allow_unused=True)
    filled = (torch.zeros_like(param) if grad is None else grad for param, grad in zip(params, grads, strict=True))
    return [scores.detach()], list(filled)
