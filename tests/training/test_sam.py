"""The step of SAM: a hand-written loop, the plain step where rho is 0, the same dropout twice, and whole weights."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

import ftlab
from ftlab.engines.engine import choose_engine
from ftlab.errors import ArgumentError, DivergenceError
from ftlab.experiments.tiny_run import PER_EPOCH, batch, freeze, model as small_bert, same, tie, weights
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.decay import Decay
from ftlab.formulas.l2_penalty import L2Penalty
from ftlab.formulas.sign_prune import SignPrune
from ftlab.formulas.warmup import WarmupLinear
from ftlab.losses.classification import CrossEntropy
from ftlab.rule import GradientRule
from ftlab.training import checkpoint
from ftlab.training.loop import begin, step
from ftlab.training.sam import SAM

RULES = [L2Penalty(0.01), ClipNorm(1.0), Decay(0.9, per="step"), SignPrune(1e-5)]


def still(net):
    """Switch dropout off, so that two ways of computing the same thing can be compared."""
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for layer in net.base_model.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    return net


def begun(recipe=(), *, net=None, lr=0.01, **how):
    return begin(net if net is not None else small_bert(), [0] * PER_EPOCH, recipe, epochs=3, lr=lr, **how)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_five_steps_equal_a_hand_written_loop(optimizer):
    state = begun(net=still(small_bert()), optimizer=optimizer)
    net = still(small_bert()).train()
    weak = [param for name, param in net.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    strong = [param for param in net.parameters() if not any(param is one for one in weak)]
    if optimizer == "sgd":
        theirs = torch.optim.SGD(net.parameters(), lr=0.01)
    else:
        theirs = torch.optim.AdamW([{"params": strong}, {"params": weak, "weight_decay": 0.0}], lr=0.01)
    for number in range(5):
        record = SAM(0.2)(state, batch(number))
        theirs.zero_grad()
        loss = net(**batch(number)).loss
        loss.backward()
        assert record["loss"] == pytest.approx(loss.item(), abs=1e-5)
        length = math.sqrt(sum(param.grad.double().square().sum().item() for param in net.parameters()))
        kept = [param.detach().clone() for param in net.parameters()]
        with torch.no_grad():
            for param in net.parameters():
                param += 0.2 / length * param.grad
        theirs.zero_grad()
        net(**batch(number)).loss.backward()
        with torch.no_grad():
            for param, value in zip(net.parameters(), kept, strict=True):
                param.copy_(value)
        for name, param in net.named_parameters():  # the gradient uphill, before AdamW turns small ones into long steps
            torch.testing.assert_close(state.params[name].grad, param.grad, rtol=1e-3, atol=2e-5)
            param.grad = state.params[name].grad.clone()
        theirs.step()
        for name, param in net.named_parameters():
            torch.testing.assert_close(state.params[name].detach(), param.detach(), rtol=1e-6, atol=1e-7)


def test_it_is_another_step_than_the_plain_one():
    states = [begun(net=still(small_bert()), optimizer="sgd") for _ in range(2)]
    SAM(0.2)(states[0], batch(0))
    step(states[1], batch(0))
    gap = max((one - other).abs().max().item() for one, other in zip(*(s.params.values() for s in states), strict=True))
    assert gap > 1e-4


def test_rho_zero_is_the_plain_step_bit_for_bit():
    plain, zero = begun(RULES), begun(RULES)
    for number in range(4):
        assert SAM(0)(zero, batch(number)) == step(plain, batch(number))
    assert same(weights(zero), weights(plain))


def test_rho_zero_makes_one_pass_and_any_other_two():
    for rho, passes in ((0.0, 1), (0.5, 2)):
        net, state, part, sharp = drawn(rho)
        sharp(state, part)
        assert len(net.seen) == passes


class Drawing(nn.Module):
    """A model whose gradient is its dropout's mask, which it notes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(100))
        self.seen = []

    def forward(self, inputs):
        mask = torch.nn.functional.dropout(torch.ones(100), 0.5, self.training)
        self.seen.append((mask, self.weight.detach().clone()))
        return (mask * self.weight**2).sum() * inputs.mean()


def drawn(rho):
    net = Drawing()
    state = begun(net=net, loss=lambda net, part: net(part["x"]), optimizer="sgd", lr=0.001)
    part = {"x": torch.ones(2, 1), "labels": torch.zeros(2)}
    return net, state, part, SAM(rho)


def test_dropout_is_the_same_in_both_passes_and_another_in_the_next_step():
    net, state, part, sharp = drawn(0.5)
    sharp(state, part)
    sharp(state, part)
    masks = [mask for mask, _ in net.seen]
    assert len(masks) == 4
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[2], masks[3])
    assert not torch.equal(masks[0], masks[2])


def test_the_gradient_is_that_of_the_point_uphill_worked_by_hand():
    # of Σ mask·θ² at θ = 1, masks of 0 and 2: the gradient is 2·mask, its direction mask/‖mask‖
    net, state, part, sharp = drawn(0.5)
    sharp(state, part)
    mask, here = net.seen[0]
    uphill = net.seen[1][1]
    assert torch.equal(here, torch.ones(100))
    torch.testing.assert_close(uphill, 1 + 0.5 * mask / mask.norm())
    torch.testing.assert_close(net.weight.detach(), 1 - 0.001 * 2 * mask * uphill)


@dataclasses.dataclass(frozen=True)
class Look(GradientRule):
    """Note the weights and gradients that a gradient rule meets."""

    seen: list = dataclasses.field(default_factory=list, repr=False, compare=False, hash=False)

    def shape(self, grads, memory, now):
        self.seen.append(({name: param.clone() for name, param in now.params.items()}, grads))
        return {}, memory


