"""Child-Tuning: by hand, against per-sample gradients and numpy, its laws, and what it does to real steps."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, freeze, go_on, model as small_bert
from ftlab.formulas.child_tuning import ChildTuningD, ChildTuningF, child_network, child_tuning
from ftlab.formulas.lora import LoRA
from ftlab.models.load import Pretrained
from ftlab.rule import Now, Project
from ftlab.training.loop import begin, step
from tests.formulas.classifiers import Linear, rows


@dataclasses.dataclass(frozen=True)
class Shift(Project):
    """Moves every weight by 1."""

    def project(self, params, memory, now):
        return {name: param + 1 for name, param in params.items()}, memory


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def grads():
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: torch.randn(shape, generator=seeded(5)) for name, shape in shapes.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_an_entry_is_dropped_or_divided_by_the_share_worked_by_hand():
    # p = 1/4: 3 becomes 0 or 12
    new = child_tuning({"w": torch.full((1000,), 3.0)}, 0.25, seeded())["w"]
    assert set(new.tolist()) == {0.0, 12.0}
    # p = 1/2 of four entries: 9 and 5 are the largest two
    chosen = child_network({"a": torch.tensor([1.0, 9.0]), "b": torch.tensor([5.0, 0.0])}, 0.5)
    assert [chosen[name].tolist() for name in "ab"] == [[False, True], [True, False]]


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_the_share_that_is_kept_and_the_mean_are_those_of_bernoulli(share):
    new = child_tuning({"w": torch.ones(200_000)}, share, seeded())["w"].double()
    spread = math.sqrt(share * (1 - share) / 200_000)
    assert abs((new != 0).double().mean() - share) < 5 * spread
    assert abs(new.mean() - 1) < 5 * spread / share


def test_it_is_dropout_of_the_gradient_as_torch_defines_it():
    torch.manual_seed(0)
    ours, theirs = (
        child_tuning({"w": torch.ones(50_000)}, 0.7, seeded())["w"],
        functional.dropout(torch.ones(50_000), 0.3),
    )
    torch.testing.assert_close(ours.unique(), theirs.unique(), rtol=1e-6, atol=0)
    assert abs(ours.mean() - theirs.mean()) < 0.02


def test_every_tensor_and_every_seed_has_its_own_mask():
    ones = {"a": torch.ones(1000), "b": torch.ones(1000)}
    first, again, other = (child_tuning(ones, 0.5, seeded(seed)) for seed in (1, 1, 2))
    assert same(first, again)
    assert not torch.equal(first["a"], other["a"])
    assert not torch.equal(first["a"], first["b"])


def test_share_one_changes_nothing_at_all(grads):
    assert same(child_tuning(grads, 1, seeded()), grads)
    assert all(mask.all() for mask in child_network(grads, 1).values())


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_the_child_network_is_what_numpy_sorts_to_the_top(share):
    fisher = {name: torch.rand(shape, generator=seeded(3)).square() for name, shape in {"a": (7, 5), "b": (5,)}.items()}
    chosen = child_network(fisher, share)
    flat = np.concatenate([one.numpy().ravel() for one in fisher.values()])
    count = 40 - round(40 * (1 - share))
    expected = np.zeros(40, bool)
    expected[np.argsort(flat)[-count:]] = True
    assert np.array_equal(np.concatenate([one.numpy().ravel() for one in chosen.values()]), expected)


def test_rule_f_shapes_the_gradient_by_its_own_generator(grads):
    now = Now(seed=3, step=4, index=1)
    new, memory = ChildTuningF(0.5).shape(grads, "memory", now)
    assert same(new, child_tuning(grads, 0.5, now.generator))
    assert memory == "memory"
    later, _ = ChildTuningF(0.5).shape({"w": torch.ones(100)}, None, Now(step=1))
    first, _ = ChildTuningF(0.5).shape({"w": torch.ones(100)}, None, Now(step=0))
    assert not torch.equal(later["w"], first["w"])


def test_rule_f_in_a_real_step_of_gradient_descent_moves_only_what_it_keeps():
    net, data = Linear(), rows()
    net.drop.p = 0.0
    before = net.layer.weight.detach().clone()
    state = begin(net, [data], [ChildTuningF(0.5)], lr=0.1, optimizer="sgd", seed=1)
    loss = functional.cross_entropy(data["inputs"] @ before.T + net.layer.bias.detach(), data["labels"])
    assert step(state, data)["loss"] == pytest.approx(loss.item(), rel=1e-6)
    weight = before.clone().requires_grad_()
    score = data["inputs"] @ weight.T + Linear().layer.bias.detach()
    (grad,) = torch.autograd.grad(functional.cross_entropy(score, data["labels"]), weight)
    shaped = child_tuning({"layer.weight": grad}, 0.5, Now(seed=1).generator)["layer.weight"]
    torch.testing.assert_close(net.layer.weight.detach(), before - 0.1 * shaped, rtol=1e-5, atol=1e-7)
    assert (shaped == 0).any()


def largest_by_numpy(net, names, rows, share):
    """Masks of the entries whose squared gradients, one sample at a time, are the largest on average."""
    sums = dict.fromkeys(names, 0.0)
    for row in range(len(rows["labels"])):
        one = {name: tensor[row : row + 1] for name, tensor in rows.items()}
        net.zero_grad()
        functional.cross_entropy(
            net(**{k: v for k, v in one.items() if k != "labels"}).logits, one["labels"]
        ).backward()
        for name in names:
            sums[name] = sums[name] + net.get_parameter(name).grad.numpy() ** 2
    flat = np.concatenate([total.ravel() for total in sums.values()])
    bound = np.sort(flat)[round(flat.size * (1 - share))]
    return {name: torch.from_numpy(total >= bound) for name, total in sums.items()}


def test_rule_d_lets_the_top_of_the_fisher_information_learn_and_leaves_all_else_bit_for_bit():
    state = begun([ChildTuningD(0.25, samples=5)])
    first = {name: tensor[:5] for name, tensor in batch(0).items()}
    child = largest_by_numpy(small_bert(), list(state.params), first, 0.25)
    chosen = state.memory[0]["child"]
    differing = sum(int((child[name] != chosen[name]).sum()) for name in child)
    entries = sum(param.numel() for param in state.params.values())
    assert differing <= 2  # a rounding at the bound
    assert sum(int(mask.sum()) for mask in chosen.values()) == entries - round(0.75 * entries)
    before = {name: param.detach().clone() for name, param in state.params.items()}
    go_on(state, 4)
    for name, param in state.params.items():
        assert torch.equal(param[~chosen[name]], before[name][~chosen[name]])
    moved = sum(int((param != before[name]).sum()) for name, param in state.params.items())
    assert moved > 0.9 * 0.25 * entries
    assert state.memory[0]["before"] == {}  # so that a checkpoint does not hold the weights twice


def test_in_the_authors_way_the_weights_outside_of_the_child_network_decay():
    """Their optimizer masks the gradient, and then lets AdamW's weight decay at every weight."""
    state, name = begun([ChildTuningD(0.25, samples=5)]), "bert.encoder.layer.0.output.dense.weight"
    mask, net = state.memory[0]["child"], small_bert().train()
    decayed = torch.optim.AdamW([net.get_parameter(name)], lr=1e-2, weight_decay=0.01)
    before = net.get_parameter(name).detach().clone()
    for number in range(3):
        rows = batch(number % 2)
        net.zero_grad()
        functional.cross_entropy(net(rows["input_ids"], rows["attention_mask"]).logits, rows["labels"]).backward()
        net.get_parameter(name).grad *= mask[name]
        decayed.step()
    go_on(state, 3)
    outside = ~mask[name]
    theirs, ours = net.get_parameter(name)[outside], state.params[name][outside]
    torch.testing.assert_close(theirs, before[outside] * (1 - 1e-4) ** 3, rtol=1e-6, atol=0)
    assert torch.equal(ours, before[outside])


