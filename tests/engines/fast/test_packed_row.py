"""A packed row holds the common beginning of its texts once."""

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from ftlab.engines.fast.packed_row import PackedRow, draws_dropout, shared_row

IDS = torch.tensor([[7, 8, 9, 1, 0, 0], [7, 8, 9, 2, 3, 4], [7, 8, 9, 5, 6, 0]])


def rows(ids, lengths):
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    return ids, mask


def test_the_beginning_stands_once_and_positions_go_on_behind_it():
    row = shared_row(*rows(IDS, (4, 6, 5)))
    assert row.shared == 3
    assert row.pack(IDS)[:9].tolist() == [7, 8, 9, 1, 2, 3, 4, 5, 6]
    assert row.positions[:9].tolist() == [0, 1, 2, 3, 3, 4, 5, 3, 4]
    assert len(row.pack(IDS)) == len(row.positions)


@pytest.mark.parametrize("lengths", [(4, 6, 5), (6, 6, 6), (3, 4, 4), (1, 6, 2)])
@pytest.mark.parametrize("share", [True, False])
def test_what_is_unpacked_is_what_was_packed(lengths, share):
    batch = rows(IDS, lengths)
    row = shared_row(*batch, share=share)
    cells = row.unpack(row.pack(IDS)[:, None].float())[..., 0]
    assert torch.equal(cells, (IDS * batch[1]).float())
    wanted = batch[1].bool()
    assert torch.equal(row.pack(IDS)[row.index(wanted)], IDS[wanted])


@pytest.mark.parametrize(
    ("ids", "lengths", "shared"),
    [
        (IDS, (3, 4, 4), 2),  # each text keeps a token
        (IDS, (1, 6, 6), 0),
        (IDS[:1], (6,), 0),  # one text has nothing to share
        (IDS[:2] + torch.tensor([[0], [1]]), (4, 6), 0),
        (IDS[[0, 0]], (4, 4), 3),
    ],
)
def test_no_more_is_shared_than_the_texts_have_in_common(ids, lengths, shared):
    assert shared_row(*rows(ids, lengths)).shared == shared
    assert shared_row(*rows(ids, lengths), share=False).shared == 0


def test_dropout_is_noticed_where_it_is_drawn():
    assert draws_dropout(GPT2Model(GPT2Config(n_embd=8, n_layer=1, n_head=1)).train())
    assert not draws_dropout(GPT2Model(GPT2Config(n_embd=8, n_layer=1, n_head=1)).eval())
    quiet = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}
    assert not draws_dropout(GPT2Model(GPT2Config(n_embd=8, n_layer=1, n_head=1, **quiet)).train())
    attention = nn.Module()
    attention.attention_dropout = 0.1
    assert draws_dropout(attention)


def test_a_row_without_common_tokens_is_the_packed_batch():
    row = shared_row(*rows(IDS, (4, 6, 5)), share=False)
    assert torch.equal(PackedRow(row.rest).positions, row.rest.positions)
