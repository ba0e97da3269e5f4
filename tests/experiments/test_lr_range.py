"""The range test: on a parabola whose every loss is known, on the tiny BERT, and what it leaves behind."""

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from ftlab.data.batches import Batches, encode
from ftlab.errors import ArgumentError
from ftlab.experiments.lr_range import RangeTest, find_lr
from ftlab.experiments.tiny_run import batch, begun, go_on, model, same, weights
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.decay import Decay
from ftlab.formulas.sign_prune import SignPrune
from ftlab.models.load import load_model

BATCHES = [{"labels": torch.zeros(1)}]


class Parabola(nn.Module):
    """One number, whose loss is half its square times a curvature."""

    def __init__(self, start: float = 3.0, floor: float = 0.0) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor([start], dtype=torch.double))
        self.floor = floor


def half_square(curvature):
    return lambda net, part: (net.floor + 0.5 * curvature * net.at.square()).sum()


def sweep(curvature, **how):
    given = {"low": 1e-4, "high": 10.0, "steps": 60, "smoothing": 0.0, "optimizer": "sgd"} | how
    return find_lr(Parabola(), BATCHES, loss=half_square(curvature), **given)


def worked(curvature, rates, start=3.0):
    """Return the losses of plain descent on a parabola: each update multiplies the number by 1 - rate·curvature."""
    at, losses = start, []
    for rate in rates:
        losses.append(0.5 * curvature * at**2)
        at *= 1 - rate * curvature
    return losses


def test_rates_grow_by_a_constant_factor_from_low_to_high_worked_by_hand():
    found = sweep(1e-6, low=1e-4, high=1e2, steps=7)
    assert found.rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0], rel=1e-12)
    assert found.stopped is None


@pytest.mark.parametrize("curvature", [0.5, 1.0, 20.0])
def test_losses_on_a_parabola_are_those_worked_out_and_the_suggestion_is_where_they_fall_most(curvature):
    found = sweep(curvature)
    expected = worked(curvature, found.rates)
    assert found.losses == pytest.approx(expected, rel=1e-6)  # a step reports its loss in single precision
    assert found.smoothed == pytest.approx(np.minimum(expected, expected[0]), rel=1e-6)
    slopes = np.gradient(expected, np.log(found.rates))[1:-1]
    assert found.suggestion == found.rates[1 + int(np.argmin(slopes))]
    assert found.suggestion < 1 / curvature  # the rate that would reach the bottom at once


@pytest.mark.parametrize("curvature", [0.5, 1.0, 20.0])
def test_it_stops_beyond_the_rate_at_which_descent_is_no_longer_stable(curvature):
    found = sweep(curvature)
    assert found.stopped == found.rates[-1] < 10.0
    assert found.stopped > 2 / curvature
    assert found.losses[-1] > 4 * min(found.losses)
    levels = np.minimum.accumulate(found.losses)
    assert all(loss <= 4 * level for loss, level in zip(found.losses[:-1], levels[:-1], strict=True))


def test_ten_times_the_curvature_gives_a_tenth_of_the_suggestion():
    one, other = sweep(1.0, low=1e-3, high=10.0), sweep(10.0, low=1e-4, high=1.0)
    assert other.suggestion == pytest.approx(one.suggestion / 10, rel=1e-9)
    assert other.stopped == pytest.approx(one.stopped / 10, rel=1e-9)


def test_smoothing_averages_with_both_neighbours_worked_by_hand():
    # the batches dictate the loss: 3, 2, 1; the weights are 1, 1/2, 1/4
    def loss(net, part):
        return part["labels"].sum() + 0 * net.at.sum()

    batches = [{"labels": torch.tensor([level])} for level in (3.0, 2.0, 1.0)]
    how = {"low": 1e-9, "high": 4e-9, "steps": 3, "smoothing": 0.5, "loss": loss}
    found = find_lr(Parabola(), batches, **how)
    assert found.losses == (3.0, 2.0, 1.0)
    # (3 + 2/2 + 1/4)/1.75, (3/2 + 2 + 1/2)/2, (3/4 + 2/2 + 1)/1.75
    assert found.smoothed == pytest.approx([17 / 7, 2.0, 11 / 7])
    assert found.suggestion == found.rates[1] == pytest.approx(2e-9)
    rising = find_lr(Parabola(), batches[::-1], **how)  # what comes after the best is cut to the worst before it
    assert rising.losses == (1.0, 2.0, 3.0)
    assert rising.smoothed == pytest.approx([1.0, 1.0, 1.0])
    assert rising.suggestion is None


