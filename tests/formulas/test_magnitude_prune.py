"""Magnitude prune: by hand, against torch's own pruning and numpy, and its life in a training."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import STEPS, begun, go_on, model as small_bert, trained
from ftlab.formulas.cubic_sparsity import cubic_sparsity
from ftlab.formulas.magnitude_prune import MagnitudePrune, magnitude_prune
from ftlab.parameters import matrices
from ftlab.training.loop import finish


@pytest.fixture
def params():
    generator = torch.Generator().manual_seed(0)
    shapes = {"first": (40, 30), "second": (30, 7), "third": (11,)}
    scales = {"first": 1.0, "second": 0.1, "third": 3.0}
    return {name: scales[name] * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def zeros(tensors):
    return sum(int((tensor == 0).sum()) for tensor in tensors.values())


def test_the_smallest_half_becomes_zero_worked_by_hand():
    # sizes 3, 1, 2, 0.5 and 0.1, 4: half of the six are 0.1, 0.5, 1; within each matrix they are 0.5, 1 and 0.1
    given = {"a": torch.tensor([[3.0, -1.0], [2.0, -0.5]]), "b": torch.tensor([0.1, -4.0])}
    for scope in ("global", "matrix"):
        new = magnitude_prune(given, 0.5, scope)
        assert torch.equal(new["a"], torch.tensor([[3.0, 0.0], [2.0, 0.0]]))
        assert torch.equal(new["b"], torch.tensor([0.0, -4.0]))
    # a third of six is two: 0.1 and 0.5; a third of four is round(4/3) = 1, of two round(2/3) = 1
    assert zeros({"a": magnitude_prune(given, 1 / 3)["a"]}) == 1
    # three quarters: round(4.5) = 4 of six, so 0.1, 0.5, 1, 2; alone three of four and round(1.5) = 2 of two
    assert magnitude_prune(given, 0.75)["a"].tolist() == [[3.0, 0.0], [0.0, 0.0]]
    assert magnitude_prune(given, 0.75)["b"].tolist() == [0.0, -4.0]
    assert magnitude_prune(given, 0.75, "matrix")["b"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.999, 1.0])
def test_global_pruning_equals_that_of_torch(params, sparsity):
    modules = [(nn.Module(), "weight") for _ in params]
    for (module, _), param in zip(modules, params.values(), strict=True):
        module.weight = nn.Parameter(param.clone())
    prune.global_unstructured(modules, prune.L1Unstructured, amount=sparsity)
    for (module, _), new in zip(modules, magnitude_prune(params, sparsity).values(), strict=True):
        assert torch.equal(new, module.weight)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.999, 1.0])
def test_pruning_by_matrix_equals_that_of_torch(params, sparsity):
    for name, new in magnitude_prune(params, sparsity, "matrix").items():
        module = nn.Module()
        module.weight = nn.Parameter(params[name].clone())
        assert torch.equal(new, prune.l1_unstructured(module, "weight", amount=sparsity).weight)


def test_equal_sizes_go_in_their_order_as_a_stable_sort_has_it():
    chance = np.random.default_rng(0)
    given = chance.integers(-3, 4, size=200).astype(np.float32)  # seven values, so nearly all are ties
    for sparsity in np.linspace(0, 1, 41):
        expected = given.copy()
        expected[np.argsort(abs(given), kind="stable")[: round(sparsity * 200)]] = 0
        parts = {"a": torch.tensor(given[:90]), "b": torch.tensor(given[90:])}
        found = torch.cat(list(magnitude_prune(parts, float(sparsity)).values()))
        assert np.array_equal(found.numpy(), expected)


@pytest.mark.parametrize("sparsity", [0.1, 0.25, 0.77])
def test_exactly_the_share_asked_for_is_zero_and_the_rest_is_untouched(params, sparsity):
    count = sum(param.numel() for param in params.values())
    new = magnitude_prune(params, sparsity)
    assert zeros(new) == round(sparsity * count)
    for name, param in params.items():
        kept = new[name] != 0
        assert torch.equal(new[name][kept], param[kept])
    sizes, left = (torch.cat([one.flatten().abs() for one in some.values()]) for some in (params, new))
    gone, least = sizes[left == 0].max(), left[left > 0].min()
    assert gone <= least
    equal = magnitude_prune(params, sparsity, "matrix")
    assert [zeros({"": one}) for one in equal.values()] == [round(sparsity * one.numel()) for one in params.values()]


def test_sparsity_zero_changes_nothing_and_one_leaves_nothing(params):
    new = magnitude_prune(params, 0)
    assert all(torch.equal(new[name], params[name]) for name in params)
    assert zeros(magnitude_prune(params, 1)) == sum(param.numel() for param in params.values())
    assert magnitude_prune({}, 0.5) == {}


def test_one_entry_infinite_ones_and_those_that_are_no_numbers():
    given = {"one": torch.tensor(3.0), "odd": torch.tensor([math.nan, -math.inf, 1.0, 2.0, 5.0])}
    new = magnitude_prune(given, 0.5)  # of six, 1, 2 and 3 go: what is broken stays, to be seen
    assert new["one"].shape == ()
    torch.testing.assert_close(new["odd"], torch.tensor([math.nan, -math.inf, 0.0, 0.0, 5.0]), equal_nan=True)
    assert new["one"] == 0
    assert magnitude_prune(given, 0.4, "matrix")["one"] == 3
    assert magnitude_prune(given, 0.6, "matrix")["one"] == 0


def test_pruning_again_to_the_same_share_changes_nothing(params):
    once = magnitude_prune(params, 0.6)
    again = magnitude_prune(once, 0.6)
    assert all(torch.equal(again[name], once[name]) for name in params)


def test_the_gradient_is_the_mask():
    given = torch.tensor([3.0, -1.0, 2.0, 0.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: magnitude_prune({"w": w}, 0.5)["w"], given)


def test_rule_chooses_the_matrices_of_the_layers_alone():
    names = begun([MagnitudePrune(0.5)]).memory[0]["names"]
    assert len(names) == 12
    assert all(name.startswith("bert.encoder.layer.") and name.endswith(".weight") for name in names)
    assert not any("LayerNorm" in name for name in names)
    assert len(begun([MagnitudePrune(0.5, pattern="*.query.weight")]).memory[0]["names"]) == 2
    for pattern in ("classifier.*", "*embeddings*", "*.bias"):
        with pytest.raises(ArgumentError, match="^MagnitudePrune: pattern .* must match a trainable matrix. Got none"):
            begun([MagnitudePrune(0.5, pattern=pattern)])


@pytest.mark.parametrize("scope", ["global", "matrix"])
def test_rule_follows_the_schedule_and_what_is_pruned_stays_pruned(scope):
    rule = MagnitudePrune(0.6, scope, begin=0.2, end=0.8)
    state = begun([rule])
    gone = dict.fromkeys(state.memory[0]["names"])
    counts = []
    for made in range(1, STEPS + 1):
        go_on(state, made)
        now = {name: state.params[name].detach() == 0 for name in gone}
        assert all(gone[name] is None or bool((now[name] >= gone[name]).all()) for name in gone)
        gone = now
        counts.append(sum(int(one.sum()) for one in now.values()))
    sizes = [one.numel() for one in gone.values()]
    for made, count in enumerate(counts, start=1):
        share = cubic_sparsity(made, STEPS, 0.6, 0.2, 0.8)
        asked = round(share * sum(sizes)) if scope == "global" else sum(round(share * size) for size in sizes)
        assert count == asked
    assert counts[0] == 0 < counts[1] < counts[3] < counts[4] == counts[5]


def test_rule_at_its_last_step_is_the_plain_training_pruned():
    rule = MagnitudePrune(0.5, begin=1.0, end=1.0)  # all at once, after the last update
    state, plain = trained([rule], STEPS), trained([], STEPS)
    names = matrices(plain.model, layers=True)
    expected = magnitude_prune({name: plain.params[name].detach() for name in names}, 0.5)
    for name, param in plain.params.items():
        assert torch.equal(state.params[name], expected.get(name, param)), name


def test_rule_finds_few_thresholds(monkeypatch):
    found = []
    module = __import__("ftlab.formulas.magnitude_prune", fromlist=["top_mask"])
    inner = module.top_mask
    monkeypatch.setattr(module, "top_mask", lambda *args, **how: found.append(args[1]) or inner(*args, **how))
    rule = MagnitudePrune(0.5, pattern="*.query.*")
    state = begun([rule])
    memory = state.memory[0]
    params = {name: param.detach() for name, param in state.params.items()}
    for made in range(1000):
        state.step, state.steps = made, 1000
        _, memory = rule.project(params, memory, state.now(0))
    assert 30 < len(found) <= module.RENEWALS
    assert found[-1] == 0.5
    assert sum(int((~mask).sum()) for mask in memory["masks"].values()) == 256  # half of two matrices of 16 by 16


def test_the_model_that_is_saved_has_its_zeros_whatever_came_later():
    state = trained([MagnitudePrune(0.5)], STEPS, ended=False)
    with torch.no_grad():
        for param in state.params.values():
            param.add_(1.0)
    net = finish(state)
    values = dict(net.named_parameters())
    names = state.memory[0]["names"]
    assert sum(int((values[name] == 0).sum()) for name in names) == sum(values[name].numel() for name in names) // 2
    assert small_bert().bert.encoder.layer[0].output.dense.weight.shape == (16, 32)  # as large as before
    assert values["bert.encoder.layer.0.output.dense.weight"].shape == (16, 32)


def test_rule_tells_how_much_and_when():
    assert MagnitudePrune(0.5).equation == "θ ← θ⊙[|θ| > τ],  zeros: 0 → 0.5"
    said = MagnitudePrune(0.5).description
    assert "of all chosen matrices together to zero" in said
    assert said.endswith("from 10% to 70% of the run, up to 50%")
    assert "of each chosen matrix" in MagnitudePrune(0.5, "matrix").description


MUTANTS = (
    ("{name: param.abs() for name, param in params.items()}", "params"),
    ('sparsity, together=scope == "global")', '1 - sparsity, together=scope == "global")'),
    ('sparsity, together=scope == "global")', "sparsity, together=True)"),
    ("cubic_sparsity(now.step + 1, now.steps,", "cubic_sparsity(now.step, now.steps,"),
    ("matrices(model, layers=True)", "matrices(model)"),
    (">= self.sparsity / RENEWALS", "> 0"),
    ("(grown > 0 and sparsity == self.sparsity)", "False"),
    ("params[name].masked_fill_(~mask, 0)", "pass"),
    ("        if masks:\n", "        if not sparsity:\n"),
)
