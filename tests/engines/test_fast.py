"""The fast paths: they equal the reference wherever that can be asked for, and stand back where they do not understand."""

import copy
import functools
import resource
import sys
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

import ftlab
from ftlab.data.batches import encode
from ftlab.engines.engine import choose_engine
from ftlab.engines.fast import attention, dropout as cheap, encoder_layer, frozen_cache, malloc, parity, precision
from ftlab.engines.fast.attention import by_head, by_token
from ftlab.engines.fast.dropout import drop, drop_, dropout, keep_mask, kept
from ftlab.engines.fast.encoder_layer import run_layer
from ftlab.engines.fast.in_place import in_place, own_penalty
from ftlab.engines.fast.packed_batch import PackedBatch
from ftlab.engines.fast.packing import packed
from ftlab.engines.fast.parity import packing, tried
from ftlab.errors import ArgumentError
from ftlab.evaluation import inference
from ftlab.evaluation.inference import embed, run_over
from ftlab.formulas import (
    EMA,
    EWC,
    L2SP,
    ChildTuningF,
    ClipNorm,
    L1Penalty,
    L2Penalty,
    LoRA,
    Mixout,
    NEFTune,
    clip_norm,
    ewc,
)
from ftlab.losses import CrossEntropy
from ftlab.losses.logits import logits_of
from ftlab.models.load import load_model
from ftlab.rule import GradientRule, Now

SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
MODELS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES, pad_token_id=1)),
    "electra": lambda: ElectraForSequenceClassification(ElectraConfig(**SIZES, embedding_size=8)),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=60, dim=16, n_layers=3, n_heads=2, hidden_dim=32, max_position_embeddings=40)
    ),
    "gpt2": lambda: GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=60,
            n_embd=16,
            n_layer=3,
            n_head=2,
            n_positions=40,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )
    ),
}
LENGTHS = {
    "ragged": (5, 9, 3, 9, 1, 7),
    "even": (6, 6, 6, 6, 6, 6),
    "full": (8, 8, 8, 8, 8, 8),
    "steps": (8, 16, 8, 16, 16, 8),
}


def made(kind, *, dropout=0.1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = MODELS[kind]()
        with torch.no_grad():
            for param in net.parameters():
                param.add_(torch.randn_like(param), alpha=0.2)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return net


def batch(net, lengths="ragged", number=0):
    chance = torch.Generator().manual_seed(number)
    wanted = torch.tensor(LENGTHS[lengths])
    mask = (torch.arange(int(wanted.max())) < wanted[:, None]).long()
    ids = torch.randint(4, 60, mask.shape, generator=chance)
    ids[mask == 0] = net.config.pad_token_id or 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids[:, 0] % 2}


def padded_further(net, rows, columns):
    fill = {"input_ids": net.config.pad_token_id or 0, "attention_mask": 0}
    return rows | {name: nn.functional.pad(rows[name], (0, columns), value=one) for name, one in fill.items()}


def scores_and_gradients(net, rows):
    net.zero_grad()
    scores = logits_of(net, rows)
    scores.square().sum().backward()
    return scores.detach(), {
        name: param.grad.clone() for name, param in net.named_parameters() if param.grad is not None
    }


def assert_equal(found, expected, tolerance=1e-5):
    (scores, grads), (others, wanted) = found, expected
    torch.testing.assert_close(scores, others, rtol=tolerance, atol=tolerance)
    greatest = max(float(one.abs().max()) for one in wanted.values())
    for name, grad in wanted.items():
        torch.testing.assert_close(grads[name], grad, rtol=0, atol=tolerance * greatest, msg=name)


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("kind", MODELS)
def test_packed_scores_and_gradients_are_the_padded_ones(kind, lengths, first_only):
    net = made(kind).eval()
    rows = batch(net, lengths)
    expected = scores_and_gradients(net, rows)
    with packed(net, first_only=first_only) as used:
        found = scores_and_gradients(net, rows)
    assert_equal(found, expected)
    assert used.packed


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_rows_padded_beyond_the_longest_text_cost_no_more_and_give_the_same(kind, first_only):
    net = made(kind).eval()
    rows = padded_further(net, batch(net), 20)
    assert PackedBatch(rows["attention_mask"]).max_seqlen == 16
    expected = scores_and_gradients(net, rows)
    with packed(net, first_only=first_only) as used:
        assert_equal(scores_and_gradients(net, rows), expected)
        if not first_only:
            given = {name: rows[name] for name in ("input_ids", "attention_mask")}
            assert net.base_model(**given).last_hidden_state.shape[:2] == (6, 29)
    assert used.packed


