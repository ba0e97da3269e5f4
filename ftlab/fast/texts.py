"""Several texts in one row with nothing between them: where each begins, and how they are laid out for attention."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from ftlab.host import on_host, sent

TENSORS = ("mask", "order", "place", "positions", "first", "source", "home", "bias", "bounds")
"""What a device needs to know of some texts; all else stays on the host."""
MULTIPLE, SIDE = 64, 8
"""Of what the length of a row is a multiple, and the sides of the squares for attention."""
SLOTS, PRICE = 4, 4000
"""Into how many parts texts are cut at most to be grouped, and how many pairs of tokens take about as long as one more group."""


@dataclass(frozen=True)
class Group:
    """Texts of about one length, which attention lays out alike."""

    count: int
    side: int
    even: bool
    """Whether all of them are as long as that, so that none is padded."""

    @property
    def cells(self) -> int:
        """How many tokens, with padding, it has."""
        return self.count * self.side


class Texts:
    """The lengths of the texts that stand one after another in a row of tokens.

    Tokens that go through a matrix alone need no padding; attention does, since it compares the tokens of a text with
    each other: it lays each text out as a square, in groups of one side, a multiple of 8, so that a short text is not
    padded to the longest. Where attention needs padding the row ends with some, as much as makes its length a multiple of
    64 if the padded rows have so much. For a product of matrices of another shape the library beneath prepares a kernel,
    which takes time, and keeps it, which takes memory: so there should be few shapes.

    Args:
        attention_mask: Shape (texts, width), 1 where a padded row has a token.
        apart: Whether the longest text is the first of the row and there may be several groups; else the texts stand as they
            came, in one group.

    Example:
        >>> texts = Texts(torch.tensor([[1, 1, 0], [1, 1, 1]]))
        >>> texts.lengths.tolist(), texts.order.tolist(), texts.first.tolist(), texts.tail
        ([2, 3], [1, 0], [3, 0], 11)
        >>> texts.positions[: texts.tokens].tolist()
        [0, 1, 2, 0, 1]
        >>> texts.groups
        (Group(count=2, side=8, even=False),)
    """

    def __init__(self, attention_mask: Tensor, *, apart: bool = True) -> None:
        self.width = attention_mask.shape[1]
        """How wide the padded rows are."""
        self.mask = nn.functional.pad(attention_mask.bool(), (0, -self.width % SIDE))
        self.count, self.longest = self.mask.shape
        self.lengths = self.mask.sum(1)
        self.tokens = int(self.lengths.sum())
        self.order = self.lengths.argsort(descending=True, stable=True) if apart else torch.arange(self.count)
        """Which text is first in the row, which second ..."""
        lengths = self.lengths[self.order].tolist()
        self.groups = _grouped(lengths) if apart else (_group(lengths),)
        """In the order of the row."""
        self.cells = sum(group.cells for group in self.groups)
        """How many tokens, with padding, attention sees."""
        self.even = self.tokens == self.cells
        """Whether nothing has to be padded at all."""
        self.tail = 0 if self.even else min(MULTIPLE - self.tokens % MULTIPLE, self.mask.numel() - self.tokens)
        """How much padding the row ends with; nothing depends on what becomes of it, so its gradient is 0."""
        self.found: dict[Any, tuple[Tensor, Tensor]] = {}

    def to(self, device: torch.device) -> "Texts":
        """Return the same for a device; to a GPU it moves while the host goes on."""
        return self if device == self.mask.device else self.with_tensors(lambda one: sent(one, device))

    def with_tensors(self, change: Callable[[Tensor], Tensor]) -> "Texts":
        """Return the same with other tensors in place of those that a device needs."""
        other = copy(self)
        other.solid, other.found = self.solid, {}
        for name in TENSORS:
            setattr(other, name, change(getattr(self, name)))
        return other

    @cached_property
    def solid(self) -> bool:
        """Whether every text has a token and its padding, if any, at its end."""
        full = self.tokens == self.mask.numel()
        return full or bool((self.mask[:, :1].all()) & (self.mask[:, 1:] <= self.mask[:, :-1]).all())

    @cached_property
    def place(self) -> Tensor:
        """For each token of the row, its place among the ``count`` · ``longest`` of the padded rows."""
        text, column = self.mask[self.order].nonzero().unbind(1)
        return torch.cat([self.order[text] * self.longest + column, (~self.mask).flatten().nonzero()[: self.tail, 0]])

    @cached_property
    def positions(self) -> Tensor:
        """For each token, its position in its own text, from 0; padding has some position that the model has."""
        return self.place % self.longest % self.width

    @cached_property
    def first(self) -> Tensor:
        """The place in the row of each text's first token, in the order of the padded rows."""
        return torch.empty_like(self.order).index_copy_(0, self.order, self._starts)

    @cached_property
    def bounds(self) -> Tensor:
        """Where each text of the row begins and ends, int32; what pads the row is one more text."""
        ends = torch.tensor([self.tokens, self.tokens + self.tail][: 2 if self.tail else 1])
        return torch.cat([self._starts, ends]).int()

    @cached_property
    def source(self) -> Tensor:
        """For each cell of the squares, the token of the row that lies there; in all others lies the first of the tail."""
        text, column, held = self._held
        return torch.where(held, self._starts[text] + column, self.tokens)

    @cached_property
    def bias(self) -> Tensor:
        """What is added to attention scores with each cell: 0 for a token, the lowest number for padding."""
        return torch.zeros(self.cells).masked_fill_(~self._held[2], torch.finfo(torch.float32).min)

    @cached_property
    def home(self) -> Tensor:
        """For each token of the row, the first cell of its text, that text's side, and its place there: (3, tokens + tail).

        All of the tail have a cell that holds no token.
        """
        text, column, held = self._held
        cells = torch.cat([held.nonzero()[:, 0], (~held).nonzero()[:1, 0].expand(self.tail)])
        place = column[cells]
        return torch.stack([cells - place, self._sides[text[cells]], place])

    @cached_property
    def _held(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each cell of the squares: which text of the row it is for, its place there, and whether it holds a token."""
        sides = self._sides
        text = torch.arange(self.count).repeat_interleave(sides)
        column = torch.arange(self.cells) - (sides.cumsum(0) - sides)[text]
        return text, column, column < self.lengths[self.order][text]

    @property
    def _sides(self) -> Tensor:
        return torch.tensor([group.side for group in self.groups for _ in range(group.count)])

    @property
    def _starts(self) -> Tensor:
        """The place of each text's first token, in the order of the row."""
        lengths = self.lengths[self.order]
        return lengths.cumsum(0) - lengths

    def row(self, ids: Tensor) -> Tensor:
        """Take the row out of padded rows as a model is given them, (count, width) to (tokens + tail)."""
        return nn.functional.pad(ids, (0, self.longest - self.width)).flatten().index_select(0, self.place)

    def rows(self, tokens: Tensor) -> Tensor:
        """Lay the row out as a model is given it, (tokens + tail, size) to (count, width, size), zeros for padding."""
        made = tokens.new_zeros(self.mask.numel(), tokens.shape[1]).index_copy_(0, self.place, tokens)
        return made.view(*self.mask.shape, -1).masked_fill(~self.mask[..., None], 0)[:, : self.width]

    def places_by_head(self, parts: int, heads: int) -> tuple[Tensor, Tensor]:
        """Say which of (tokens + tail) · parts · heads lies where among parts · (cells by head), and the way back.

        Cells by head are ordered by group, text, head and place. A cell that holds no token has what the tail has, and the
        other way round: so each way is the other's derivative, since padding has no gradient.
        """
        if (parts, heads) not in self.found:
            head, part = (torch.arange(many, device=self.source.device)[:, None] for many in (heads, parts))
            groups = zip(self.groups, torch.split(self.source, [group.cells for group in self.groups]), strict=True)
            into = [(rows.view(group.count, 1, -1) * (parts * heads) + head).view(-1) for group, rows in groups]
            start, side, place = self.home[:, :, None]
            back = start * heads + side * head[:, 0] + place
            self.found[parts, heads] = (
                (torch.cat(into) + part * heads).view(-1),
                (back[:, None] + part * (self.cells * heads)).view(-1),
            )
        return self.found[parts, heads]


def _grouped(lengths: list[int]) -> tuple[Group, ...]:
    """Cut texts, the longest first, into groups for which attention takes the least time."""
    count = len(lengths)
    cuts = [*range(0, count, -(-count // SLOTS)), count]
    best: list[tuple[int, tuple[int, ...]]] = [(0, (0,))]
    for end in cuts[1:]:
        ways = (
            (cost + PRICE + (end - start) * _side(lengths[start]) ** 2, (*until, end))
            for start, (cost, until) in zip(cuts, best, strict=False)
        )
        best.append(min(ways))
    return tuple(_group(lengths[start:end]) for start, end in pairwise(best[-1][1]))


def _group(lengths: list[int]) -> Group:
    side = _side(max(lengths))
    return Group(len(lengths), side, min(lengths) == side)


def _side(length: int) -> int:
    return length + -length % SIDE


_laid_out: Any = WeakIdKeyDictionary()


def texts_of(attention_mask: Tensor) -> Texts:
    """Return how texts lie in padded rows, found out on the host, for the device of the mask.

    On a GPU there is one group, since another launch should cost more than what is computed too much: an estimate, not
    measured.
    """
    known: Texts | None = _laid_out.get(attention_mask)
    if known is not None:
        return known
    return Texts(on_host(attention_mask), apart=attention_mask.device.type == "cpu").to(attention_mask.device)


def lie_as(attention_mask: Tensor, texts: Texts) -> None:
    """Let :func:`texts_of` give these texts for a mask."""
    _laid_out[attention_mask] = texts
