"""Smaller models: they open as ordinary ones with the same answers, and what is cut is what mattered least."""

import copy
import json
import subprocess
import sys

import pytest
import torch
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
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

import ftlab
from ftlab.data.batches import encode
from ftlab.errors import ArgumentError
from ftlab.evaluation.inference import predict_logits
from ftlab.formulas.remove_layers import RemoveLayers, remove_layers
from ftlab.formulas.remove_neurons import RemoveNeurons
from ftlab.losses.classification import CrossEntropy
from ftlab.losses.logits import logits_of
from ftlab.models.surgery import remove_neurons

SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 40}
NAMES = ("bert", "roberta", "distilbert", "gpt2")
WIDTH = {"bert": "intermediate_size", "roberta": "intermediate_size", "distilbert": "hidden_dim", "gpt2": "n_inner"}


def build(name):
    """Return a model of four layers whose every part is loud enough to count."""
    distil = {"vocab_size": 60, "dim": 16, "n_layers": 4, "n_heads": 4, "hidden_dim": 40}
    gpt2 = {"vocab_size": 60, "n_embd": 16, "n_layer": 4, "n_head": 4, "n_positions": 32}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    net = {
        "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
        "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES, pad_token_id=0)),
        "distilbert": lambda: DistilBertForSequenceClassification(DistilBertConfig(**distil)),
        "gpt2": lambda: GPT2ForSequenceClassification(GPT2Config(**gpt2, **tokens)),
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


def reopen(folders, batch):
    """Open folders by transformers alone, in a process where any warning is an error; return logits, width and layers of each."""
    code = f"""
import json, sys, torch, transformers
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging
logging.disable_progress_bar()
inputs = {{name: torch.tensor(one) for name, one in json.loads(sys.stdin.read()).items()}}
for folder in {[str(folder) for folder in folders]}:
    net, info = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    width = next(getattr(net.config, one) for one in {sorted({*WIDTH.values()})} if hasattr(net.config, one))
    with torch.no_grad():
        print(json.dumps((net.eval()(**inputs).logits.tolist(), width, net.config.num_hidden_layers)))
assert not any(name.startswith("ftlab") for name in sys.modules)
"""
    sent = json.dumps({name: one.tolist() for name, one in batch.items() if name != "labels"})
    command = [sys.executable, "-W", "error", "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, input=sent, cwd=folders[0].parent)
    assert (ended.returncode, ended.stderr) == (0, "")
    return [(torch.tensor(logits), *sizes) for logits, *sizes in map(json.loads, ended.stdout.splitlines())]


def padded(*sizes):
    """Return batches of rows of unlike length, padded at the right with 0."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for rows in sizes:
        ids = torch.randint(1, 60, (rows, 8), generator=generator)
        mask = (torch.arange(8) < torch.randint(2, 9, (rows, 1), generator=generator)).long()
        labels = torch.randint(0, 2, (rows,), generator=generator)
        found.append({"input_ids": ids * mask, "attention_mask": mask, "labels": labels})
    return found


def blocks(net):
    """Return the two linear modules of each feed-forward block, found in another way than ftlab does."""
    ends = (".intermediate.dense", ".mlp.c_fc", ".lin1"), (".output.dense", ".mlp.c_proj", ".lin2")
    into, out = ([one for name, one in net.named_modules() if name.endswith(end)] for end in ends)
    return list(zip(into, [one for one in out if tuple(one.weight.shape) != (16, 16)], strict=True))


def test_saved_folders_open_in_a_fresh_process_without_a_warning_and_with_the_same_logits(tmp_path):
    expected, folders = [], []
    for name in NAMES:
        net = build(name)
        net.save_pretrained(tmp_path / name / "whole")
        remove_neurons(net, 0.5)
        remove_layers(net, 3, "even")
        folders.append(tmp_path / name / "cut")
        net.save_pretrained(folders[-1])
        expected.append((answers(net), 32 if name == "gpt2" else 20, 3))
        sizes = {one: (tmp_path / name / one / "model.safetensors").stat().st_size for one in ("whole", "cut")}
        assert sizes["cut"] < 0.8 * sizes["whole"]
    for (logits, width, layers), (same, *asked) in zip(reopen(folders, batches(1)[0]), expected, strict=True):
        assert [width, layers] == asked
        torch.testing.assert_close(logits, same, rtol=0, atol=1e-6)


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
    assert net.training
    assert all(param.grad is None for param in net.parameters())


def test_a_rule_of_a_recipe_leaves_a_folder_that_is_an_ordinary_model(bert, small, tmp_path):
    run = ftlab.finetune(bert, small, epochs=1, recipe=[RemoveLayers(1), RemoveNeurons(0.5)], progress=False)
    run.save(tmp_path / "cut")
    texts = list(small["test"]["text"])
    expected = predict_logits(run.model, encode(run.model, texts, 128))
    reopened = ftlab.load_model(tmp_path / "cut")
    assert reopened.net.config.num_hidden_layers == 1
    assert reopened.net.config.intermediate_size * 2 == ftlab.load_model(bert, small).net.config.intermediate_size
    torch.testing.assert_close(predict_logits(reopened, encode(reopened, texts, 128)), expected, rtol=0, atol=1e-6)
    net, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cut", output_loading_info=True)
    assert not any(info.values())
    with torch.no_grad():
        logits = net.eval()(**encode(reopened, texts, 128).batch(range(len(texts)))).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


def test_tied_and_frozen_weights_are_ranked_by_their_gradients_too_and_stay_so():
    net = build("bert")
    layers = net.bert.encoder.layer
    layers[0].output.dense.weight = layers[1].output.dense.weight
    layers[2].intermediate.dense.weight.requires_grad_(False)
    free = copy.deepcopy(net)
    free.bert.encoder.layer[2].intermediate.dense.weight.requires_grad_(True)
    for one in (net, free):
        remove_neurons(one, 0.5, batches(), CrossEntropy())
    assert layers[0].output.dense.weight is layers[1].output.dense.weight
    assert not layers[2].intermediate.dense.weight.requires_grad
    assert all(torch.equal(one, free.get_parameter(key)) for key, one in net.named_parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_gradients_of_a_neuron_are_those_of_single_tensors(name):
    net = build(name)
    given = batches(3)
    scores = [0.0] * 4
    for batch in given:
        loss = CrossEntropy()(net, batch)
        for index, (into, out) in enumerate(blocks(net)):
            into_grad, bias_grad, out_grad = torch.autograd.grad(
                loss, (into.weight, into.bias, out.weight), retain_graph=True
            )
            conv = name == "gpt2"  # its matrices stand the other way round
            reads = (into.weight * into_grad).abs().sum(0 if conv else 1) + (into.bias * bias_grad).abs()
            scores[index] = scores[index] + reads + (out.weight * out_grad).abs().sum(1 if conv else 0)
    expected = []
    for (into, _), score in zip(blocks(net), scores, strict=True):
        kept = score.argsort(descending=True)[: len(score) // 2].sort().values
        expected.append(into.weight.detach()[:, kept] if name == "gpt2" else into.weight.detach()[kept])
    remove_neurons(net, 0.5, given, CrossEntropy())
    assert all(torch.equal(into.weight, one) for (into, _), one in zip(blocks(net), expected, strict=True))


def test_nothing_can_be_ranked_on_no_rows_and_no_model_of_another_kind():
    with pytest.raises(ArgumentError, match="^remove_neurons: batches must hold at least one batch. Got none"):
        remove_neurons(build("bert"), 0.5, [], exact)
    other = build("bert")
    for layer in other.bert.encoder.layer:
        del layer.attention, layer.output
    with pytest.raises(ArgumentError, match="^remove_neurons: model must have .* of a known kind. Got BertForSequence"):
        remove_neurons(other, 0.5, batches(), exact)


def test_invalid_arguments_are_refused():
    net = build("bert")
    for given in ((batches(), None), (None, CrossEntropy())):
        with pytest.raises(ArgumentError, match="batches and loss must come together"):
            remove_neurons(net, 0.5, *given)
    resnet = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]))
    for call in (lambda: remove_neurons(resnet, 0.5), lambda: remove_layers(resnet, 1)):
        with pytest.raises(ArgumentError, match="model must have a list of layers"):
            call()