@pytest.mark.parametrize("kind", MODELS)
def test_fifty_updates_without_dropout_are_those_of_the_reference(kind):
    losses = {}
    for engine in ("reference", "fast-fp32"):
        net = made(kind, dropout=0.0)
        rows = [batch(net, "ragged" if number % 3 else "even", number) for number in range(5)]
        state = ftlab.begin(net, rows, [ClipNorm(1.0)], epochs=10, lr=1e-3, engine=engine)
        losses[engine] = [ftlab.step(state, rows[number % 5])["loss"] for number in range(50)]
    assert losses["fast-fp32"] == pytest.approx(losses["reference"], abs=1e-5)
    assert losses["reference"][0] > 1.2 * losses["reference"][-1]


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_with_dropout_a_layer_does_what_transformers_does_with_the_same_masks(kind, monkeypatch):
    def same_masks(tensor, p=0.5, training=True, inplace=False):
        if not training or p == 0:
            return tensor
        return tensor * (keep_mask(tensor.shape, p) == -1) / kept(p)

    net = made(kind, dropout=0.3).train()
    net.config._attn_implementation = "eager"
    rows = batch(net, "full")
    monkeypatch.setattr(nn.functional, "dropout", same_masks)
    torch.manual_seed(1)
    expected = scores_and_gradients(net, rows)
    torch.manual_seed(1)
    with packed(net):
        found = scores_and_gradients(net, rows)
    assert_equal(found, expected)
    torch.manual_seed(2)
    with packed(net):
        assert not torch.allclose(scores_and_gradients(net, rows)[0], found[0])


@pytest.mark.parametrize("first", [False, True])
def test_with_dropout_attention_is_that_within_each_text_with_the_same_masks(first, monkeypatch):
    texts, heads, size, drawn = lying_as(5, 20, 3, 9), 2, 4, []
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
        kept_shares = shares * (masks[number, :, : until - start, :length] == -1) / kept(0.3)
        expected = (kept_shares @ value).transpose(0, 1).flatten(1)
        place = number if first else slice(start, end)
        torch.testing.assert_close(made[place].view_as(expected), expected.detach(), rtol=1e-5, atol=1e-5)
        expected.backward(grad[start:until])
    wanted = wide.grad[:, heads * size :] if first else wide.grad
    torch.testing.assert_close(back, wanted, rtol=1e-5, atol=1e-5)
    if first:
        torch.testing.assert_close(of_query, wide.grad[texts.first, : heads * size], rtol=1e-5, atol=1e-5)


def test_padding_has_no_gradient_whoever_looks_at_it():
    net = made("gpt2").eval()
    net.config._attn_implementation = "eager"
    rows = batch(net)
    with packed(net):
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


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_long_texts_without_a_backward_pass_come_out_the_same(kind, lengths, monkeypatch):
    net = made(kind).eval()
    rows, used = batch(net, lengths), []
    kernel = torch.nn.functional.scaled_dot_product_attention
    with torch.inference_mode():
        expected = logits_of(net, rows)
        monkeypatch.setattr(encoder_layer, "LONG_ENOUGH", 8)
        monkeypatch.setattr(
            nn.functional, "scaled_dot_product_attention", lambda *a, **k: used.append(1) or kernel(*a, **k)
        )
        with packed(net, first_only=True):
            torch.testing.assert_close(logits_of(net, rows), expected, rtol=1e-5, atol=1e-5)
    assert len(used) == 2  # the last of three layers is computed for first tokens alone


def test_what_is_frozen_gets_no_gradient_and_the_rest_the_same():
    net = made("bert").eval()
    rows = batch(net)
    expected = scores_and_gradients(net, rows)
    for name, param in net.named_parameters():
        param.requires_grad_("layer.1." not in name and "key.weight" not in name and "embeddings" not in name)
    for first_only in (False, True):
        with packed(net, first_only=first_only):
            scores, grads = scores_and_gradients(net, rows)
        assert set(grads) == {name for name, param in net.named_parameters() if param.requires_grad}
        assert_equal((scores, grads), (expected[0], {name: expected[1][name] for name in grads}))


def test_a_share_of_elements_is_dropped_and_the_mean_stays():
    torch.manual_seed(0)
    ones = torch.ones(1000, 1000, requires_grad=True)
    found = dropout(ones, 0.1)
    assert float((found == 0).float().mean()) == pytest.approx(0.1, abs=1e-3)
    assert float(found.detach().mean()) == pytest.approx(1, abs=2e-3)
    found.sum().backward()
    assert torch.equal(ones.grad, found.detach())
    assert torch.equal(dropout(ones, 0.1, training=False), ones)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_masks_are_whole_drawn_anew_and_repeatable(p):
    torch.manual_seed(3)
    one, other = keep_mask((50, 41), p), keep_mask((50, 41), p)
    torch.manual_seed(3)
    assert torch.equal(keep_mask((50, 41), p), one)
    assert set(one.unique().tolist()) <= {-1, 0}
    assert torch.equal(one, other) == (p == 0.0)
    assert kept(p) == pytest.approx(1 - p, abs=1e-5)