def test_smoothing_does_not_move_a_steady_fall_to_later_rates():
    def loss(net, part):
        return part["labels"].sum() + 0 * net.at.sum()

    levels = [2.0 - math.tanh((index - 30) / 6) for index in range(60)]  # steepest at place 30
    noise = torch.Generator().manual_seed(0)
    batches = [{"labels": torch.tensor([one]) + 0.02 * torch.randn(1, generator=noise)} for one in levels]
    found = find_lr(Parabola(), batches, low=1e-9, high=1e-3, steps=60, smoothing=0.8, loss=loss)
    assert abs(found.rates.index(found.suggestion) - 30) <= 2
    assert "falls most steeply" in str(found)


def test_what_runs_away_after_the_best_does_not_spoil_the_suggestion_before_it():
    def loss(net, part):
        return part["labels"].sum() + 0 * net.at.sum()

    levels = [2.0 - math.tanh((index - 20) / 4) for index in range(40)]
    calm = [{"labels": torch.tensor([one])} for one in levels]
    wild = [*calm, {"labels": torch.tensor([1e8])}, *calm]
    how = {"low": 1e-9, "smoothing": 0.8, "loss": loss}
    found = find_lr(Parabola(), wild, high=1e-3, steps=60, **how)
    assert len(found.losses) == 41
    assert found.stopped == found.rates[40]
    assert abs(found.rates.index(found.suggestion) - 20) <= 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_it_stops_at_a_loss_that_is_not_finite(bad):
    def loss(net, part):
        return part["labels"].sum() * net.at.sum()

    batches = [{"labels": torch.tensor([one])} for one in (1.0, 1.0, 1.0, 1.0, bad, 1.0)]
    found = find_lr(Parabola(), batches, low=1e-3, high=1.0, steps=6, smoothing=0.0, loss=loss)
    assert len(found.rates) == len(found.losses) == len(found.smoothed) == 4
    assert found.stopped == pytest.approx(1e-3 * 1000 ** (4 / 5))
    assert all(map(math.isfinite, found.losses))
    with pytest.raises(ArgumentError, match="find_lr: loss must be finite at the first batch"):
        find_lr(Parabola(), batches[4:], steps=6, loss=loss)


def test_the_model_is_afterwards_what_it_was_bit_for_bit():
    net = model().train()
    net.bert.pooler.eval()
    net.classifier.weight.grad = torch.ones_like(net.classifier.weight)
    net.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    before, modes = copy.deepcopy(net.state_dict()), [one.training for one in net.modules()]
    random = torch.get_rng_state()
    find_lr(net, [batch(0), batch(1)], low=1e-4, high=10.0, steps=12, recipe=[ClipNorm(1.0), SignPrune(0.01)])
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [one.training for one in net.modules()] == modes
    assert torch.equal(net.classifier.weight.grad, torch.ones_like(net.classifier.weight))
    assert [name for name, param in net.named_parameters() if param.grad is not None] == ["classifier.weight"]
    assert not net.bert.embeddings.word_embeddings.weight.requires_grad
    assert torch.equal(torch.get_rng_state(), random)


def test_a_training_in_progress_goes_on_as_if_there_had_been_no_test():
    disturbed, calm = begun([ClipNorm(1.0)]), begun([ClipNorm(1.0)])
    for state in (disturbed, calm):
        go_on(state, 2)
    find_lr(disturbed.model, [batch(0)], low=1e-4, high=10.0, steps=8, recipe=[ClipNorm(1.0)])
    for state in (disturbed, calm):
        go_on(state, 5)
    assert same(weights(disturbed), weights(calm))  # so the optimizer's means are what they were as well


