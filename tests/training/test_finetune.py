"""``finetune``: it learns, repeats bit for bit, leaves the given model as it was, and never overwrites a good run."""

import math

import pytest
import torch

import ftlab
from ftlab.data.batches import Batches, encode
from ftlab.errors import DivergenceError
from ftlab.experiments.tiny_run import same
from ftlab.losses.classification import CrossEntropy
from ftlab.models.load import load_model


@pytest.fixture
def model(bert, small):
    return load_model(bert, small)


def weights(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_the_loss_falls_and_the_given_model_stays_as_it_was(model, small):
    before = weights(model.net)
    run = ftlab.finetune(model, small, epochs=12, lr=3e-3, batch_size=8, engine="reference")
    assert same(weights(model.net), before)
    assert run.history[-1]["loss"] < 0.2 < run.history[0]["loss"]
    assert run.metrics["accuracy"] == 1.0


def test_the_same_seed_repeats_bit_for_bit_and_another_does_not(model, small):
    first, second, other = (
        weights(ftlab.finetune(model, small, epochs=1, batch_size=8, seed=seed).model.net) for seed in (3, 3, 4)
    )
    assert same(first, second)
    assert not same(first, other)


def test_the_seeds_of_head_and_order_are_separate(model, small):
    head = "classifier.weight"
    drawn = {seed: model.copy(seed).net.state_dict()[head] for seed in (0, 1)}
    assert not torch.equal(drawn[0], drawn[1])
    runs = {seed: ftlab.finetune(model, small, epochs=1, batch_size=8, seed=seed) for seed in ((0, 1), (0, 2), (1, 1))}
    assert runs[0, 1].history[0]["loss"] != runs[0, 2].history[0]["loss"]  # another first batch
    encoded = encode(model, small["train"], 64)
    assert Batches(encoded, 8, seed=1).order(0) != Batches(encoded, 8, seed=2).order(0)


def test_training_leaves_the_global_generator_alone(model, small):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ftlab.finetune(model, small, epochs=1, batch_size=16)
    assert torch.equal(torch.rand(3), expected)


def test_a_diverged_run_leaves_the_good_model(model, small, tmp_path):
    ftlab.finetune(model, small, epochs=1, output=tmp_path / "run")
    good = (tmp_path / "run/model/model.safetensors").read_bytes()

    def bad(net, batch):
        return CrossEntropy()(net, batch) * math.inf

    with pytest.raises(DivergenceError, match="at the first step"):
        ftlab.finetune(model, small, epochs=1, output=tmp_path / "run", overwrite=True, loss=bad)
    assert (tmp_path / "run/model/model.safetensors").read_bytes() == good


def test_weights_that_are_not_finite_are_never_saved(model, small, tmp_path):
    run = ftlab.finetune(model, small, epochs=1)
    with torch.no_grad():
        run.model.net.classifier.bias[0] = math.nan
    with pytest.raises(DivergenceError, match=r"weights of classifier.bias must be finite"):
        run.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