def test_what_rule_f_drops_decays_and_under_plain_descent_stays():
    for optimizer, factor in (("adamw", 1 - 1e-4), ("sgd", 1.0)):
        net = small_bert()
        before = {name: param.detach().clone() for name, param in net.named_parameters()}
        state = begin(net, [batch(0)], [ChildTuningF(0.25)], lr=1e-2, optimizer=optimizer)
        step(state, batch(0))
        dropped = state.params["bert.pooler.dense.weight"].grad == 0
        assert 0.7 < dropped.float().mean() < 0.8
        after = state.params["bert.pooler.dense.weight"][dropped]
        torch.testing.assert_close(after, before["bert.pooler.dense.weight"][dropped] * factor, rtol=1e-6, atol=0)
    assert "AdamW's moments and weight decay still move the dropped" in ChildTuningF().cautions([])[0]


def test_rule_d_undoes_the_optimizer_and_not_what_other_rules_do():
    state = begun([Shift(), ChildTuningD(0.25, 4)])
    child = state.memory[1]["child"]["classifier.weight"]
    before = state.params["classifier.weight"].detach().clone()
    go_on(state, 1)
    assert torch.equal(state.params["classifier.weight"][~child], before[~child])  # Shift came first
    state = begun([ChildTuningD(0.25, 4), Shift()])
    go_on(state, 1)
    assert torch.equal(state.params["classifier.weight"][~child], before[~child] + 1)


