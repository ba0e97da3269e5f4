"""Gradient clipping by the joint norm: by hand, against torch and optax, in real steps, and its laws."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from ftlab.experiments.tiny_run import batch, begun, gradients, model as small_bert
from ftlab.formulas.clip_norm import ClipNorm, clip_norm
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.fixture
def grads():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def length(grads):
    return math.sqrt(sum(float(grad.double().square().sum()) for grad in grads.values()))


def test_all_gradients_are_shortened_by_one_factor_worked_by_hand():
    # the joint length of (2, 4) and (4) is √(4 + 16 + 16) = 6; a bound of 3 halves them, but for the 1e-6
    new = clip_norm({"a": torch.tensor([2.0, -4.0]), "b": torch.tensor(4.0)}, 3.0)
    torch.testing.assert_close(new, {"a": torch.tensor([1.0, -2.0]), "b": torch.tensor(2.0)}, rtol=1e-6, atol=0)


def test_a_millionth_is_added_to_the_length_worked_by_hand():
    # length 1e-6 + 1e-6 = 2e-6, bound 1e-6: the factor is 1/2
    new = clip_norm({"a": torch.tensor([6e-7, 8e-7])}, 1e-6)
    torch.testing.assert_close(new["a"], torch.tensor([3e-7, 4e-7]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("max_norm", [1e-6, 0.1, 1.0, 100.0, math.inf])
def test_clip_equals_that_of_torch(grads, max_norm):
    theirs = {name: torch.nn.Parameter(torch.zeros_like(grad)) for name, grad in grads.items()}
    for name, param in theirs.items():
        param.grad = grads[name].clone()
    torch.nn.utils.clip_grad_norm_(theirs.values(), max_norm)
    expected = {name: param.grad for name, param in theirs.items()}
    torch.testing.assert_close(clip_norm(grads, max_norm), expected, rtol=3e-7, atol=0)


@pytest.mark.parametrize("max_norm", [0.1, 1.0, 100.0])
def test_clip_equals_that_of_optax(grads, max_norm):
    clip = optax.clip_by_global_norm(max_norm)
    theirs = {name: jnp.asarray(grad.numpy()) for name, grad in grads.items()}
    expected, _ = clip.update(theirs, clip.init(theirs))
    for name, new in clip_norm(grads, max_norm).items():  # optax adds no 1e-6 to the length
        torch.testing.assert_close(new, torch.tensor(np.asarray(expected[name])), rtol=1e-5, atol=0)


@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 2.0])
def test_clip_never_lets_the_joint_length_exceed_the_bound_and_keeps_the_direction(grads, max_norm):
    new = clip_norm(grads, max_norm)
    assert max_norm * (1 - 2e-3) < length(new) <= max_norm * (1 + 1e-6)
    factors = torch.cat([(new[name] / grads[name]).flatten() for name in grads])
    torch.testing.assert_close(factors, factors[:1].expand_as(factors), rtol=1e-6, atol=0)
    assert (factors > 0).all()


def test_clip_leaves_a_small_gradient_exactly_unchanged(grads):
    new = clip_norm(grads, length(grads) * 1.001)
    assert all(torch.equal(new[name], grads[name]) for name in grads)


def test_an_infinite_bound_leaves_every_finite_gradient_exactly_unchanged(grads):
    grads["weight"] *= 1e15
    new = clip_norm(grads, math.inf)
    assert all(torch.equal(new[name], grads[name]) for name in grads)


def test_gradients_of_length_zero_stay_zero_and_no_gradients_stay_none():
    assert torch.equal(clip_norm({"a": torch.zeros(3)}, 1.0)["a"], torch.zeros(3))
    assert clip_norm({}, 1.0) == {}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_gives_nan(bad):
    assert clip_norm({"a": torch.tensor([bad, 1.0])}, 1.0)["a"][0].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_the_length_is_neither_rounded_nor_too_large_for_its_type(dtype):
    # a million entries of 100 have the length 100,000, more than float16 can hold; each becomes 1/1000
    new = clip_norm({"a": torch.full((1000, 1000), 100.0, dtype=dtype)}, 1.0)["a"]
    assert new.dtype == dtype
    assert new.double().norm().item() == pytest.approx(1.0, rel=1e-2)
    # three tensors of length √3; the sum of rounded lengths would be 3.0039
    kept = clip_norm({name: torch.ones(3, dtype=dtype) for name in "abc"}, 3.001)
    assert all(torch.equal(one, torch.ones(3, dtype=dtype)) for one in kept.values())


def test_a_double_is_clipped_in_double_precision(grads):
    wide = {name: 1e100 * grad.double() for name, grad in grads.items()}
    assert length(clip_norm(wide, 1e100)) == pytest.approx(1e100, rel=1e-12)  # far beyond float32


def test_rule_clips_the_gradients_and_passes_its_memory_on(grads):
    new, memory = ClipNorm(0.1).shape(grads, "memory", Now())
    torch.testing.assert_close(new, clip_norm(grads, 0.1), rtol=0, atol=0)
    assert memory == "memory"
    assert ClipNorm() == ClipNorm(1.0)


@pytest.mark.parametrize("parts", [1, 4])
def test_real_steps_are_those_of_a_loop_with_torchs_clipping_of_the_whole_batch(parts):
    state, net = begin(small_bert(), [0] * 4, [ClipNorm(0.1)], lr=0.1, optimizer="sgd"), small_bert()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for some in (state.model, net):
        for module in some.modules():
            module.p = 0.0  # of dropout, whose draws would differ from part to part
    for number in range(4):
        whole = batch(number)
        step(state, [{name: tensor[part::parts] for name, tensor in whole.items()} for part in range(parts)])
        optimizer.zero_grad()
        net.train()(**whole).loss.backward()
        assert torch.nn.utils.clip_grad_norm_(net.parameters(), 0.1) > 0.2  # it does clip
        optimizer.step()
        assert length(gradients(state)) == pytest.approx(0.1, rel=1e-4)
    for name, param in net.named_parameters():
        torch.testing.assert_close(state.params[name], param, rtol=1e-4, atol=1e-6)


def test_two_bounds_in_a_recipe_are_the_smaller_one():
    states = [begun([ClipNorm(bound) for bound in bounds]) for bounds in ((0.1, 0.02), (0.02, 0.1), (0.02,))]
    for state in states:
        step(state, batch(0))
    assert [length(gradients(state)) for state in states] == pytest.approx([0.02] * 3, rel=1e-4)


def test_rule_tells_its_bound_and_has_no_cautions():
    assert ClipNorm(0.5).equation == "g ← g·min(1, 0.5/‖g‖)"
    assert ClipNorm(0.5).description.endswith("at most 0.5")
    assert "no bound" in ClipNorm(math.inf).description
    assert ClipNorm(0.5).cautions([]) == []


MUTANTS = (
    ("(joint_norm(grads) + 1e-6)", "(joint_norm(grads) + 1.0)"),
    (".clamp(max=1.0)", ""),
    ("joint_norm(grads)", "max(joint_norm({name: grad}) for name, grad in grads.items())"),
    ("factor.to(grad)", "factor"),
    ("above=0, finite=False", "at_least=0, finite=False"),
    ("clip_norm(grads, self.max_norm), memory", "clip_norm(grads, 1.0), memory"),
)
