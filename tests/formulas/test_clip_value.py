"""Gradient clipping entry by entry: by hand, against torch and optax, in real steps, and its laws."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from ftlab.experiments.tiny_run import batch, begun
from ftlab.formulas.clip_norm import clip_norm
from ftlab.formulas.clip_value import ClipValue, clip_value
from ftlab.rule import Now
from ftlab.training.loop import step


@pytest.fixture
def grads():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_every_entry_is_cut_alone_worked_by_hand():
    # a bound of 2: 3 -> 2, -2.5 -> -2; 2, -1 and 0 lie within
    new = clip_value({"a": torch.tensor([3.0, -2.5, 2.0, -1.0]), "b": torch.tensor(0.0)}, 2.0)
    assert torch.equal(new["a"], torch.tensor([2.0, -2.0, 2.0, -1.0]))
    assert torch.equal(new["b"], torch.tensor(0.0))


@pytest.mark.parametrize("bound", [1e-6, 0.1, 1.0, 100.0, math.inf])
def test_clip_equals_that_of_torch(grads, bound):
    theirs = {name: torch.nn.Parameter(torch.zeros_like(grad)) for name, grad in grads.items()}
    for name, param in theirs.items():
        param.grad = grads[name].clone()
    torch.nn.utils.clip_grad_value_(theirs.values(), bound)
    new = clip_value(grads, bound)
    assert all(torch.equal(new[name], param.grad) for name, param in theirs.items())


@pytest.mark.parametrize("bound", [0.1, 1.0, 100.0])
def test_clip_equals_that_of_optax(grads, bound):
    clip = optax.clip(bound)
    theirs = {name: jnp.asarray(grad.numpy()) for name, grad in grads.items()}
    expected, _ = clip.update(theirs, clip.init(theirs))
    for name, new in clip_value(grads, bound).items():
        assert np.array_equal(new.numpy(), np.asarray(expected[name]))


@pytest.mark.parametrize("bound", [1e-3, 0.5, 2.0])
def test_no_entry_exceeds_the_bound_none_changes_its_sign_and_a_second_time_changes_nothing(grads, bound):
    new = clip_value(grads, bound)
    for name, grad in grads.items():
        assert new[name].abs().max() <= bound
        assert torch.equal(new[name].sign(), grad.sign())
        assert torch.equal(new[name][grad.abs() <= bound], grad[grad.abs() <= bound])
    assert all(torch.equal(clip_value(new, bound)[name], new[name]) for name in new)


def test_the_direction_changes_where_clipping_by_the_norm_keeps_it():
    # (4, 1) cut at 2 is (2, 1); shortened to the same length it stays on its line
    grad = {"w": torch.tensor([4.0, 1.0])}
    assert torch.equal(clip_value(grad, 2.0)["w"], torch.tensor([2.0, 1.0]))
    kept = clip_norm(grad, math.sqrt(5.0))["w"]
    assert kept[0] / kept[1] == pytest.approx(4.0)


def test_an_infinite_bound_changes_nothing_at_all_not_even_what_is_not_finite(grads):
    grads["odd"] = torch.tensor([math.inf, -math.inf, 1e30])
    new = clip_value(grads, math.inf)
    assert all(torch.equal(new[name], grads[name]) for name in grads)


def test_nan_stays_nan_and_infinity_becomes_the_bound():
    new = clip_value({"a": torch.tensor([math.nan, math.inf, -math.inf])}, 0.5)["a"]
    assert new[0].isnan()
    assert new[1:].tolist() == [0.5, -0.5]


def test_rule_clips_the_gradients_and_passes_its_memory_on(grads):
    new, memory = ClipValue(0.1).shape(grads, "memory", Now())
    assert all(torch.equal(new[name], clip_value(grads, 0.1)[name]) for name in grads)
    assert memory == "memory"


def test_in_a_real_step_the_optimizer_sees_the_clipped_gradients():
    free, bound = begun([]), begun([ClipValue(1e-4)])
    for state in (free, bound):
        step(state, batch(0))
    expected = clip_value({name: param.grad for name, param in free.params.items()}, 1e-4)
    assert all(torch.equal(param.grad, expected[name]) for name, param in bound.params.items())
    assert any(not torch.equal(param.grad, expected[name]) for name, param in free.params.items())


def test_rule_tells_its_bound_and_warns_of_the_direction():
    assert ClipValue(0.5).equation == "g ← clamp(g, ±0.5)"
    assert ClipValue(0.5).description == "clip every entry of the gradients to ±0.5"
    assert "no bound" in ClipValue(math.inf).description
    assert "changes the gradient's direction" in ClipValue(0.5).cautions([])[0]
    assert ClipValue(math.inf).cautions([]) == []


MUTANTS = (
    ("grad.clamp(-bound, bound)", "grad.clamp(max=bound)"),
    ("grad.clamp(-bound, bound)", "grad.clamp(-bound, bound) / bound"),
    ("grad.clamp(-bound, bound)", "grad.nan_to_num(0.0).clamp(-bound, bound)"),
    ("grad.clamp(-bound, bound)", "grad.clamp_(-bound, bound)"),
    ("above=0, finite=False", "at_least=0, finite=False"),
)
