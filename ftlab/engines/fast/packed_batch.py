"""A packed batch: texts one after another in one row, and the indices between this row and the padded grid."""

from collections.abc import Callable
from copy import copy
from functools import cached_property

import torch
from torch import Tensor, nn

from ftlab.engines.fast.transfer import host_copy, tensor_to_device

TENSORS = ("mask", "token_to_cell", "positions", "first", "cell_to_token", "bias", "cu_seqlens")
"""The tensors that are needed on the device; all else stays on the host."""
MULTIPLE, SIDE = 64, 8
"""The packed row's length and the padded length for attention are multiples of these."""


class PackedBatch:
    """The layout of texts that stand one after another in a row of tokens.

    Matrix products need no padding. Attention compares the tokens of a text with each other, so there every text is padded
    to the longest of the batch, rounded up to a multiple of 8. If that takes padding, the packed row ends with a tail of
    padding tokens, which makes its length a multiple of ``multiple`` if the grid has that many padding cells. For each new shape of a
    matrix product the library prepares a kernel, which takes time, and keeps it, which takes memory; so shapes should be few.

    Args:
        attention_mask: Shape (texts, width), 1 where a padded row has a token.
        multiple: The length of a packed row with padding is a multiple of this.

    Example:
        >>> packed = PackedBatch(torch.tensor([[1, 1, 0], [1, 1, 1]]))
        >>> packed.lengths.tolist(), packed.first.tolist(), packed.pad_tail, packed.max_seqlen
        ([2, 3], [0, 2], 11, 8)
        >>> packed.positions[: packed.tokens].tolist()
        [0, 1, 0, 1, 2]
    """

    def __init__(self, attention_mask: Tensor, multiple: int = MULTIPLE) -> None:
        self.width = attention_mask.shape[1]
        """The width of the padded rows."""
        mask = attention_mask.bool()
        used = int((mask.any(0) * torch.arange(1, self.width + 1)).max())
        side = SIDE * max(1, -(-used // SIDE))
        self.mask = nn.functional.pad(mask, (0, side - self.width))
        """The padded grid, (count, max_seqlen); columns beyond it hold padding only and are cut off."""
        self.count, self.max_seqlen = self.mask.shape
        self.lengths = self.mask.sum(1)
        self.tokens = int(self.lengths.sum())
        self.unpadded = self.tokens == self.mask.numel()
        """Whether the grid has no padding."""
        self.pad_tail = 0 if self.unpadded else min(multiple - self.tokens % multiple, self.mask.numel() - self.tokens)
        """The number of padding tokens at the row's end; nothing depends on their outputs, so their gradient is 0."""
        self.indices: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        """The results of :meth:`gather_indices` so far."""

    def to(self, device: torch.device) -> "PackedBatch":
        """Return the layout on a device; the copy to a GPU is asynchronous."""
        if device == self.mask.device:
            return self
        return self.with_tensors(lambda tensor: tensor_to_device(tensor, device))

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> "PackedBatch":
        """Return a copy of the layout, with a function applied to the tensors that are needed on the device."""
        changed = copy(self)
        changed.right_padded, changed.indices = self.right_padded, {}
        for name in TENSORS:
            setattr(changed, name, change(getattr(self, name)))
        return changed

    @cached_property
    def right_padded(self) -> bool:
        """Whether every text has at least one token, and all its padding at the end."""
        return self.unpadded or bool((self.mask[:, :1].all()) & (self.mask[:, 1:] <= self.mask[:, :-1]).all())

    @cached_property
    def token_to_cell(self) -> Tensor:
        """For each packed token, its flat index in the padded (count · max_seqlen) grid; tail tokens point at padding cells."""
        is_token = self.mask.flatten()
        return torch.cat([is_token.nonzero()[:, 0], (~is_token).nonzero()[: self.pad_tail, 0]])

    @cached_property
    def positions(self) -> Tensor:
        """For each token, its position in its text, from 0; for tail tokens, some valid position."""
        return self.token_to_cell % self.max_seqlen % self.width

    @cached_property
    def first(self) -> Tensor:
        """For each text, the index of its first token in the row."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """The bounds of the texts in the row, int32; the tail counts as one more text."""
        ends = torch.tensor([self.tokens, self.tokens + self.pad_tail][: 2 if self.pad_tail else 1])
        return torch.cat([self.first, ends]).int()

    @cached_property
    def cell_to_token(self) -> Tensor:
        """For each cell of the padded grid, the index of its packed token; for padding, that of the first tail token."""
        is_token = self.mask.flatten()
        return torch.where(is_token, is_token.cumsum(0) - 1, self.tokens)

    @cached_property
    def bias(self) -> Tensor:
        """The bias of attention scores, (count, 1, 1, max_seqlen): 0 for a token, the lowest fp32 number for padding."""
        lowest = torch.finfo(torch.float32).min
        return torch.zeros(self.mask.shape).masked_fill_(~self.mask, lowest)[:, None, None]

    def pack(self, ids: Tensor) -> Tensor:
        """Pack padded rows: (count, width) to (tokens + tail)."""
        return nn.functional.pad(ids, (0, self.max_seqlen - self.width)).flatten().index_select(0, self.token_to_cell)

    def unpack(self, tokens: Tensor) -> Tensor:
        """Unpack the row: (tokens + tail, size) to (count, width, size), with zeros for padding."""
        cells = tokens.new_zeros(self.mask.numel(), tokens.shape[1]).index_copy_(0, self.token_to_cell, tokens)
        grid = cells.view(*self.mask.shape, -1).masked_fill(~self.mask[..., None], 0)
        return nn.functional.pad(grid, (0, 0, 0, self.width - self.max_seqlen))

    def gather_indices(self, parts: int, heads: int) -> tuple[Tensor, Tensor]:
        """Return the indices that gather packed tokens into the padded grid, per part and head, and those that gather back.

        Padding cells read from the tail and the tail from padding cells, so each gather is the exact backward of the other.
        """
        if (parts, heads) not in self.indices:
            head, part = (torch.arange(count, device=self.cell_to_token.device)[:, None] for count in (heads, parts))
            there = (self.cell_to_token.view(self.count, 1, -1) * (parts * heads) + head).view(-1) + part * heads
            text, column = (
                (self.token_to_cell // self.max_seqlen)[:, None, None],
                (self.token_to_cell % self.max_seqlen)[:, None, None],
            )
            back = ((part * self.count + text) * heads + head[:, 0]) * self.max_seqlen + column
            self.indices[parts, heads] = there.view(-1), back.view(-1)
        return self.indices[parts, heads]


def packed_batch_of(attention_mask: Tensor) -> PackedBatch:
    """Return the layout of padded rows, on the device of their mask: the one that the mask carries, or a new one."""
    packed: PackedBatch | None = getattr(attention_mask, "packed_batch", None)
    return PackedBatch(host_copy(attention_mask)).to(attention_mask.device) if packed is None else packed


def remember_packed_batch(attention_mask: Tensor, packed: PackedBatch) -> None:
    """Store a layout as the mask's attribute ``packed_batch``, for :func:`packed_batch_of`."""
    attention_mask.packed_batch = packed  # type: ignore[attr-defined]