def test_elements_are_dropped_independently_of_their_neighbours():
    torch.manual_seed(0)
    dropped = (keep_mask((4_000_000,), 0.5) == 0).float() - 0.5
    for distance in (1, 2, 3, 4, 8):
        assert abs(float((dropped[distance:] * dropped[:-distance]).mean()) * 4) < 3e-3


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_dropping_keeps_every_bit_of_what_is_kept(kind):
    tensor = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)).to(kind)
    mask = keep_mask(tensor.shape, 0.5)
    expected = torch.where(mask == -1, tensor, 0)
    assert torch.equal(drop(tensor, mask), expected)
    assert torch.equal(drop_(tensor, mask), expected)


def test_dropout_of_everything_or_of_doubles_is_left_to_torch():
    assert not dropout(torch.ones(9), 1.0).any()
    doubles = dropout(torch.ones(1000, dtype=torch.double), 0.5)
    assert doubles.dtype == torch.double
    assert set(doubles.unique().tolist()) == {0.0, 2.0}


def lying_as(*lengths):
    return PackedBatch((torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long())


def test_texts_stand_in_a_row_as_they_came_and_are_taken_back():
    texts = lying_as(2, 1, 3)
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


ROWS = ((20, 5), (20, 19), (20, 20), (16, 16), (16, 8, 8), (60, 3, 1), (60, 58, 40), (1,), (3, 40, 17, 16, 9, 2))


@pytest.mark.parametrize("lengths", ROWS)
def test_a_row_has_a_multiple_of_64_tokens_where_there_is_padding_to_fill_it_with(lengths):
    texts = lying_as(*lengths)
    length = texts.tokens + texts.pad_tail
    assert texts.max_seqlen == max(lengths) + -max(lengths) % 8
    assert length % 64 == 0 or length == len(lengths) * texts.max_seqlen or texts.unpadded
    assert texts.pad_tail <= 64
    assert (texts.pad_tail > 0) == (set(lengths) != {texts.max_seqlen})
    row = torch.arange(1.0, length + 1)[:, None]
    padded = texts.unpack(row)[..., 0]
    ordered = torch.cat([tokens[:length] for tokens, length in zip(padded, texts.lengths, strict=True)])
    assert torch.equal(ordered, row[: texts.tokens, 0])


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("lengths", ROWS)
def test_a_row_is_laid_out_by_head_and_taken_back(lengths, parts):
    texts, heads, size = lying_as(*lengths), 2, 3
    row = torch.randn(texts.tokens + texts.pad_tail, parts * heads * size, requires_grad=True)
    laid = by_head(row, parts, heads, texts)
    assert torch.equal(by_token(laid, heads, texts)[: texts.tokens], row[: texts.tokens])
    (grad,) = torch.autograd.grad(laid.square().sum() / 2, row)
    assert torch.equal(grad[: texts.tokens], row[: texts.tokens].detach())
    split = row.view(-1, parts, heads, size)
    for number, text in enumerate(laid[-1].view(texts.count, heads, texts.max_seqlen, size)):
        length, start = texts.lengths[number], texts.cu_seqlens[number]
        assert torch.equal(text[:, :length], split[start : start + length, -1].transpose(0, 1))


def other_models():
    """Models that must not be packed: positions relative to each other inside the layer, and a window of attention."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        relative = DebertaV2Config(**SIZES, relative_attention=True, pos_att_type="p2c|c2p", pad_token_id=0)
        window = ModernBertConfig(
            **SIZES, pad_token_id=0, local_attention=4, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
        )
        return [DebertaV2ForSequenceClassification(relative), ModernBertForSequenceClassification(window)]


def test_a_model_that_is_not_understood_runs_padded():
    for net in other_models():
        net.eval()
        rows = batch(net)
        expected = logits_of(net, rows)
        with packing(net, rows):
            assert torch.equal(logits_of(net, rows), expected)


def test_a_model_that_comes_out_otherwise_is_found_out(monkeypatch):
    net = made("bert")
    rows = batch(net)
    assert tried(net, rows).first_only
    monkeypatch.setattr("ftlab.engines.fast.packing.first_position", lambda body: 1)
    assert not tried(net, rows).same


def test_a_wrong_gradient_alone_is_found_out(monkeypatch):
    net = made("bert")
    monkeypatch.setattr(encoder_layer, "_norm_backward", lambda *given: tuple(2 * one for one in norm_backward(*given)))
    assert not tried(net, batch(net)).same


norm_backward = encoder_layer._norm_backward


def test_trying_leaves_gradients_modes_and_chance_as_they_were():
    net = made("bert").train()
    net.bert.encoder.layer[0].eval()
    scores_and_gradients(net, batch(net))
    grads, chance = {name: param.grad.clone() for name, param in net.named_parameters()}, torch.get_rng_state()
    assert tried(net, batch(net)).first_only
    assert all(torch.equal(param.grad, grads[name]) for name, param in net.named_parameters())
    assert torch.equal(torch.get_rng_state(), chance)
    assert net.training
    assert not net.bert.encoder.layer[0].training


def test_nothing_is_left_in_the_model():
    net = made("gpt2")
    attention = net.config._attn_implementation
    with packed(net), pytest.raises(IndexError):
        logits_of(net, {**batch(net), "input_ids": torch.full((6, 9), 99)})
    assert not any("forward" in vars(module) for module in net.modules())
    assert net.config._attn_implementation == attention


def test_a_hook_in_the_body_sees_padded_rows():
    net = made("bert").eval()
    rows, seen = batch(net), []
    expected = logits_of(net, rows)
    net.bert.encoder.layer[1].output.register_forward_hook(lambda module, given, out: seen.append(out.shape))
    with packed(net, first_only=True):
        assert torch.equal(logits_of(net, rows), expected)
    assert seen == [(6, 9, 16)]


@pytest.mark.parametrize(
    ("rule", "lengths"),
    [(NEFTune(5.0), "even"), (Mixout(0.5), "ragged"), (Mixout(0.5), "even"), (LoRA(rank=2), "ragged")],
)
def test_rules_that_change_the_model_act_under_the_fast_engine_as_under_the_reference(rule, lengths):
    losses = []
    for engine in ("reference", "fast-fp32"):
        net = made("bert", dropout=0.0)
        rows = [batch(net, lengths, number) for number in range(2)]
        origin = copy.deepcopy(net)
        state = ftlab.begin(net, rows, [rule], epochs=3, lr=1e-3, engine=engine)
        losses.append([ftlab.step(state, rows[number % 2])["loss"] for number in range(6)])
        assert any(
            not torch.equal(one, other) for one, other in zip(net.parameters(), origin.parameters(), strict=False)
        )
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_mixed_weight_is_packed(kind):
    net = made(kind, dropout=0.0).train()
    origin = {name: param.detach() * 0.5 for name, param in net.named_parameters()}
    mixed = Mixout(0.5).prepare(net, Now(origin=origin))
    torch.manual_seed(0)
    expected = scores_and_gradients(mixed, batch(net))
    torch.manual_seed(0)
    with packed(mixed) as used:
        assert_equal(scores_and_gradients(mixed, batch(net)), expected)
    assert used.packed


def test_a_loss_that_reads_every_token_gets_every_token():
    net = made("bert", dropout=0.0).train()
    rows = batch(net)

    def mean_of_tokens(model, rows):
        hidden = model.base_model(rows["input_ids"], attention_mask=rows["attention_mask"]).last_hidden_state
        return (hidden * rows["attention_mask"][..., None]).sum() / rows["attention_mask"].sum()

    expected = mean_of_tokens(net, rows)
    with packed(net, first_only=True):
        torch.testing.assert_close(mean_of_tokens(net, rows), expected)
        states = net(rows["input_ids"], attention_mask=rows["attention_mask"], output_hidden_states=True).hidden_states
    assert [one.shape for one in states] == [(6, 9, 16)] * 4


def test_scores_of_many_rows_are_packed_and_the_same(bert, small):
    model = load_model(bert, small)
    encoded = encode(model, small["train"], 64)
    found = run_over(model, encoded, batch_size=16)
    expected = torch.cat([logits_of(model.net, encoded.batch([row])) for row in range(len(encoded))])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_run_with_the_reference_is_measured_with_it(bert, small, monkeypatch):
    used = []
    engine_of = inference._engine
    monkeypatch.setattr(inference, "FEW", 1)
    monkeypatch.setattr(inference, "_engine", lambda *given: used.append(engine_of(*given).name) or engine_of(*given))
    for engine, expected in (("reference", "reference"), ("auto", "fast-fp32")):
        ftlab.finetune(bert, small, epochs=1, progress=False, engine=engine)
        assert set(used) == {expected}
        used.clear()


def test_vectors_of_many_texts_are_packed_and_the_same(bert, small):
    model = load_model(bert, small)
    texts = list(small["train"]["text"])
    one_by_one = torch.cat([embed(model, [text]) for text in texts])
    torch.testing.assert_close(embed(model, texts, batch_size=16), one_by_one, rtol=1e-5, atol=1e-5)


def test_accumulated_parts_are_packed_each_for_itself():
    losses = []
    for parts in (1, 3):
        net = made("bert", dropout=0.0)
        rows = batch(net)
        pieces = [{name: tensor[part::parts] for name, tensor in rows.items()} for part in range(parts)]
        state = ftlab.begin(net, [rows], epochs=3, lr=1e-3, engine="fast-fp32")
        losses.append([ftlab.step(state, pieces)["loss"] for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_products_in_fp32_are_exact_and_the_setting_is_given_back():
    setting = torch.backends.mkldnn.matmul.fp32_precision
    one, other = torch.randn(64, 300), torch.randn(300, 64)
    exact = one.double() @ other.double()
    with precision.fp32_products("cpu"):
        found = one @ other
    assert float((found.double() - exact).abs().max() / exact.abs().max()) < precision.ERROR
    assert torch.backends.mkldnn.matmul.fp32_precision == setting


@pytest.mark.parametrize(
    ("times", "wrong", "avx512", "amx", "taken"),
    [
        (2.0, 0.0, True, False, True),
        (2.0, 1e-2, True, False, False),
        (1.1, 0.0, True, False, False),
        (2.0, 0.0, True, True, False),
        (2.0, 0.0, False, False, False),
    ],
)
def test_onednn_is_taken_where_it_is_exact_and_much_faster(times, wrong, avx512, amx, taken, monkeypatch):
    def product(one, other):
        onednn = torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        return (one.double() @ other.double()).float() + wrong * onednn, 1.0 / times if onednn else 1.0

    monkeypatch.setattr(precision, "_tried", product)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    setting = torch.backends.mkldnn.matmul.fp32_precision
    assert precision.onednn_is_better.__wrapped__() == taken
    assert torch.backends.mkldnn.matmul.fp32_precision == setting


def test_without_the_folder_everything_runs_as_the_reference(monkeypatch, bert, small):
    monkeypatch.setitem(sys.modules, "ftlab.engines.fast.engine", None)
    assert choose_engine("auto", "cpu").name == "reference"
    for forced in ("fast", "fast-fp32"):
        with pytest.raises(ArgumentError, match="engine must be installed"):
            choose_engine(forced, "cpu")
    run = ftlab.finetune(bert, small, epochs=1, progress=False)
    assert run.facts["engine"] == "reference"


def test_cheap_masks_are_what_the_fast_engine_draws(monkeypatch):
    drawn = []
    for module in (cheap, attention):
        monkeypatch.setattr(module, "keep_mask", lambda *given: drawn.append(given[0]) or keep_mask(*given))
    net = made("bert").train()
    state = ftlab.begin(net, [batch(net)], lr=1e-3, loss=CrossEntropy(), engine="fast-fp32")
    ftlab.step(state, batch(net))
    assert len(drawn) == 1 + 3 * 3 + 1  # embeddings, three a layer, the head
    assert drawn[-2] == (6, 16)  # the last layer's: only the first token of each text


def faults(updates):
    """Return how many pages the system has cleared for this process while something ran."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    updates()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_memory_is_kept_between_steps_and_given_back_after_them():
    def some_steps():
        for _ in range(20):
            torch.empty(12_000_000).fill_(1)

    if not malloc.can_keep():
        with malloc.kept_memory():
            some_steps()
        return
    pages = 12_000_000 * 4 // resource.getpagesize()
    with malloc.kept_memory():
        some_steps()
        assert faults(some_steps) < pages / 10
    assert faults(some_steps) > pages / 2


def frozen_below(net, trained):
    """Freeze all parameters but those whose names hold one of the words."""
    for name, param in net.named_parameters():
        param.requires_grad_(any(word in name for word in trained))
    return net


@pytest.mark.parametrize("trained", [("classifier",), ("classifier", "layer.2.", "pooler"), ("classifier", "layer.1.")])
@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
def test_frozen_lower_layers_are_computed_once_and_the_updates_stay_the_same(kind, trained, monkeypatch):
    losses, runs = {}, []
    monkeypatch.setattr(
        frozen_cache, "run_layer", lambda *given, **more: runs.append(given[1]) or run_layer(*given, **more)
    )
    for engine in ("reference", "fast-fp32"):
        net = frozen_below(made(kind, dropout=0.0), trained)
        rows = [batch(net, "ragged", number) for number in range(3)]
        state = ftlab.begin(net, rows, epochs=4, lr=1e-2, engine=engine)
        losses[engine] = [ftlab.step(state, rows[number % 3])["loss"] for number in range(12)]
    assert losses["fast-fp32"] == pytest.approx(losses["reference"], abs=1e-5)
    below = next((layer for layer in range(3) if any(f"layer.{layer}." in word for word in trained)), 3)
    texts = {tuple(ids[mask == 1].tolist()) for one in rows for ids, mask in zip(*list(one.values())[:2], strict=True)}
    assert len(runs) == below * len(texts)  # each text once, in three epochs of four for nothing


def test_a_frozen_weight_with_another_value_is_noticed():
    net = frozen_below(made("bert", dropout=0.0), ("classifier",))
    rows = batch(net)
    state = ftlab.begin(net, [rows], lr=1e-12, engine="fast-fp32")
    before = ftlab.step(state, rows)["loss"]
    with torch.no_grad():
        net.bert.encoder.layer[0].output.dense.weight.mul_(2)
    after = ftlab.step(state, rows)["loss"]
    assert after == pytest.approx(float(CrossEntropy()(net.eval(), rows).detach()), abs=1e-5)
    assert abs(after - before) > 1e-4


def test_beyond_the_limit_texts_are_computed_anew(monkeypatch):
    monkeypatch.setattr(frozen_cache, "LIMIT", 3 * 16 * 4)
    net = frozen_below(made("bert", dropout=0.0), ("classifier",))
    rows = batch(net)
    state = ftlab.begin(net, [rows], epochs=2, lr=1e-9, engine="fast-fp32")
    with state.engine.session(net):
        one, other = (ftlab.step(state, rows)["loss"] for _ in range(2))
        assert one == pytest.approx(other, abs=1e-6)
        assert len(frozen_cache._kept[net.bert].outputs) == 3
    assert net.bert not in frozen_cache._kept


def test_only_what_is_trained_has_dropout():
    net = frozen_below(made("bert", dropout=0.5), ("classifier",)).train()
    for module in net.children():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    rows = batch(net)
    with packed(net, first_only=True):
        one, other = (logits_of(net, rows).detach() for _ in range(2))
    assert torch.equal(one, other)
    torch.testing.assert_close(one, logits_of(net.eval(), rows).detach(), rtol=1e-5, atol=1e-5)


def test_what_is_kept_of_a_text_does_not_depend_on_its_batch():
    net = frozen_below(made("bert"), ("classifier",)).train()
    rows, found = batch(net), []
    for order in ([0, 1, 2, 3, 4, 5], [3, 0], [4]):
        frozen_cache.forget(net)
        some = {name: tensor[order] for name, tensor in rows.items()}
        with packed(net, first_only=True):
            logits_of(net, some)
        found.append(dict(frozen_cache._kept[net.bert].outputs))
    for fewer in found[1:]:
        assert all(torch.equal(output, found[0][key]) for key, output in fewer.items())


@pytest.mark.parametrize("rule", [L2Penalty(0.1), L1Penalty(0.01), L2SP(0.1), ClipNorm(0.1), EMA(0.5)])
def test_rules_that_act_in_a_step_give_the_weights_of_the_reference(rule):
    nets = {}
    for engine in ("reference", "fast-fp32"):
        nets[engine] = made("bert", dropout=0.0)
        rows = [batch(nets[engine], "ragged", number) for number in range(3)]
        state = ftlab.begin(nets[engine], rows, [rule], epochs=2, lr=0.1, engine=engine, optimizer="sgd")
        for one in [*rows, *rows]:
            ftlab.step(state, one)
    expected = dict(nets["reference"].named_parameters())
    for name, param in nets["fast-fp32"].named_parameters():
        torch.testing.assert_close(param, expected[name], rtol=1e-4, atol=2e-5, msg=name)


@pytest.mark.parametrize("max_norm", [0.5, 1e6, float("inf")])
def test_clipping_in_place_is_clipping(max_norm):
    given = {"a": torch.randn(5, 4), "b": torch.randn(3)}
    expected = clip_norm(given, max_norm)
    found, _ = in_place(ClipNorm(max_norm))({name: grad.clone() for name, grad in given.items()}, None, None)
    assert all(torch.equal(found[name], expected[name]) for name in given)
    broken, _ = in_place(ClipNorm(max_norm))({"a": torch.tensor([float("nan"), 1.0])}, None, None)
    assert broken["a"].isnan().all()
    assert in_place(ClipNorm(max_norm))({}, None, None) == ({}, None)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_child_tuning_in_place_keeps_a_share_and_the_mean(share):
    shape, now = in_place(ChildTuningF(share)), Now(seed=5, step=3)
    given = {"a": torch.ones(400, 500), "b": torch.full((7,), 2.0)}
    found, _ = shape({name: grad.clone() for name, grad in given.items()}, None, now)
    again, _ = shape({name: grad.clone() for name, grad in given.items()}, None, now)
    other, _ = shape({name: grad.clone() for name, grad in given.items()}, None, Now(seed=5, step=4))
    assert all(torch.equal(found[name], again[name]) for name in given)
    assert not torch.equal(found["a"], other["a"])
    spread = (share * (1 - share) / 200_000) ** 0.5
    assert float((found["a"] != 0).double().mean()) == pytest.approx(share, abs=5 * spread)
    assert float(found["a"].double().mean()) == pytest.approx(1, abs=5 * spread / share)
    assert all(one in (0, pytest.approx(2 / share, rel=1e-3)) for one in found["b"].tolist())
    doubles = {"a": torch.ones(9, dtype=torch.double)}
    assert torch.equal(shape(doubles, None, now)[0]["a"], ChildTuningF(share).shape(doubles, None, now)[0]["a"])
    small = {"scalar": torch.tensor(1.0), "nothing": torch.ones(0, 3)}
    assert shape(small, None, now)[0]["scalar"].item() in (0, pytest.approx(1 / share, rel=1e-3))
    assert torch.equal(in_place(ChildTuningF(1.0))(given, None, now)[0]["a"], torch.ones(400, 500))


def test_elastic_weight_consolidation_in_place_is_its_formula_and_its_gradient():
    chance = torch.Generator().manual_seed(0)

    def drawn():
        return {"a": torch.rand(600, 500, generator=chance), "b": torch.rand(7, generator=chance)}

    origin, fisher, before = drawn(), drawn(), drawn()
    for given in ({"a": before["a"], "b": None}, {"a": before["a"].t().contiguous().t(), "b": before["b"]}):
        expected, found = ({name: nn.Parameter(one.clone()) for name, one in drawn().items()} for _ in range(2))
        for name, param in expected.items():
            found[name].data.copy_(param.data)
            for one in (param, found[name]):
                one.grad = (
                    given[name] if given[name] is None else given[name].clone(memory_format=torch.preserve_format)
                )
        own = own_penalty(EWC(3.0), found, fisher, Now(origin=origin))
        if not given["a"].is_contiguous():
            assert own is None  # what lies otherwise in memory is left to the formula
            continue
        omega = ewc(expected, origin, fisher, 3.0)
        omega.backward()
        assert float(own) == pytest.approx(float(omega.detach()), rel=1e-5)
        for name, param in expected.items():
            torch.testing.assert_close(found[name].grad, param.grad)


def test_training_with_elastic_weight_consolidation_is_the_same_in_place():
    weights = []
    for engine in ("reference", "fast-fp32"):
        net, rows = made("bert", dropout=0.0), [batch(made("bert"), number=number) for number in range(3)]
        state = ftlab.begin(net, rows, [EWC(100.0, samples=4)], epochs=1, lr=0.1, optimizer="sgd", engine=engine)
        records = [ftlab.step(state, one) for one in rows]
        assert records[-1]["penalty"] > 0
        weights.append({name: param.detach() for name, param in net.named_parameters()})
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, rtol=1e-3, atol=1e-5)


