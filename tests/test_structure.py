"""Smaller models: they open as ordinary ones with the same answers, and what is cut is what mattered least."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from ftlab.errors import Misused
from ftlab.losses import CrossEntropy, logits_of
from ftlab.structure import mask_heads, rank_heads, remove_layers, remove_neurons

SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 40}
NAMES = ("bert", "roberta", "distilbert", "gpt2")
WIDTH = {"bert": "intermediate_size", "roberta": "intermediate_size", "distilbert": "hidden_dim", "gpt2": "n_inner"}


def build(name):
    """Return a model of four layers whose every part is loud enough to count."""
    distil = {"vocab_size": 60, "dim": 16, "n_layers": 4, "n_heads": 4, "hidden_dim": 40}
    gpt2 = {"vocab_size": 60, "n_embd": 16, "n_layer": 4, "n_head": 4, "n_positions": 32, "pad_token_id": 0}
    net = {
        "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
        "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES, pad_token_id=0)),
        "distilbert": lambda: DistilBertForSequenceClassification(DistilBertConfig(**distil)),
        "gpt2": lambda: GPT2ForSequenceClassification(GPT2Config(**gpt2)),
    }[name]()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in net.parameters():
            param.add_(torch.randn(param.shape, generator=generator) * 0.3)
    return net.eval()


def exact(net, batch):
    """Return the mean loss in the model's own precision."""
    inputs = {key: tensor for key, tensor in batch.items() if key != "labels"}
    return functional.cross_entropy(net(**inputs).logits, batch["labels"])


def batches(count=2, rows=6):
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randint(1, 60, (rows, 7), generator=generator) for _ in range(count)]
    return [{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 2} for ids in drawn]


def answers(net):
    with torch.no_grad():
        return logits_of(net, batches(1)[0])


def blocks(net):
    """Return the two linear modules of each feed-forward block, found in another way than ftlab does."""
    ends = (".intermediate.dense", ".mlp.c_fc", ".lin1"), (".output.dense", ".mlp.c_proj", ".lin2")
    into, out = ([one for name, one in net.named_modules() if name.endswith(end)] for end in ends)
    return list(zip(into, [one for one in out if tuple(one.weight.shape) != (16, 16)], strict=True))


