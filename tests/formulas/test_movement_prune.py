"""Movement prune: by hand, against autograd and a plain program of the paper, and its life in a training."""

import numpy as np
import pytest
import torch

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import STEPS, begun, go_on, trained
from ftlab.formulas.cubic_sparsity import cubic_sparsity
from ftlab.formulas.magnitude_prune import magnitude_prune
from ftlab.formulas.movement_prune import MovementPrune, movement_prune, movement_scores
from ftlab.formulas.sign_prune import SignPrune
from ftlab.rule import Now
from ftlab.training.loop import finish


def drawn(seed, shapes=(("first", (20, 30)), ("second", (30, 7)))):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes}


def test_weights_pushed_away_from_zero_score_worked_by_hand():
    # −0.5·g·W: −0.5·(−1)·2 = 1, −0.5·(−1)·(−3) = −1.5, −0.5·4·0 = 0; added to 1, 1, 1
    given = {"w": torch.tensor([2.0, -3.0, 0.0])}, {"w": torch.tensor([-1.0, -1.0, 4.0])}
    assert movement_scores({"w": torch.ones(3)}, *given, 0.5)["w"].tolist() == [2.0, -0.5, 1.0]


def test_no_tensors_and_a_single_number_are_taken_as_they_are():
    assert movement_scores({}, {}, {}) == movement_prune({}, {}, 0.5) == {}
    one = {"w": torch.tensor(2.0)}
    assert movement_scores({"w": torch.tensor(0.0)}, one, {"w": torch.tensor(-3.0)})["w"] == torch.tensor(6.0)
    assert [movement_prune(one, one, share)["w"].item() for share in (0.4, 0.6)] == [2.0, 0.0]


def test_the_lowest_scores_go_whatever_the_size_worked_by_hand():
    # the scores −1 and 0 are the lower half: the great weight 9 goes, the small 0.1 stays
    params, scores = {"w": torch.tensor([9.0, 0.1, 3.0, -2.0])}, {"w": torch.tensor([-1.0, 2.0, 0.0, 1.0])}
    assert torch.equal(movement_prune(params, scores, 0.5)["w"], torch.tensor([0.0, 0.1, 0.0, -2.0]))
    assert torch.equal(magnitude_prune(params, 0.5)["w"], torch.tensor([9.0, 0.0, 3.0, 0.0]))


