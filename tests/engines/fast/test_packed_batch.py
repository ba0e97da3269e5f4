"""Texts are packed into a row and unpacked as they came."""

import pytest
import torch

from ftlab.engines.fast.packed_batch import PackedBatch
from tests.engines.fast.models import ROWS, packed_batch_with


def test_texts_stand_in_a_row_as_they_came_and_are_taken_back():
    texts = packed_batch_with(2, 1, 3)
    assert texts.pack(torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]]))[: texts.tokens].tolist() == [1, 2, 3, 4, 5, 6]
    row = torch.arange(48.0).view(24, 2)  # all places that hold no token follow as padding: they are fewer than 64
    assert len(row) == texts.tokens + texts.pad_tail
    assert texts.unpack(row)[:, 0].tolist() == [[0, 1], [4, 5], [6, 7]]
    assert row[texts.first].tolist() == texts.unpack(row)[:, 0].tolist()
    assert texts.positions.max() == 2
    assert texts.cu_seqlens.tolist() == [0, 2, 3, 6, 24]
    assert texts.right_padded
    assert not PackedBatch(torch.tensor([[0, 1], [1, 1]])).right_padded
    assert not PackedBatch(torch.tensor([[0, 0], [1, 1]])).right_padded


@pytest.mark.parametrize("lengths", ROWS)
def test_a_row_has_a_multiple_of_64_tokens_where_there_is_padding_to_fill_it_with(lengths):
    texts = packed_batch_with(*lengths)
    length = texts.tokens + texts.pad_tail
    assert texts.max_seqlen == max(lengths) + -max(lengths) % 8
    assert length % 64 == 0 or length == len(lengths) * texts.max_seqlen or texts.unpadded
    assert texts.pad_tail <= 64
    assert (texts.pad_tail > 0) == (set(lengths) != {texts.max_seqlen})
    row = torch.arange(1.0, length + 1)[:, None]
    padded = texts.unpack(row)[..., 0]
    ordered = torch.cat([tokens[:length] for tokens, length in zip(padded, texts.lengths, strict=True)])
    assert torch.equal(ordered, row[: texts.tokens, 0])