def test_the_weights_are_put_back_bit_for_bit_before_the_rules_act():
    look = Look()
    state = begun([look])
    before = weights(state)
    record = SAM(0.5)(state, batch(0))
    met = look.seen[0][0]
    assert all(torch.equal(met[name], before[name]) for name in met)
    assert same(weights(state), before)  # the rule left every gradient out, so nothing moved
    assert len(look.seen) == 1
    assert (state.step, record["step"]) == (1, 1)


def test_penalties_take_no_part_in_the_way_uphill_and_pull_from_where_the_weights_are():
    grads = {}
    for strength in (0.0, 0.5):
        look = Look()
        state = begun([L2Penalty(strength), look])
        before = {name: param.detach().clone() for name, param in state.params.items()}
        record = SAM(0.5)(state, batch(0))
        grads[strength] = look.seen[0][1]
    names = state.memory[0]
    assert record["penalty"] == pytest.approx(
        0.25 * sum(before[name].square().sum().item() for name in names), rel=1e-5
    )
    for name, grad in grads[0.5].items():
        extra = 0.5 * before[name] if name in names else 0
        torch.testing.assert_close(grad, grads[0.0][name] + extra, rtol=1e-6, atol=1e-7)


def test_a_parameter_without_gradient_and_a_frozen_one_do_not_move():
    net = freeze(small_bert())
    net.spare = nn.Parameter(torch.ones(3))
    state = begun(net=net)
    words = net.base_model.embeddings.word_embeddings.weight.clone()
    SAM(0.5)(state, batch(0))
    assert torch.equal(net.base_model.embeddings.word_embeddings.weight, words)
    assert torch.equal(net.spare, torch.ones(3))
    assert net.base_model.embeddings.word_embeddings.weight.grad is None


def test_tied_weights_stay_tied_and_a_batch_in_parts_makes_the_update_of_the_whole():
    ends = []
    for parts in (1, 2):
        net = still(tie(small_bert()))
        state = begun(net=net, optimizer="sgd")
        SAM(0.2)(state, [{name: one[part::parts] for name, one in batch(0).items()} for part in range(parts)])
        layers = net.base_model.encoder.layer
        assert layers[0].output.dense.weight is layers[1].output.dense.weight
        ends.append(weights(state))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=1e-4, atol=1e-6)


def test_running_statistics_are_those_of_the_first_pass():
    def convolution():
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    part = {"x": inputs, "labels": torch.arange(8) % 2}
    states = [
        begun(net=convolution(), loss=lambda net, one: nn.functional.cross_entropy(net(one["x"]), one["labels"]))
        for _ in range(2)
    ]
    SAM(0.5)(states[0], part)
    step(states[1], part)
    for name, buffer in states[0].model.named_buffers():
        assert torch.equal(buffer, dict(states[1].model.named_buffers())[name])
    assert not torch.equal(states[0].model[0].weight, states[1].model[0].weight)


@pytest.mark.parametrize("fatal", [1, 2])
def test_a_loss_that_is_not_finite_in_either_pass_leaves_the_weights_as_they_were(fatal):
    calls = []

    def loss(net, part):
        calls.append(1)
        return CrossEntropy()(net, part) * (math.nan if len(calls) == fatal + 2 else 1.0)

    state = begun(loss=loss)
    SAM(0.5)(state, batch(0))
    before = weights(state)
    with pytest.raises(
        DivergenceError, match=r"loss must stay finite. Got nan at step 2, last finite loss 0\.\d+ at step 1"
    ):
        SAM(0.5)(state, batch(1))
    assert len(calls) == fatal + 2
    assert same(weights(state), before)
    assert state.step == 1


@pytest.mark.parametrize("half", [1, 3])
def test_a_training_resumes_bit_for_bit(half, tmp_path):
    whole, first, second = (begun(RULES) for _ in range(3))
    sharp = SAM(0.1)
    for number in range(6):
        sharp(whole, batch(number))
    for number in range(half):
        sharp(first, batch(number))
    checkpoint.restore(second, checkpoint.save(first, tmp_path))
    for number in range(half, 6):
        sharp(second, batch(number))
    assert same(weights(second), weights(whole))


def test_finetune_takes_it_as_its_step(bert, small):
    arguments = {
        "model": str(bert),
        "data": small,
        "epochs": 1,
        "lr": 1e-3,
        "batch_size": 8,
        "recipe": [WarmupLinear()],
    }
    run = ftlab.finetune(**arguments, step=SAM(0.05))
    plain = ftlab.finetune(**arguments)
    assert run.facts["arguments"]["step"] == "SAM(rho=0.05)"
    assert len(run.history) == 5
    assert not same(run.model.net.state_dict(), plain.model.net.state_dict())
    assert same(run.model.net.state_dict(), ftlab.finetune(**arguments, step=SAM()).model.net.state_dict())


def test_the_fast_engine_takes_it():
    state = begun()
    state.engine = choose_engine("fast", "cpu", emulated=True)
    for number in range(3):
        SAM(0.05)(state, batch(number))
    assert all(tensor.isfinite().all() for tensor in weights(state).values())


@pytest.mark.parametrize("rho", [-0.1, math.nan, math.inf, "0.1", None, True])
def test_a_rho_that_cannot_be_meant_is_refused(rho):
    with pytest.raises(
        ArgumentError, match=r"^SAM: rho must be a number at least 0. Got .* 0.05 is usual, 0 switches it off"
    ):
        SAM(rho)


def test_it_is_a_frozen_value():
    assert copy.copy(SAM(0.1)) == SAM(0.1) != SAM()
    assert hash(SAM(0.1)) == hash(SAM(0.1))
    with pytest.raises(dataclasses.FrozenInstanceError, match="rho"):
        SAM().rho = 0.1
