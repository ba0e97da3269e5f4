"""The gradient of an embedding without filling a table with zeros: only the rows of the step before are cleared.

The word embedding is half of a small model, and a batch touches some hundred of its rows.
"""

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


class Table:
    """A table of zeros but for the rows that were last added to."""

    def __init__(self) -> None:
        self.table: Tensor | None = None
        self.rows: Tensor | None = None

    def of(self, weight: Tensor, rows: Tensor, grad: Tensor) -> Tensor:
        """Return the gradient of a weight of which some rows were read; a table that somebody still holds is left to him."""
        if self.table is None or self.rows is None or self.table.device != weight.device or _shared(self.table):
            self.table = torch.zeros_like(weight)
        else:
            self.table.index_fill_(0, self.rows, 0)
        self.rows = rows
        return self.table.index_add_(0, rows, grad.to(weight.dtype)).detach()


class Lookup(torch.autograd.Function):
    """Rows of a weight, as ``torch.nn.functional.embedding`` gives them."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, padding: int | None, table: Table) -> Tensor:
        ctx.save_for_backward(weight, ids)
        ctx.padding, ctx.table = padding, table
        return weight[ids]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        weight, ids = ctx.saved_tensors
        found = ctx.table.of(weight, ids.flatten(), grad.reshape(-1, grad.shape[-1]))
        if ctx.padding is not None:
            found[ctx.padding] = 0
        return found, None, None, None


_tables: "WeakKeyDictionary[nn.Module, Table]" = WeakKeyDictionary()


def plain_embedding(module: Any) -> bool:
    """Say whether a module is an embedding that is trained now, and nothing more than that.

    >>> plain_embedding(nn.Embedding(3, 2)), plain_embedding(nn.Embedding(3, 2, max_norm=1.0))
    (True, False)
    """
    usual = type(module) is nn.Embedding and not (module.max_norm or module.scale_grad_by_freq or module.sparse)
    return usual and module.weight.requires_grad and torch.is_grad_enabled()


def look_up(embedding: nn.Embedding, ids: Tensor) -> Tensor:
    """Return rows of an embedding, with a gradient that costs only as much as there are rows.

    >>> look_up(nn.Embedding(3, 2), torch.tensor([[0, 2]])).shape
    torch.Size([1, 2, 2])
    """
    table = _tables.setdefault(embedding, Table())
    found: Tensor = Lookup.apply(embedding.weight, ids, embedding.padding_idx, table)  # type: ignore[no-untyped-call]
    return found


def _shared(table: Tensor) -> bool:
    """Say whether another tensor lies in the same memory: besides the table, the call itself counts as one."""
    return int(torch._C._storage_Use_Count(table.untyped_storage()._cdata)) > 2
