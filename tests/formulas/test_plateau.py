"""Reduce on plateau: by hand, against torch over many losses, in real steps, and its laws."""

import math
import random

import pytest
import torch

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun
from ftlab.formulas.decay import Decay
from ftlab.formulas.layerwise_decay import LayerwiseDecay
from ftlab.formulas.plateau import Plateau, plateau
from ftlab.rule import Now
from ftlab.training.loop import step


def torchs(losses, factor, patience, threshold):
    """Return torch's rate after each loss."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, eps=0.0
    )
    rates = []
    for loss in losses:
        scheduler.step(loss)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([], 8.0),
        ([5.0, 4.0, 3.0], 8.0),  # always better
        ([5.0, 5.0], 8.0),  # one bad epoch is borne
        ([5.0, 5.0, 5.0], 4.0),  # the second one is not
        ([5.0, 5.0, 5.0, 5.0], 4.0),  # the count begins anew
        ([5.0, 5.0, 5.0, 5.0, 5.0], 2.0),
        ([5.0, 6.0, 4.0, 6.0, 3.0, 6.0], 8.0),  # never two in a row
        ([5.0, 9.0, 9.0, 6.0, 6.0], 2.0),  # 6 is better than 9, but 5 is the best
        ([math.nan, math.nan], 4.0),  # NaN is no improvement, even on nothing
    ],
)
def test_rate_is_halved_after_two_epochs_without_improvement_worked_by_hand(losses, expected):
    assert plateau(8.0, losses, 0.5, 1, 0.0) == expected


def test_a_loss_must_be_less_by_the_threshold_worked_by_hand():
    # a tenth of 10 is 1: 9 is not below 9, 8.9 is; without patience each epoch counts
    assert plateau(1.0, [10.0, 9.0], 0.5, 0, 0.1) == 0.5
    assert plateau(1.0, [10.0, 8.9], 0.5, 0, 0.1) == 1.0


@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.1, 1.0])
@pytest.mark.parametrize("patience", [0, 1, 2, 5])
@pytest.mark.parametrize("factor", [0.1, 0.5, 0.9])
def test_rates_equal_those_of_torch_over_many_sequences_of_losses(factor, patience, threshold):
    chance = random.Random(0)
    odd = [math.nan, math.inf, 0.0, 1.0, 1.0]
    for _ in range(30):
        level, losses = chance.uniform(0.5, 3), []
        for _ in range(25):
            level *= chance.choice([1.0, 0.9999, 0.95, 1.1, chance.uniform(0.5, 1.2)])
            losses.append(chance.choice(odd) if chance.random() < 0.1 else level)
        expected = torchs(losses, factor, patience, threshold)
        found = [plateau(0.3, losses[: epoch + 1], factor, patience, threshold) for epoch in range(25)]
        assert found == expected


def test_torch_drops_a_small_reduction_and_ours_does_not():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-8)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    for _ in range(2):
        scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] == 1e-8
    assert plateau(1e-8, [1.0, 1.0], 0.1, 0, 1e-4) == 1e-8 * 0.1


def test_losses_in_another_unit_give_the_same_rates():
    chance = random.Random(1)
    losses = [chance.uniform(1, 2) for _ in range(40)]
    for end in range(40):
        scaled = [loss * 1024 for loss in losses[:end]]
        assert plateau(1.0, losses[:end], 0.5, 2, 0.01) == plateau(1.0, scaled, 0.5, 2, 0.01)


def test_rule_reads_the_validation_losses_where_none_stands_for_one_that_is_not_finite():
    seen = ({"loss": 0.5, "accuracy": 0.9}, {"loss": None}, {"loss": 0.6})
    rates = {"head": 2.0, "body": 1.0}
    for epochs, share in ((0, 1.0), (1, 1.0), (2, 1.0), (3, 0.5)):
        new, memory = Plateau(0.5).schedule(rates, "memory", Now(step=6, evaluations=seen[:epochs]))
        assert new == {"head": 2.0 * share, "body": share}
        assert memory == "memory"
    assert rates == {"head": 2.0, "body": 1.0}


def test_rule_refuses_evaluations_without_a_loss():
    now = Now(evaluations=({"accuracy": 0.5, "n": 10},))
    with pytest.raises(ArgumentError, match="^Plateau: evaluations must hold the loss. Got only accuracy, n."):
        Plateau().schedule({"w": 1.0}, None, now)


def test_in_real_steps_the_rate_falls_after_the_epochs_that_are_no_better():
    state, applied = begun([Plateau(0.5, patience=0), LayerwiseDecay(1.0)]), []
    for loss in (0.7, 0.6, 0.65, 0.6, 0.5, 0.5):
        step(state, batch(0))
        applied += {group["lr"] for group in state.optimizer.param_groups}
        state.evaluations.append({"loss": loss})
    # the losses seen before each update: none, 0.7, 0.6 (better), 0.65 and 0.6 (not better than 0.6), 0.5 (better)
    assert applied == [1e-2, 1e-2, 1e-2, 5e-3, 2.5e-3, 2.5e-3]


def test_rule_tells_its_numbers_and_warns_of_a_missing_split_and_of_other_schedules():
    rule = Plateau(0.5, 2)
    assert rule.equation == "α ← α·0.5 if J ≥ J_best·(1 − 0.0001) for 3 epochs in a row"
    assert (
        rule.description == "multiply the learning rate by 0.5 after 3 epochs in a row without a better validation loss"
    )
    assert "after an epoch without" in Plateau(0.5, 0).description
    alone = ["Plateau needs a validation split; without one it never acts."]
    assert rule.cautions([rule]) == alone
    decay = Decay(0.9, per="epoch")
    assert rule.cautions([rule, decay]) == [
        *alone,
        "A loss that stops improving because of Decay also counts as a plateau.",
    ]


MUTANTS = (
    ("best * (1 - threshold)", "best - threshold"),
    ("if bad > patience:", "if bad >= patience:"),
    ("lr, bad = lr * factor, 0", "lr = lr * factor"),
    ("best, bad = loss, 0", "best, bad = loss, bad"),
    ("            bad += 1", "            best, bad = loss, bad + 1"),
)