def test_running_averages_of_the_model_are_left_alone_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    before = copy.deepcopy(net.state_dict())
    data = [{"x": torch.randn(8, 3), "labels": torch.randint(2, (8,))}]
    find_lr(net, data, steps=5, loss=lambda net, part: nn.functional.cross_entropy(net(part["x"]), part["labels"]))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_twice_the_same_call_gives_the_same_and_another_seed_another_dropout():
    how = {"low": 1e-5, "high": 1e-2, "steps": 6}
    one, again, other = (find_lr(model(), [batch(0)], seed=seed, **how) for seed in (0, 0, 1))
    assert one == again != other


def test_on_the_tiny_bert_the_suggestion_lies_where_the_loss_falls():
    found = find_lr(model(), [batch(0), batch(1)], low=1e-6, high=10.0, steps=70)
    assert 1e-4 < found.suggestion < 1e-1
    index = found.rates.index(found.suggestion)
    assert found.smoothed[index + 1] < found.smoothed[index - 1]
    assert min(found.losses) < 0.5 < found.losses[0]


def test_a_pretrained_model_and_batches_that_have_epochs(bert, small):
    pretrained = load_model(bert, small)
    before = copy.deepcopy(pretrained.net.state_dict())
    batches = Batches(encode(pretrained, small["train"], 16, "test"), 16)
    found = find_lr(pretrained, batches, low=1e-6, high=1e-3, steps=7)  # three batches an epoch
    assert len(found.losses) == 7
    seen = find_lr(pretrained, [*batches.epoch(0), *batches.epoch(1), *batches.epoch(2)], low=1e-6, high=1e-3, steps=7)
    assert found == seen
    assert all(torch.equal(tensor, before[name]) for name, tensor in pretrained.net.state_dict().items())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"low": 0}, "low must be a number greater than 0. Got 0"),
        ({"low": 1.0, "high": 1.0}, "high must be a number greater than 1. Got 1.0"),
        ({"high": math.inf}, "high must be a number greater than 1e-07. Got inf"),
        ({"optimizer": "adabound"}, "optimizer must have one learning rate. Got 'adabound'. AdaBound has two"),
        ({"steps": 2}, "steps must be a whole number of at least 3. Got 2"),
        ({"smoothing": 1.0}, "smoothing must be a number at least 0 and less than 1. Got 1.0"),
        ({"smoothing": -0.1}, "smoothing must be a number at least 0 and less than 1. Got -0.1"),
        (
            {"recipe": [ClipNorm(), Decay(0.9, "step")]},
            "recipe must have no schedule. Got Decay. The test sets the lr",
        ),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(wrong, match):
    with pytest.raises(ArgumentError, match=f"^find_lr: {match}"):
        find_lr(Parabola(), BATCHES, **wrong)
    with pytest.raises(ArgumentError, match=r"^find_lr: batches must hold at least one batch. Got none"):
        find_lr(Parabola(), [])


def test_what_it_gives_is_a_frozen_value_that_says_what_was_found():
    flat = RangeTest((1e-3, 1e-2), (1.0, 1.0), (1.0, 1.0), None, 0.1)
    assert str(flat) == "2 learning rates from 0.001 to 0.01: the loss never falls, and it diverges at 0.1."
    assert "and it never diverges." in str(dataclasses.replace(flat, stopped=None))
    with pytest.raises(dataclasses.FrozenInstanceError, match="suggestion"):
        flat.suggestion = 1.0


MUTANTS = (
    ("copy.deepcopy(model)", "model"),
    ("model.copy() if", "model if"),
    ("index / (steps - 1)", "index / steps"),
    ("corrected > LIMIT * lowest", "value > LIMIT * value"),
    (".clamp(max=cap)", ""),
    (".clamp(max=cap)", ".clamp(max=LIMIT * lowest)"),
    ("(1 - smoothing ** (index + 1))", "1"),
    ("slopes.argmin()", "slopes.argmax()"),
    ("return rates[index + 1]", "return rates[index]"),
    ("batches.epoch(epoch)", "batches.epoch(0)"),
)
