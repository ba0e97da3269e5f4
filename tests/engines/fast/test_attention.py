"""Attention stays within each text, with the same masks."""

from itertools import pairwise

import pytest
import torch

from ftlab.engines.fast import attention
from ftlab.engines.fast.attention import merge_heads, split_heads
from ftlab.engines.fast.dropout import keep_mask, keep_probability
from ftlab.engines.fast.packing import packed_passes
from tests.engines.fast.models import ROWS, batch, made, packed_batch_with


@pytest.mark.parametrize("first", [False, True])
def test_with_dropout_attention_is_that_within_each_text_with_the_same_masks(first, monkeypatch):
    texts, heads, size, drawn = packed_batch_with(5, 20, 3, 9), 2, 4, []
    monkeypatch.setattr(attention, "keep_mask", lambda *given: drawn.append(keep_mask(*given)) or drawn[-1])
    joined, grad = (torch.randn(texts.tokens + texts.pad_tail, parts * heads * size) for parts in (3, 1))
    joined[texts.tokens :], grad[texts.tokens :] = 0, 0
    wide = joined.clone().requires_grad_()
    query, rest = joined[texts.first, : heads * size], joined[:, heads * size :].contiguous()
    given, asked = (grad[texts.first], query) if first else (grad, None)
    made, saved = attention.attend(rest if first else joined, heads, texts, 0.3, asked)
    back, of_query = attention.attend_backward(given.clone(), saved, heads, texts, 0.3, first=first)

    masks = drawn[0].view(texts.count, heads, -1, texts.max_seqlen)
    for number, (start, end) in enumerate(pairwise(texts.cu_seqlens.tolist()[:-1])):
        length, until = end - start, start + 1 if first else end
        query, key, value = wide[start:end].view(length, 3, heads, size).permute(1, 2, 0, 3)
        shares = (query[:, : until - start] @ key.transpose(1, 2) * size**-0.5).softmax(-1)
        kept_shares = shares * (masks[number, :, : until - start, :length] == -1) / keep_probability(0.3)
        expected = (kept_shares @ value).transpose(0, 1).flatten(1)
        index = number if first else slice(start, end)
        torch.testing.assert_close(made[index].view_as(expected), expected.detach(), rtol=1e-5, atol=1e-5)
        expected.backward(grad[start:until])
    wanted = wide.grad[:, heads * size :] if first else wide.grad
    torch.testing.assert_close(back, wanted, rtol=1e-5, atol=1e-5)
    if first:
        torch.testing.assert_close(of_query, wide.grad[texts.first, : heads * size], rtol=1e-5, atol=1e-5)


def test_padding_has_no_gradient_whoever_looks_at_it():
    net = made("gpt2").eval()
    net.config._attn_implementation = "eager"
    rows = batch(net)
    with packed_passes(net):
        made_of = net.base_model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).last_hidden_state
    assert not made_of[rows["attention_mask"] == 0].any()
    words = net.base_model.wte.weight
    (found,) = torch.autograd.grad(made_of.square().sum(), words, create_graph=True)
    held = rows["attention_mask"].bool()
    plain = net.base_model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).last_hidden_state
    (expected,) = torch.autograd.grad(plain[held].square().sum(), words, create_graph=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    twice = [torch.autograd.grad(one.square().sum(), words)[0] for one in (found, expected)]
    torch.testing.assert_close(*twice, rtol=1e-3, atol=1e-3 * float(twice[1].abs().max()))


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("lengths", ROWS)
def test_a_row_is_laid_out_by_head_and_taken_back(lengths, parts):
    texts, heads, size = packed_batch_with(*lengths), 2, 3
    row = torch.randn(texts.tokens + texts.pad_tail, parts * heads * size, requires_grad=True)
    laid = split_heads(row, parts, heads, texts)
    assert torch.equal(merge_heads(laid, heads, texts)[: texts.tokens], row[: texts.tokens])
    (grad,) = torch.autograd.grad(laid.square().sum() / 2, row)
    assert torch.equal(grad[: texts.tokens], row[: texts.tokens].detach())
    split = row.view(-1, parts, heads, size)
    for number, text in enumerate(laid[-1].view(texts.count, heads, texts.max_seqlen, size)):
        length, start = texts.lengths[number], texts.cu_seqlens[number]
        assert torch.equal(text[:, :length], split[start : start + length, -1].transpose(0, 1))
