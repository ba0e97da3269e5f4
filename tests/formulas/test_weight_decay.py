"""Weight decay: by hand, against torch's AdamW and optax, where it acts, and its laws."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import nn

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, go_on, model as small_bert
from ftlab.formulas.adamw import Moments, adamw
from ftlab.formulas.weight_decay import WeightDecay, weight_decay
from ftlab.rule import Now
from ftlab.training.loop import begin, step


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_each_weight_shrinks_by_its_rate_times_the_strength_worked_by_hand():
    # a: 1 - 0.5 * 0.5 = 3/4; b: 1 - 0.25 * 0.5 = 7/8; c has no rate
    given = {name: torch.tensor([8.0, -16.0]) for name in "abc"}
    new = weight_decay(given, {"b": 0.25, "a": 0.5}, 0.5)
    assert {name: one.tolist() for name, one in new.items()} == {"a": [6, -12], "b": [7, -14], "c": [8, -16]}
    assert list(new) == ["a", "b", "c"]
    assert new["c"].data_ptr() != given["c"].data_ptr()


def test_five_steps_equal_those_of_torch_adamw_with_a_gradient_of_zero(params):
    theirs = [nn.Parameter(param.clone()) for param in params.values()]
    optimizer = torch.optim.AdamW(theirs, lr=0.03, weight_decay=0.7)
    for _ in range(5):
        for param in theirs:
            param.grad = torch.zeros_like(param)
        optimizer.step()
        params = weight_decay(params, dict.fromkeys(params, 0.03), 0.7)
    for mine, param in zip(params.values(), theirs, strict=True):
        torch.testing.assert_close(mine, param.detach(), rtol=1e-6, atol=0)


def test_before_adams_update_it_is_adamw_and_optax_agrees(params):
    theirs = {name: jnp.asarray(param.numpy()) for name, param in params.items()}
    optimizer = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(0.7), optax.scale_by_learning_rate(0.03))
    state, whole, split = optimizer.init(theirs), params, params
    whole_moments = split_moments = Moments()
    for number in range(5):
        grads = {name: (param * (number + 1)).cos() for name, param in params.items()}
        whole, whole_moments = adamw(whole, grads, whole_moments, 0.03, weight_decay=0.7)
        split = weight_decay(split, dict.fromkeys(split, 0.03), 0.7)
        split, split_moments = adamw(split, grads, split_moments, 0.03, weight_decay=0.0)
        updates, state = optimizer.update({k: jnp.asarray(g.numpy()) for k, g in grads.items()}, state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    assert all(torch.equal(split[name], whole[name]) for name in params)
    for name, param in split.items():
        torch.testing.assert_close(param, torch.tensor(np.asarray(theirs[name])), rtol=1e-5, atol=1e-6)


def test_after_many_steps_a_weight_is_halved_as_the_exponential_says():
    param = {"w": torch.tensor([1.0], dtype=torch.double)}
    for _ in range(6931):  # log(2) / (0.01 * 0.01) = 6931.5
        param = weight_decay(param, {"w": 0.01}, 0.01)
    assert param["w"].item() == pytest.approx(0.5, abs=1e-4)


def test_its_gradient_is_the_factor():
    given = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: weight_decay({"w": w}, {"w": 0.5}, 0.5)["w"], given)


def test_rule_decays_weights_found_by_type_and_neither_biases_nor_gains():
    class Odd(nn.Module):
        """A model whose names say nothing, with a norm of its own."""

        class MyNorm(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(2))

        def __init__(self):
            super().__init__()
            self.ln_1, self.a, self.b, self.c = nn.LayerNorm(2), nn.Linear(2, 2), nn.RMSNorm(2), self.MyNorm()
            self.words = nn.Embedding(3, 2)

    net = Odd()
    now = Now(params={name: param.detach() for name, param in net.named_parameters()})
    assert WeightDecay(0.1).start(net, [], None, now) == ["a.weight", "words.weight"]
    names = begun([WeightDecay(0.1)]).memory[0]
    assert names == [name for name in names if name.endswith("weight") and "LayerNorm" not in name]
    assert len(names) == 17  # three embeddings, six matrices in each of two layers, the pooler, the head


def test_rule_moves_what_was_updated_by_the_rate_of_each():
    state = begun([WeightDecay(0.5)])
    names, params = state.memory[0], {name: param.detach() for name, param in state.params.items()}
    rates = {name: 0.01 * (index + 1) for index, name in enumerate(params)}
    grads = {name: param for name, param in params.items() if name != names[3]}
    new, memory = WeightDecay(0.5).project(params, names, Now(params=params, grads=grads, rates=rates))
    assert memory is names
    assert list(new) == [name for name in names if name != names[3]]
    for name, tensor in new.items():
        assert torch.equal(tensor, (1 - rates[name] * 0.5) * params[name])


def test_rule_in_real_steps_is_the_plain_step_and_then_the_formula():
    decayed, plain = begun([WeightDecay(0.5)]), begun([])
    go_on(decayed, 1)
    go_on(plain, 1)
    for name, param in plain.params.items():
        expected = (1 - 0.5 * 1e-2) * param if name in decayed.memory[0] else param
        assert torch.equal(decayed.params[name], expected), name


def test_rule_keeps_to_its_pattern_and_to_what_is_trainable():
    assert begun([WeightDecay(0.1, "*.query.*")]).memory[0] == [
        f"bert.encoder.layer.{layer}.attention.self.query.weight" for layer in (0, 1)
    ]
    for pattern in ("*.bias", "*LayerNorm.weight"):
        with pytest.raises(ArgumentError, match="^WeightDecay: pattern .* must match a trainable weight. Got none"):
            begun([WeightDecay(0.1, pattern)])
    net = small_bert()
    net.classifier.weight.requires_grad_(False)
    before = net.classifier.weight.clone()
    step(begin(net, [batch(0)], [WeightDecay(0.1)]), batch(0))
    assert torch.equal(net.classifier.weight, before)


def test_rule_tells_its_strength_and_that_it_adds_to_the_optimizers_own():
    assert WeightDecay(0.5).equation == "θ ← θ − α·0.5·θ"
    assert (
        "multiply every weight (no biases, no gains) by 1 minus 0.5 times the learning rate"
        in WeightDecay(0.5).description
    )
    assert "among a.*, b (no" in WeightDecay(0.5, ("a.*", "b")).description
    assert "AdamW, Lion and AdaBound already have a weight decay of 0.01" in WeightDecay(0.5).cautions([])[0]


MUTANTS = (
    ("(1 - rates[name] * strength) * param", "(1 - strength) * param"),
    ("(1 - rates[name] * strength) * param", "param - rates[name] * strength * param.sign()"),
    ("else param.clone()", "else param"),
    ("penalised(model, now.params, self.pattern", "penalised(model, now.params, '*'"),
    ('penalised(model, now.params, self.pattern, "WeightDecay")', "list(now.params)"),
    ("for name in memory if name in now.grads}", "for name in memory}"),
)
