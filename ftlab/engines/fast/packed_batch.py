"""Several texts in one row with nothing between them: where each begins, and how they are laid out for attention."""

from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.transfer import on_host, sent

TENSORS = ("mask", "token_to_cell", "positions", "first", "cell_to_token", "bias", "cu_seqlens")
"""What a device needs to know of some texts; all else stays on the host."""
MULTIPLE, SIDE = 64, 8
"""Of what the length of a row is a multiple, and the sides of the squares for attention."""


class PackedBatch:
    """The lengths of the texts that stand one after another in a row of tokens.

    Tokens that go through a matrix alone need no padding; attention does, since it compares the tokens of a text with
    each other: it lays each text out as a square, whose side is the longest of them, rounded up to a multiple of 8. Where
    attention needs padding the row ends with some, as much as makes its length a multiple of 64 if the squares have so much.
    For a product of matrices of another shape the library beneath prepares a kernel, which takes time, and keeps it, which
    takes memory: so there should be few shapes.

    Args:
        attention_mask: Shape (texts, width), 1 where a padded row has a token.

    Example:
        >>> texts = PackedBatch(torch.tensor([[1, 1, 0], [1, 1, 1]]))
        >>> texts.lengths.tolist(), texts.first.tolist(), texts.pad_tail, texts.max_seqlen
        ([2, 3], [0, 2], 11, 8)
        >>> texts.positions[: texts.tokens].tolist()
        [0, 1, 0, 1, 2]
    """

    def __init__(self, attention_mask: Tensor) -> None:
        self.width = attention_mask.shape[1]
        """How wide the padded rows are."""
        mask = attention_mask.bool()
        used = int((mask.any(0) * torch.arange(1, self.width + 1)).max())
        side = SIDE * max(1, -(-used // SIDE))
        self.mask = nn.functional.pad(mask, (0, side - self.width))
        """As wide as the squares; what is padded in every row beyond that is cut off."""
        self.count, self.max_seqlen = self.mask.shape
        self.lengths = self.mask.sum(1)
        self.tokens = int(self.lengths.sum())
        self.unpadded = self.tokens == self.mask.numel()
        """Whether nothing has to be padded at all."""
        self.pad_tail = 0 if self.unpadded else min(MULTIPLE - self.tokens % MULTIPLE, self.mask.numel() - self.tokens)
        """How much padding the row ends with; nothing depends on what becomes of it, so its gradient is 0."""
        self.found: dict[Any, tuple[Tensor, Tensor]] = {}

    def to(self, device: torch.device) -> "PackedBatch":
        """Return the same for a device; to a GPU it moves while the host goes on."""
        return self if device == self.mask.device else self.with_tensors(lambda one: sent(one, device))

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> "PackedBatch":
        """Return the same with other tensors in place of those that a device needs."""
        other = copy(self)
        other.right_padded, other.found = self.right_padded, {}
        for name in TENSORS:
            setattr(other, name, change(getattr(self, name)))
        return other

    @cached_property
    def right_padded(self) -> bool:
        """Whether every text has a token and its padding, if any, at its end."""
        return self.unpadded or bool((self.mask[:, :1].all()) & (self.mask[:, 1:] <= self.mask[:, :-1]).all())

    @cached_property
    def token_to_cell(self) -> Tensor:
        """For each packed token, its flat index in the padded (count · longest) grid; tail tokens point at padding cells."""
        held = self.mask.flatten()
        return torch.cat([held.nonzero()[:, 0], (~held).nonzero()[: self.pad_tail, 0]])

    @cached_property
    def positions(self) -> Tensor:
        """For each token, its position in its own text, from 0; padding has some position that the model has."""
        return self.token_to_cell % self.max_seqlen % self.width

    @cached_property
    def first(self) -> Tensor:
        """The place in the row of each text's first token."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """Where each text of the row begins and ends, int32; what pads the row is one more text."""
        ends = torch.tensor([self.tokens, self.tokens + self.pad_tail][: 2 if self.pad_tail else 1])
        return torch.cat([self.first, ends]).int()

    @cached_property
    def cell_to_token(self) -> Tensor:
        """For each cell of the padded grid, the index of its packed token; for padding, that of the first tail token."""
        held = self.mask.flatten()
        return torch.where(held, held.cumsum(0) - 1, self.tokens)

    @cached_property
    def bias(self) -> Tensor:
        """What is added to attention scores, (count, 1, 1, longest): 0 for a token, the lowest number for padding."""
        lowest = torch.finfo(torch.float32).min
        return torch.zeros(self.mask.shape).masked_fill_(~self.mask, lowest)[:, None, None]

    def pack(self, ids: Tensor) -> Tensor:
        """Take the row out of padded rows as a model is given them, (count, width) to (tokens + tail)."""
        return nn.functional.pad(ids, (0, self.max_seqlen - self.width)).flatten().index_select(0, self.token_to_cell)

    def unpack(self, tokens: Tensor) -> Tensor:
        """Lay the row out as a model is given it, (tokens + tail, size) to (count, width, size), zeros for padding."""
        made = tokens.new_zeros(self.mask.numel(), tokens.shape[1]).index_copy_(0, self.token_to_cell, tokens)
        held = made.view(*self.mask.shape, -1).masked_fill(~self.mask[..., None], 0)
        return nn.functional.pad(held, (0, 0, 0, self.width - self.max_seqlen))

    def gather_indices(self, parts: int, heads: int) -> tuple[Tensor, Tensor]:
        """Return the indices that gather packed tokens into the padded grid, per part and head, and those that gather back.

        Padding cells read from the tail and the tail from padding cells, so each gather is the exact backward of the other.
        """
        if (parts, heads) not in self.found:
            head, part = (torch.arange(many, device=self.cell_to_token.device)[:, None] for many in (heads, parts))
            into = (self.cell_to_token.view(self.count, 1, -1) * (parts * heads) + head).view(-1) + part * heads
            text, column = (
                (self.token_to_cell // self.max_seqlen)[:, None, None],
                (self.token_to_cell % self.max_seqlen)[:, None, None],
            )
            back = ((part * self.count + text) * heads + head[:, 0]) * self.max_seqlen + column
            self.found[parts, heads] = into.view(-1), back.view(-1)
        return self.found[parts, heads]


def packed_batch_of(attention_mask: Tensor) -> PackedBatch:
    """Return the packed form of padded rows, on the device of their mask: the one that the mask carries, or a new one."""
    known: PackedBatch | None = getattr(attention_mask, "packed_batch", None)
    return PackedBatch(on_host(attention_mask)).to(attention_mask.device) if known is None else known


def remember_packed_batch(attention_mask: Tensor, packed: PackedBatch) -> None:
    """Let a mask carry its packed form, as the attribute ``packed_batch``, for :func:`packed_batch_of`."""
    attention_mask.packed_batch = packed  # type: ignore[attr-defined]