def test_a_new_head_and_what_does_not_match_always_learn():
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    state = begin(Pretrained(small_bert(), None, "small", None, fresh), [batch(0)], [ChildTuningD(0.1, 4)])
    assert set(state.memory[0]["child"]) == set(state.params) - fresh
    grads = {"classifier.weight": torch.ones(2, 16)}
    assert same(ChildTuningD(0.1).shape(grads, state.memory[0], Now())[0], grads)
    chosen = begun([ChildTuningD(0.1, 4, "*.layer.*")]).memory[0]["child"]
    assert chosen
    assert all(".layer." in name for name in chosen)
    assert begun([ChildTuningD(1.0)]).memory[0]["child"] == {}
    held = begun([ChildTuningD(0.1, 4)], change=freeze).memory[0]["child"]
    assert "bert.embeddings.word_embeddings.weight" not in held
    with pytest.raises(ArgumentError, match="must match a parameter"):
        begun([ChildTuningD(0.1, 4, "*.layer.7.*")])


def test_beside_lora_only_what_was_loaded_has_a_child_network():
    fresh = frozenset({"classifier.weight", "classifier.bias"})
    recipe = [LoRA(rank=2), ChildTuningD(0.5, 4)]
    state = begin(Pretrained(small_bert(), None, "small", None, fresh), [batch(0)], recipe)
    assert state.memory[1]["child"] == {}
    step(state, batch(0))


def test_rules_tell_what_they_keep():
    assert ChildTuningF(0.25).equation == "g ← M⊙g/0.25,  M ~ Bernoulli(0.25)"
    assert "keep 25% of all gradient entries, drawn in each step" in ChildTuningF(0.25).description
    assert ChildTuningD(0.25).equation == "g ← M⊙g,  θ[1−M] = θ₀,  M = [F is among its largest 25%]"
    assert "train only the 25% of all entries" in ChildTuningD(0.25).description
    assert "of the entries of a.*, b with" in ChildTuningD(0.25, pattern=("a.*", "b")).description
    assert ChildTuningF(1).cautions([]) == ChildTuningD(1).cautions([]) == []


MUTANTS = (
    ("mask.to(grad.device) / share", "mask.to(grad.device)"),
    ("< share\n", "> share\n"),
    ("generator=chance, device", "generator=torch.Generator().manual_seed(0), device"),
    ("return top_mask(fisher, 1 - share)", "return top_mask(fisher, 1 - share, together=False)"),
    ("return top_mask(fisher, 1 - share)", "return top_mask(fisher, share)"),
    ("if name in now.origin]", "]"),
    ("grad * child[name] if name", "grad * ~child[name] if name"),
    ("torch.where(child[name], params[name], old)", "torch.where(child[name], old, params[name])"),
    ("torch.where(child[name], params[name], old)", "params[name]"),
    ('return kept, {"child": child, "before": {}}', "return kept, memory"),
    (
        "fisher = fisher_information(model, batches, loss, names, self.samples)",
        "fisher = fisher_information(model, batches, loss, names, 1)",
    ),
)