def test_saved_folders_open_in_a_fresh_process_smaller_and_with_the_same_logits(tmp_path):
    expected = {}
    for name in NAMES:
        net = build(name)
        net.save_pretrained(tmp_path / name / "whole")
        remove_neurons(net, 0.5)
        remove_layers(net, 3, "even")
        net.save_pretrained(tmp_path / name / "cut")
        expected[name] = answers(net)
        whole, cut = ((tmp_path / name / one / "model.safetensors").stat().st_size for one in ("whole", "cut"))
        assert cut < 0.8 * whole
    code = f"""
import json, sys, torch
from transformers import AutoModelForSequenceClassification
ids, found = torch.tensor({batches(1)[0]["input_ids"].tolist()}), dict()
for name, width in {WIDTH}.items():
    net, info = AutoModelForSequenceClassification.from_pretrained(name + "/cut", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    with torch.no_grad():
        logits = net.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    found[name] = net.config.num_hidden_layers, getattr(net.config, width), logits.tolist()
assert not any(name.startswith("ftlab") for name in sys.modules)
print(json.dumps(found))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for name, (layers, width, logits) in json.loads(ended.stdout.splitlines()[-1]).items():
        assert (layers, width) == (3, 32 if name == "gpt2" else 20)
        torch.testing.assert_close(torch.tensor(logits), expected.pop(name), rtol=0, atol=1e-6)
    assert not expected


@pytest.mark.parametrize("name", NAMES)
def test_share_zero_is_the_same_model_bit_for_bit(name):
    net = build(name)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    logits = answers(net)
    remove_neurons(net, 0.0)
    remove_neurons(net, 0.0, batches(), CrossEntropy())
    remove_layers(net, 4)
    assert net.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    assert torch.equal(answers(net), logits)


@pytest.mark.parametrize("by", ["weights", "gradients"])
@pytest.mark.parametrize("name", NAMES)
def test_dead_neurons_are_the_ones_to_go_and_change_no_logits(name, by):
    net = build(name)
    with torch.no_grad():
        for into, out in blocks(net):
            columns = out.weight if name == "gpt2" else out.weight.T
            columns[4:14] = 0
            (into.weight.T if name == "gpt2" else into.weight)[4:14] *= 10
    logits = answers(net)
    width = columns.shape[0]
    given = () if by == "weights" else (batches(), CrossEntropy())
    remove_neurons(net, 10 / width, *given)
    torch.testing.assert_close(answers(net), logits, rtol=0, atol=2e-5)
    for _, out in blocks(net):
        assert (out.weight if name == "gpt2" else out.weight.T).shape[0] == width - 10


def test_neurons_without_which_the_loss_is_the_same_go_by_their_gradients():
    net = build("bert")
    for layer in net.bert.encoder.layer:  # these write much, and read so that their activation is always 0
        layer.intermediate.dense.weight.data[:20] = 0
        layer.intermediate.dense.bias.data[:20] = -50
        layer.output.dense.weight.data[:, :20] = 30
    by_weights, by_gradients = copy.deepcopy(net), copy.deepcopy(net)
    remove_neurons(by_weights, 0.5)
    remove_neurons(by_gradients, 0.5, batches(), CrossEntropy())
    torch.testing.assert_close(answers(by_gradients), answers(net), rtol=0, atol=1e-5)
    assert (answers(by_weights) - answers(net)).abs().max() > 1e-2


def test_a_training_model_stays_so_and_gradients_are_left_alone():
    net = build("bert").train()
    remove_neurons(net, 0.5, batches(), CrossEntropy())
    rank_heads(net, batches(), CrossEntropy())
    assert net.training
    assert all(param.grad is None for param in net.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_heads_importance_is_how_fast_each_rows_loss_falls_when_it_is_turned_down(name):
    net = build(name).double()
    found = rank_heads(net, batches(), exact)
    assert found.shape == (4, 4)
    projections = {"gpt2": "attn.c_proj", "distilbert": "attention.out_lin"}.get(name, "attention.output.dense")
    modules = [one for key, one in net.named_modules() if key.endswith(projections)]
    for layer, head in ((0, 1), (3, 2)):
        weight = modules[layer].weight
        part = weight[4 * head : 4 * head + 4] if name == "gpt2" else weight[:, 4 * head : 4 * head + 4]
        kept, losses = part.detach().clone(), []
        for factor in (1 + 1e-5, 1 - 1e-5):
            with torch.no_grad():
                part.copy_(kept * factor)
                rows = [{key: one[i : i + 1] for key, one in batch.items()} for batch in batches() for i in range(6)]
                losses.append(torch.stack([exact(net, row) for row in rows]))
                part.copy_(kept)
        slopes = (losses[0] - losses[1]) / 2e-5
        assert float(found[layer, head]) == pytest.approx(float(slopes.abs().mean()), rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_a_silenced_head_says_nothing_and_matters_no_more(name):
    net = build(name)
    shapes = {key: tensor.shape for key, tensor in net.state_dict().items()}
    logits = answers(net)
    mask_heads(net, [(0, 1), (3, 2)])
    found = rank_heads(net, batches(), CrossEntropy())
    assert (found == 0).nonzero().tolist() == [[0, 1], [3, 2]]
    assert not torch.allclose(answers(net), logits, atol=1e-4)
    assert {key: tensor.shape for key, tensor in net.state_dict().items()} == shapes


def test_what_cannot_be_meant_is_refused():
    net = build("bert")
    for heads in ([(4, 0)], [(0, 4)], [(-1, 0)], [(0, 1), (0, -1)]):
        before = net.bert.encoder.layer[0].attention.output.dense.weight.clone()
        with pytest.raises(Misused, match="heads must be pairs of layer and head.*There are 4 layers of 4 heads"):
            mask_heads(net, heads)
        assert torch.equal(net.bert.encoder.layer[0].attention.output.dense.weight, before)
    for given in ((batches(), None), (None, CrossEntropy())):
        with pytest.raises(Misused, match="batches and loss must come together"):
            remove_neurons(net, 0.5, *given)
    resnet = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))
    for call in (lambda: remove_neurons(resnet, 0.5), lambda: remove_layers(resnet, 1), lambda: mask_heads(resnet, [])):
        with pytest.raises(Misused, match="model must have a list of layers"):
            call()
