"""What a rule may look at, and the seeds from which it draws."""

import dataclasses
import itertools

import pytest
import torch

from ftlab.rule import KINDS, Finish, GradientRule, Now, Penalty, Prepare, Project, Schedule


def draw(**moment):
    return tuple(torch.rand(4, generator=Now(**moment).generator).tolist())


def test_the_same_moment_draws_the_same():
    assert draw(seed=1, step=2, index=3) == draw(seed=1, step=2, index=3)


def test_seed_step_and_place_each_change_what_is_drawn_and_may_not_change_places():
    moments = itertools.product(range(4), repeat=3)
    drawn = {draw(seed=seed, step=step, index=index) for seed, step, index in moments}
    assert len(drawn) == 4**3


def test_nothing_but_seed_step_and_place_changes_what_is_drawn():
    other = Now(seed=1, step=2, index=3, steps=9, steps_per_epoch=4, params={"w": torch.ones(1)}, rates={"w": 0.1})
    assert tuple(torch.rand(4, generator=other.generator).tolist()) == draw(seed=1, step=2, index=3)


def test_each_generator_begins_at_the_beginning_and_leaves_that_of_torch_alone():
    now, before = Now(seed=1), torch.random.get_rng_state()
    first, second = (torch.rand(1, generator=now.generator) for _ in range(2))
    assert first == second
    assert torch.equal(torch.random.get_rng_state(), before)
    assert now.generator.device.type == "cpu"


def test_now_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError, match="step"):
        Now().step = 1


def test_two_moments_share_nothing():
    first, second = Now(), Now()
    for name in ("params", "grads", "rates", "origin"):
        assert getattr(first, name) == {}
        assert getattr(first, name) is not getattr(second, name)


def test_kinds_stand_in_the_order_in_which_they_act():
    assert (Prepare, Penalty, GradientRule, Schedule, Project, Finish) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_alone_is_no_rule(kind):
    with pytest.raises(TypeError, match="abstract"):
        kind()


def test_a_rule_that_says_nothing_more_remembers_nothing_changes_no_model_and_warns_of_nothing():
    class Silent(Schedule):
        equation = description = ""

        def schedule(self, rates, memory, now):
            return rates, memory

    model = torch.nn.Linear(1, 1)
    assert Silent().start(model, [], None, Now()) is None
    assert Silent().finish(model, None) is model
    assert Silent().cautions([Silent()]) == []
    assert Silent.needs_origin is False
