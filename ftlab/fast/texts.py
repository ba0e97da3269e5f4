"""Several texts in one row with nothing between them: where each begins, and how they are laid out for attention."""

from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from ftlab.host import on_host, sent

TENSORS = ("mask", "place", "positions", "first", "bias", "bounds")
"""What a device needs to know of some texts; all else stays on the host."""
MULTIPLE, SIDE = 64, 8
"""Of what the length of a row is a multiple, and the sides of the rectangles for attention."""


class Texts:
    """The lengths of the texts that stand one after another in a row of tokens.

    Tokens that go through a matrix alone need no padding; attention does, since it compares the tokens of a text with
    each other: it lays the texts out as ``count`` rectangles of ``longest`` tokens, a multiple of 8. The row ends with as
    much padding as makes its length a multiple of 64, if there is so much. For a product of matrices of another shape the
    library beneath prepares a kernel, which takes time, and keeps it, which takes memory: so there should be few shapes.

    Example:
        >>> texts = Texts(torch.tensor([[1, 1, 0], [1, 1, 1]]))
        >>> texts.lengths.tolist(), texts.first.tolist(), texts.longest, texts.tail
        ([2, 3], [0, 2], 8, 11)
        >>> texts.positions[: texts.tokens].tolist()
        [0, 1, 0, 1, 2]
        >>> row = torch.arange(1.0, 17.0)[:, None]
        >>> texts.pad(row)[: 8].flatten().tolist()
        [1.0, 2.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]
    """

    def __init__(self, attention_mask: Tensor) -> None:
        self.width = attention_mask.shape[1]
        """How wide the padded rows are."""
        self.mask = nn.functional.pad(attention_mask.bool(), (0, -self.width % SIDE))
        self.lengths = self.mask.sum(1)
        self.count, self.longest = self.mask.shape
        self.tokens = int(self.lengths.sum())
        self.even = self.tokens == self.mask.numel()
        """Whether all texts are of one length, so that nothing has to be padded at all."""
        self.tail = min(-self.tokens % MULTIPLE, self.mask.numel() - self.tokens)
        """How much padding the row ends with; nothing depends on what becomes of it."""

    def to(self, device: torch.device) -> "Texts":
        """Return the same for a device; to a GPU it moves while the host goes on."""
        return self if device == self.mask.device else self.with_tensors(lambda one: sent(one, device))

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> "Texts":
        """Return the same with other tensors in place of those that a device needs."""
        other = copy(self)
        other.solid = self.solid
        for name in TENSORS:
            setattr(other, name, change(getattr(self, name)))
        return other

    @cached_property
    def solid(self) -> bool:
        """Whether every text has a token and its padding, if any, at its end."""
        return self.even or bool((self.mask[:, :1].all()) & (self.mask[:, 1:] <= self.mask[:, :-1]).all())

    @cached_property
    def place(self) -> Tensor:
        """For each token of the row, its place among the ``count`` · ``longest`` of the padded layout."""
        cells = self.mask.flatten()
        return torch.cat([cells.nonzero()[:, 0], (~cells).nonzero()[: self.tail, 0]])

    @cached_property
    def positions(self) -> Tensor:
        """For each token, its position in its own text, from 0; padding has some position that the model has."""
        return self.place % self.longest % self.width

    @cached_property
    def first(self) -> Tensor:
        """The place in the row of each text's first token."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def bounds(self) -> Tensor:
        """Where each text of the row begins and ends, int32; what pads the row is one more text."""
        ends = [self.lengths.cumsum(0), *([torch.tensor([self.tokens + self.tail])] if self.tail else [])]
        return nn.functional.pad(torch.cat(ends), (1, 0)).int()

    @cached_property
    def bias(self) -> Tensor:
        """What is added to attention scores, (count, 1, 1, longest): 0 for a token, the lowest number for padding."""
        zero = torch.zeros(self.count, 1, 1, self.longest, device=self.mask.device)
        return zero.masked_fill_(~self.mask[:, None, None], torch.finfo(torch.float32).min)

    def row(self, ids: Tensor) -> Tensor:
        """Take the row out of padded rows as a model is given them, (count, width) to (tokens + tail)."""
        return self.flat(nn.functional.pad(ids, (0, self.longest - self.width)).flatten())

    def rows(self, tokens: Tensor) -> Tensor:
        """Lay the row out as a model is given it, (tokens + tail, size) to (count, width, size)."""
        return self.pad(tokens).view(self.count, self.longest, -1)[:, : self.width]

    def flat(self, padded: Tensor) -> Tensor:
        """Take the row out of a padded layout, (count · longest, ...) to (tokens + tail, ...)."""
        return padded if self.even else padded.index_select(0, self.place)

    def pad(self, tokens: Tensor) -> Tensor:
        """Lay the row out, (tokens + tail, width) to (count · longest, width), with zeros where it has nothing."""
        if self.even:
            return tokens
        return tokens.new_zeros(self.count * self.longest, tokens.shape[1]).index_copy_(0, self.place, tokens)


_laid_out: Any = WeakIdKeyDictionary()


def texts_of(attention_mask: Tensor) -> Texts:
    """Return how texts lie in padded rows, found out on the host, for the device of the mask."""
    known: Texts | None = _laid_out.get(attention_mask)
    return Texts(on_host(attention_mask)).to(attention_mask.device) if known is None else known


def lie_as(attention_mask: Tensor, texts: Texts) -> None:
    """Let :func:`texts_of` give these texts for a mask."""
    _laid_out[attention_mask] = texts
