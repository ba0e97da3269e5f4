"""A packed row of a model: the tokens that all its texts begin with, once, then the rest of each text.

In a causal model a token's hidden state depends on the tokens before it only. So where all texts of a batch begin alike, as
conversations with the same system message do, the model need not compute this beginning for each of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ftlab.engines.fast.packed_batch import PackedBatch
from ftlab.engines.fast.transfer import host_copy

MULTIPLE = 8
"""The length of the rest is a multiple of this, for few shapes and little padding. Decoders are large, so preparing a kernel
for a new shape takes little time beside the products themselves."""


@dataclass(frozen=True)
class PackedRow:
    """The layout of a packed row.

    Example:
        >>> ids = torch.tensor([[7, 8, 1, 0], [7, 8, 2, 3]])
        >>> row = shared_row(ids, torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]))
        >>> row.shared, row.pack(ids)[:5].tolist(), row.positions[:5].tolist()
        (2, [7, 8, 1, 2, 3], [0, 1, 2, 2, 3])
    """

    rest: PackedBatch
    """Where the rest of each text stands, behind the shared tokens."""
    shared: int = 0
    """The number of tokens at the start of the row that belong to every text."""

    @property
    def positions(self) -> Tensor:
        """For each token of the row, its position in its text, from 0."""
        rest = self.rest.positions + self.shared
        return torch.cat([torch.arange(self.shared, device=rest.device), rest])

    def pack(self, ids: Tensor) -> Tensor:
        """Pack padded rows: (texts, width) to (tokens)."""
        return torch.cat([ids[0, : self.shared], self.rest.pack(ids[:, self.shared :])])

    def unpack(self, tokens: Tensor) -> Tensor:
        """Unpack the row: (tokens, size) to (texts, width, size), with zeros for padding."""
        rest = self.rest.unpack(tokens[self.shared :])
        return torch.cat([tokens[: self.shared].expand(len(rest), -1, -1), rest], 1) if self.shared else rest

    def index(self, wanted: Tensor) -> Tensor:
        """Return the indices in the row of some cells of the padded rows, given as a mask of shape (texts, width)."""
        text, column = wanted.nonzero(as_tuple=True)
        grid = self.rest.cell_to_token.view(self.rest.count, -1)
        behind = (column - self.shared).clamp(0, grid.shape[1] - 1)
        return torch.where(column < self.shared, column, self.shared + grid[text, behind])


def shared_row(input_ids: Tensor, attention_mask: Tensor, *, share: bool = True) -> PackedRow:
    """Return the layout for a causal model, with the beginning that all texts have in common once, if ``share``.

    Every text keeps at least its last token.
    """
    mask = host_copy(attention_mask)
    shared = 0
    if share and len(mask) > 1:
        ids = host_copy(input_ids)
        alike = (ids == ids[:1]).all(0).cumprod(0).sum()
        shared = int(torch.minimum(alike, mask.sum(1).min() - 1).clamp(min=0))
    rest = PackedBatch(mask[:, shared:], multiple=MULTIPLE).to(attention_mask.device)
    return PackedRow(rest, shared)


def draws_dropout(body: nn.Module) -> bool:
    """Return whether a pass draws dropout masks, which texts must not share.

    >>> draws_dropout(nn.Sequential(nn.Dropout(0.1))), draws_dropout(nn.Sequential(nn.Dropout(0.1)).eval())
    (True, False)
    """
    attention = max(
        float(getattr(module, "attention_dropout", 0) or 0) for module in (body, getattr(body, "config", body))
    )
    return body.training and (
        attention > 0 or any(isinstance(module, nn.Dropout) and module.p > 0 for module in body.modules())
    )
