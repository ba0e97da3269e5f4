"""Several texts in one row with nothing between them: where each begins, and how they are laid out for attention."""

from functools import cached_property

import torch
from torch import Tensor

MULTIPLE = 32
"""The row has a multiple of so many tokens, if there is padding to fill it with: so few shapes of matrices come up."""


class Texts:
    """The lengths of the texts that stand one after another in a row of tokens.

    Tokens that go through a matrix alone need no padding; attention does, since it compares the tokens of a text with
    each other: it lays the texts out as ``count`` rectangles of ``longest`` tokens.

    Example:
        >>> texts = Texts(torch.tensor([[1, 1, 0], [1, 1, 1]]))
        >>> texts.lengths.tolist(), texts.positions.tolist(), texts.first.tolist()
        ([2, 3], [0, 1, 0, 1, 2], [0, 2])
        >>> texts.pad(torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])).flatten().tolist()
        [1.0, 2.0, 0.0, 3.0, 4.0, 5.0]
    """

    def __init__(self, attention_mask: Tensor) -> None:
        self.mask = attention_mask.bool()
        self.lengths = self.mask.sum(1)
        self.count, self.longest = attention_mask.shape
        self.tokens = int(self.lengths.sum())
        self.even = self.tokens == self.mask.numel()
        self.tail = min(-self.tokens % MULTIPLE, self.mask.numel() - self.tokens)
        """Whether all texts are of one length, so that nothing has to be padded at all."""

    @property
    def solid(self) -> bool:
        """Whether every text has a token and its padding, if any, at its end."""
        return self.even or bool((self.mask[:, :1].all()) & (self.mask[:, 1:] <= self.mask[:, :-1]).all())

    @cached_property
    def place(self) -> Tensor:
        """For each token, its place among the ``count`` · ``longest`` of the padded layout."""
        cells = self.mask.flatten()
        return torch.cat([cells.nonzero()[:, 0], (~cells).nonzero()[: self.tail, 0]])

    @cached_property
    def positions(self) -> Tensor:
        """For each token, its position in its own text, from 0."""
        return self.place % self.longest

    @cached_property
    def first(self) -> Tensor:
        """The place in the row of each text's first token."""
        return self.lengths.cumsum(0) - self.lengths

    @cached_property
    def bias(self) -> Tensor:
        """What is added to attention scores, (count, 1, 1, longest): 0 for a token, the lowest number for padding."""
        zero = torch.zeros(self.count, 1, 1, self.longest, device=self.mask.device)
        return zero.masked_fill_(~self.mask[:, None, None], torch.finfo(torch.float32).min)

    def flat(self, padded: Tensor) -> Tensor:
        """Take the tokens out of a padded layout, (count · longest, ...) to (tokens, ...)."""
        return padded if self.even else padded.index_select(0, self.place)

    def pad(self, tokens: Tensor) -> Tensor:
        """Lay the tokens out with padding of zeros, (tokens, width) to (count · longest, width)."""
        if self.even:
            return tokens
        return tokens.new_zeros(self.count * self.longest, tokens.shape[1]).index_copy_(0, self.place, tokens)
