"""Step decay: by hand, against torch, in real steps, and its laws."""

import pytest
import torch

from ftlab.experiments.tiny_run import begun, go_on
from ftlab.formulas.decay import decay
from ftlab.formulas.step_decay import StepDecay, step_decay
from ftlab.rule import Now


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 8.0), (1, 8.0), (2, 8.0), (3, 4.0), (5, 4.0), (6, 2.0), (9, 1.0)],  # halved after 3, 6 and 9 epochs
)
def test_rate_falls_by_the_factor_at_each_stair_worked_by_hand(epoch, expected):
    assert step_decay(8.0, 0.5, epoch, 3) == expected


@pytest.mark.parametrize("every", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("gamma", [0.1, 0.5, 1.0, 1.3])
def test_rates_equal_those_of_torch_step_lr(gamma, every):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, every, gamma)
    for epoch in range(25):
        assert step_decay(0.3, gamma, epoch, every) == pytest.approx(scheduler.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        scheduler.step()


def test_stairs_of_one_epoch_are_the_decay_per_epoch():
    assert [step_decay(0.3, 0.7, epoch, 1) for epoch in range(9)] == [decay(0.3, 0.7, epoch) for epoch in range(9)]


def test_rule_counts_epochs_that_have_ended_not_updates():
    powers = [0] * 6 + [1] * 6 + [2] * 2  # three updates an epoch, two epochs a stair
    rates = {"head": 1.0, "body": 0.25}
    for step, power in enumerate(powers):
        new, memory = StepDecay(0.5, 2).schedule(rates, "memory", Now(step=step, steps=14, steps_per_epoch=3))
        assert new == {"head": 0.5**power, "body": 0.25 * 0.5**power}
        assert memory == "memory"
    assert rates == {"head": 1.0, "body": 0.25}


def test_in_real_steps_the_optimizer_has_the_rates_of_the_stairs():
    state, applied = begun([StepDecay(0.5)]), []
    for steps in range(1, 7):
        go_on(state, steps)
        applied += {group["lr"] for group in state.optimizer.param_groups}
    assert applied == [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3, 2.5e-3]  # two updates an epoch


def test_rule_tells_its_stairs_and_warns_of_a_rate_that_grows():
    assert StepDecay(0.1, 2).equation == "α_e = α·0.1^⌊e/2⌋"
    assert StepDecay(0.1, 2).description == "multiply the learning rate by 0.1 after every 2 epochs"
    assert StepDecay(0.1).description == "multiply the learning rate by 0.1 after every epoch"
    assert StepDecay(1.1).cautions([]) == ["γ above 1 makes the learning rate grow."]
    assert StepDecay(1.0).cautions([]) == []


MUTANTS = (
    ("gamma ** (epoch // every)", "gamma ** (epoch / every)"),
    ("gamma ** (epoch // every)", "gamma ** ((epoch + 1) // every)"),
    ("gamma ** (epoch // every)", "gamma ** (epoch % every)"),
    ("now.step // now.steps_per_epoch", "now.step"),
    ("at_least=1)", "at_least=0)"),
)