def test_only_the_first_gradient_rule_acts_in_place():
    """The second is given tensors that the first remembers."""
    nets = {}
    for engine in ("reference", "fast-fp32"):
        nets[engine] = made("bert", dropout=0.0)
        rows = batch(nets[engine])
        recipe = [Remembering(), ClipNorm(0.1)]
        state = ftlab.begin(nets[engine], [rows], recipe, epochs=3, lr=0.1, engine=engine, optimizer="sgd")
        for _ in range(3):
            ftlab.step(state, rows)
    for one, other in zip(*(net.parameters() for net in nets.values()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


class Remembering(GradientRule):
    """The mean of all gradients so far, as it stands in the rule's memory."""

    def shape(self, grads, memory, now):
        mean = {name: grad + memory[name] if memory else grad.clone() for name, grad in grads.items()}
        return mean, mean


def test_nothing_is_concluded_from_a_trial_that_was_not_packed():
    net = other_models()[1]
    hook = net.base_model.layers[0].register_forward_hook(lambda *_: None)
    assert tried(net, batch(net)) is None
    hook.remove()
    net = made("bert")
    hook = net.bert.encoder.layer[0].register_forward_hook(lambda *_: None)
    with packing(net, batch(net)):
        pass
    assert net not in parity._found
    hook.remove()
    with packing(net, batch(net)):
        pass
    assert parity._found[net].first_only


def test_a_hook_never_sees_the_texts_of_a_trial():
    net, seen = made("bert", dropout=0.0), []
    net.bert.encoder.layer[0].register_forward_hook(lambda module, given, out: seen.append(out[0].shape[-2:]))
    rows = batch(net)
    state = ftlab.begin(net, [rows], epochs=3, lr=1e-3, engine="fast-fp32")
    for _ in range(3):
        ftlab.step(state, rows)
    assert seen == [(9, 16)] * 3


def test_a_model_that_cannot_be_tried_runs_padded():
    net = made("gpt2", dropout=0.0)
    net.config.pad_token_id = None  # then it takes no more than one text at a time
    one = {name: tensor[1:2] for name, tensor in batch(made("gpt2")).items()}
    state = ftlab.begin(net, [one], lr=1e-3, engine="fast-fp32")
    assert ftlab.step(state, one)["loss"] > 0
    assert not parity._found[net].same


@pytest.mark.parametrize(("length", "rows"), [(3, (84, 3)), (9, (4, 64)), (100, (4, 128)), (300, (2, 300))])
def test_a_trial_is_of_a_size_that_any_training_has_room_for(length, rows, monkeypatch):
    with torch.random.fork_rng():
        net = BertForSequenceClassification(BertConfig(**{**SIZES, "max_position_embeddings": 512}))
    if length == 3:
        net.config.max_position_embeddings = 3
    shapes = []
    scores = parity._scores_and_gradients
    monkeypatch.setattr(
        parity, "_scores_and_gradients", lambda net, rows: shapes.append(rows["input_ids"].shape) or scores(net, rows)
    )
    ones = torch.ones(2, length, dtype=torch.long)
    assert tried(net, {"input_ids": ones, "attention_mask": ones}).first_only
    assert set(shapes) == {rows}


def test_with_longer_texts_a_model_is_tried_again():
    with torch.random.fork_rng():
        net = BertForSequenceClassification(BertConfig(**{**SIZES, "max_position_embeddings": 100}))
    for length, longest in ((9, 64), (60, 64), (65, 100), (3, 100)):
        ones = torch.ones(2, length, dtype=torch.long)
        with packing(net, {"input_ids": ones, "attention_mask": ones}):
            assert parity._found[net].longest == longest


def test_who_listens_to_the_body_hears_every_token():
    net, heard = made("bert").eval(), []
    rows = batch(net)
    expected = logits_of(net, rows)
    net.bert.register_forward_hook(lambda module, given, out: heard.append(out.last_hidden_state.shape))
    with packed(net, first_only=True) as used:
        torch.testing.assert_close(logits_of(net, rows), expected, rtol=1e-5, atol=1e-5)
    assert used.packed
    assert heard == [(6, 9, 16)]


def test_with_gradient_checkpointing_nothing_is_packed():
    net = made("bert", dropout=0.0).train()
    rows = batch(net)
    expected = scores_and_gradients(net, rows)
    for block in net.bert.encoder.layer:
        block.gradient_checkpointing = True
        block._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=False)
    with packed(net) as used:
        found = scores_and_gradients(net, rows)
    assert not used.packed
    assert_equal(found, expected)


@pytest.mark.parametrize("reentrant", [False, True])
def test_with_gradient_checkpointing_dropout_is_the_same_when_it_is_run_again(reentrant):
    weights = {}
    for engine in ("reference", "fast-fp32"):
        net = made("bert", dropout=0.3)
        for block in net.bert.encoder.layer:
            block.gradient_checkpointing = True
            block._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=reentrant)
        rows = batch(net, "even")
        state = ftlab.begin(net, [rows], epochs=2, lr=0.1, engine=engine, optimizer="sgd")
        for _ in range(2):
            ftlab.step(state, rows)
        weights[engine] = torch.cat([param.detach().flatten() for param in net.parameters()])
    torch.testing.assert_close(weights["fast-fp32"], weights["reference"], rtol=1e-5, atol=1e-5)


def test_what_stood_in_for_a_module_before_stands_there_afterwards():
    net = made("electra", dropout=0.0)
    origin = {name: param.detach() * 0.5 for name, param in net.named_parameters()}
    net = Mixout(0.5).prepare(net, Now(origin=origin))
    for module in (*frozen_cache.entrance(net.electra), net.electra.encoder.layer[0]):
        module.requires_grad_(False)
    state = ftlab.begin(net, [batch(net)], lr=1e-3, engine="fast-fp32")
    ftlab.step(state, batch(net))
    assert "forward" in vars(net.electra.embeddings_project)


def test_of_frozen_layers_each_precision_has_its_own():
    net = frozen_below(made("bert", dropout=0.0), ("classifier",)).train()
    rows, found = batch(net), []
    for exact in (False, True, False):
        with packed(net, first_only=True), torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            found.append(logits_of(net, rows).detach())
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    torch.testing.assert_close(found[1], logits_of(net.eval(), rows).detach(), rtol=1e-5, atol=1e-5)