def test_score_is_the_gradient_through_a_mask_that_lets_it_pass():
    # S − α·∂L/∂S with W' = W⊙(1 + S) at S = 0, where the mask of ones lets the gradient straight through
    params = drawn(0)["first"].double()
    mask = torch.zeros_like(params, requires_grad=True)
    weights = (params * (1 + mask)).detach().requires_grad_()
    weights.cos().pow(2).sum().backward()
    (through,) = torch.autograd.grad((params * (1 + mask)).cos().pow(2).sum(), mask)
    new = movement_scores({"w": torch.zeros_like(params)}, {"w": params}, {"w": weights.grad}, 0.1)["w"]
    torch.testing.assert_close(new, -0.1 * through, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("scope", ["matrix", "global"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.85, 1.0])
def test_pruning_equals_a_stable_sort_of_the_scores(scope, sparsity):
    params = drawn(0)
    scores = {name: (3 * one).round() for name, one in drawn(1).items()}  # many ties
    flat = {name: one.flatten().numpy() for name, one in scores.items()}
    sets = [list(flat)] if scope == "global" else [[name] for name in flat]
    expected = {name: one.clone().flatten() for name, one in params.items()}
    for names in sets:
        joint = np.concatenate([flat[name] for name in names])
        gone = np.zeros(len(joint), dtype=bool)
        gone[np.argsort(joint, kind="stable")[: round(sparsity * len(joint))]] = True
        for name, part in zip(names, np.split(gone, np.cumsum([len(flat[name]) for name in names])[:-1]), strict=True):
            expected[name][torch.tensor(part)] = 0
    for name, new in movement_prune(params, scores, sparsity, scope).items():
        assert torch.equal(new.flatten(), expected[name])


def test_a_constant_rate_changes_no_ranking_and_the_neutral_values_nothing():
    params, grads = drawn(0), drawn(1)
    zero = {name: torch.zeros_like(one) for name, one in params.items()}
    one, other = (movement_scores(zero, params, grads, lr) for lr in (1.0, 2.0**-7))
    same = movement_prune(params, one, 0.4), movement_prune(params, other, 0.4)
    assert all(torch.equal(same[0][name], same[1][name]) for name in params)
    assert all(torch.equal(new, params[name]) for name, new in movement_prune(params, one, 0).items())
    still = movement_scores(one, params, {"second": torch.zeros(30, 7)})
    assert all(torch.equal(still[name], one[name]) for name in one)
    assert still["first"].data_ptr() != one["first"].data_ptr()


def test_gradients_pass_where_the_mask_is_one():
    weights = drawn(0)["second"].double().requires_grad_()
    scores = {"w": drawn(1)["second"].double()}
    assert torch.autograd.gradcheck(lambda w: movement_prune({"w": w}, scores, 0.5)["w"], weights)


def test_a_pattern_that_leaves_no_matrix_to_prune_is_refused():
    for pattern in ("classifier.*", "*embeddings*", "*.bias"):
        with pytest.raises(ArgumentError, match="^MovementPrune: pattern .* must match a trainable matrix. Got none"):
            begun([MovementPrune(0.5, pattern=pattern)])


def plain_program(rule, updates, grads, start):
    """The paper's loop for one matrix in numpy: dense weights that take every update, scores, a mask by ranking."""
    dense, scores = start.astype(np.float64), np.zeros(start.size)
    mask, shown = np.ones(start.size), []
    for made, (update, grad) in enumerate(zip(updates, grads, strict=True), start=1):
        scores -= grad * dense
        dense = dense + update
        gone = round(cubic_sparsity(made, len(updates), rule.sparsity, rule.begin, rule.end) * start.size)
        mask = np.ones(start.size)
        mask[np.argsort(scores, kind="stable")[:gone]] = 0
        shown.append(dense * mask)
    return shown


@pytest.mark.parametrize(("begin", "end"), [(0.0, 1.0), (0.3, 0.8), (0.5, 0.5)])
def test_rule_is_the_papers_loop(begin, end):
    rule = MovementPrune(0.6, begin=begin, end=end, pattern="*.query.*")
    state = begun([rule])
    memory = state.memory[0]
    name = next(iter(memory["dense"]))
    chance = np.random.default_rng(0)
    start = state.params[name].detach().double().flatten()
    memory = {**memory, "dense": {name: start.clone()}, "scores": {name: torch.zeros(start.numel()).double()}}
    updates, grads = chance.normal(size=(2, 20, start.numel()))
    weights, came_back = start, 0
    for made, expected in enumerate(plain_program(rule, updates, grads, start.numpy())):
        updated = weights + torch.tensor(updates[made])  # what an optimizer makes of the pruned weights
        now = Now(step=made, steps=20, params={name: updated}, grads={name: torch.tensor(grads[made])})
        new, memory = rule.project({name: updated}, memory, now)
        before, weights = weights, new.get(name, updated)
        came_back += int(((before == 0) & (weights != 0)).sum())
        torch.testing.assert_close(weights, torch.tensor(expected), rtol=0, atol=1e-12)
    assert int((weights == 0).sum()) == round(0.6 * start.numel())
    assert came_back > 0 or begin == end


@pytest.mark.parametrize("scope", ["matrix", "global"])
def test_rule_in_a_training_ends_at_its_share_of_zeros(scope):
    state = trained([MovementPrune(0.6, scope)], STEPS, ended=False)
    memory = state.memory[0]
    assert len(memory["dense"]) == 12
    shown = {name: state.params[name].detach() for name in memory["dense"]}
    expected = movement_prune(memory["dense"], memory["scores"], 0.6, scope)
    assert all(torch.equal(shown[name], expected[name]) for name in shown)
    with torch.no_grad():
        for param in state.params.values():
            param.add_(1.0)
    values = dict(finish(state).named_parameters())
    assert all(bool((values[name][one == 0] == 0).all()) for name, one in expected.items())


def test_a_long_run_renews_its_masks_a_hundred_times(monkeypatch):
    found = []
    module = __import__("ftlab.formulas.movement_prune", fromlist=["top_mask"])
    inner = module.top_mask
    monkeypatch.setattr(module, "top_mask", lambda *args, **how: found.append(args[1]) or inner(*args, **how))
    rule = MovementPrune(0.5, begin=0.0, pattern="*.query.*")
    state = begun([rule])
    memory, params = state.memory[0], {name: param.detach() for name, param in state.params.items()}
    for made in range(995):
        state.step, state.steps = made, 995
        _, memory = rule.project(params, memory, state.now(0))
    assert len(found) == 100
    assert found[-1] == 0.5


def test_before_its_begin_the_rule_only_keeps_scores():
    state, plain = begun([MovementPrune(0.5, begin=0.5, end=1.0)]), begun([])
    go_on(state, 1)
    first = {name: one.clone() for name, one in state.memory[0]["scores"].items()}
    start = begun([]).params
    go_on(plain, 1)
    for name, score in first.items():
        assert torch.equal(score, -plain.params[name].grad * start[name].detach())
    go_on(state, 3)
    go_on(plain, 3)
    assert all(torch.equal(state.params[name], param) for name, param in plain.params.items())
    assert any(not torch.equal(state.memory[0]["scores"][name], first[name]) for name in first)


def test_rule_tells_what_it_does_and_wants_to_be_last():
    rule = MovementPrune(0.5)
    assert rule.equation == "S ← S − ∇J⊙W,  θ ← W⊙Top(S),  zeros: 0 → 0.5"
    assert rule.description.endswith("from 10% to 70% of the run, up to 50%")
    assert "of all chosen matrices together" in MovementPrune(0.5, "global").description
    assert rule.cautions([SignPrune(0.1), rule]) == rule.cautions([]) == []
    assert "counts a change by SignPrune as a part of the next update" in rule.cautions([rule, SignPrune(0.1)])[0]


MUTANTS = (
    ("value=-lr)", "value=lr)"),
    ("else score.clone()", "else score"),
    ('sparsity, together=scope == "global")', '1 - sparsity, together=scope == "global")'),
    ('memory["scores"], memory["dense"], now.grads)', 'memory["scores"], now.params, now.grads)'),
    ("torch.where(mask, new, old + new)", "new"),
    ("torch.where(mask, new, old + new)", "old + new"),
    ("cubic_sparsity(updates, now.steps,", "cubic_sparsity(now.step, now.steps,"),
    ("matrices(model, layers=True)", "matrices(model)"),
    ("params[name].masked_fill_(~mask, 0)", "pass"),
    ("sparsity > 0 and (updates %", "sparsity > 0 and updates < now.steps and (updates %"),
)
