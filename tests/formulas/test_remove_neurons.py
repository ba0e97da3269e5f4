"""Neuron importance: by hand, against loops and autograd, its laws, and the cut that is made of it."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, go_on, model as small_bert, tie, trained
from ftlab.formulas.mixout import Mixout
from ftlab.formulas.remove_neurons import RemoveNeurons, cut_neurons, keep_neurons, neuron_importance
from ftlab.rule import Now


@pytest.fixture
def block():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((9, 5), (4, 9), (9, 5), (4, 9))]


def logits(net):
    inputs = {name: tensor for name, tensor in batch(0).items() if name != "labels"}
    with torch.no_grad():
        return net.eval()(**inputs).logits


def loud_bert():
    """Return the small BERT with weights and biases so large that each neuron counts."""
    net = small_bert()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in net.bert.encoder.layer:
            for module in (layer.intermediate.dense, layer.output.dense):
                module.weight.normal_(0, 0.5, generator=generator)
                module.bias.normal_(0, 2.0, generator=generator)
        net.classifier.weight.normal_(0, 1.0, generator=generator)
    return net


def test_importance_worked_by_hand():
    into, out = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    # ‖(3, 4)‖·‖(1, 0)‖ = 5 and ‖(0, 2)‖·‖(0, 3)‖ = 6
    assert neuron_importance(into, out).tolist() == [5.0, 6.0]
    # |3·1| + |4·(−1)| + |1·2| + 0 = 9 and |0| + |2·0.5| + 0 + |3·(−2)| = 7
    grads = torch.tensor([[1.0, -1.0], [7.0, 0.5]]), torch.tensor([[2.0, 9.0], [9.0, -2.0]])
    assert neuron_importance(into, out, grads).tolist() == [9.0, 7.0]


def test_importance_equals_plain_loops(block):
    into, out, *grads = block
    for neuron in range(9):
        squares = sum(float(one) ** 2 for one in into[neuron]), sum(float(one) ** 2 for one in out[:, neuron])
        assert float(neuron_importance(into, out)[neuron]) == pytest.approx(
            math.sqrt(squares[0] * squares[1]), rel=1e-12
        )
        ours = zip((*into[neuron], *out[:, neuron]), (*grads[0][neuron], *grads[1][:, neuron]), strict=True)
        slope = sum(abs(float(one) * float(other)) for one, other in ours)
        assert float(neuron_importance(into, out, tuple(grads))[neuron]) == pytest.approx(slope, rel=1e-12)


def test_the_sum_bounds_the_first_order_change_of_the_loss_when_the_neuron_goes(block):
    into, out, inputs, _ = (one.clone() for one in block)
    into.requires_grad_()
    out.requires_grad_()
    mask = torch.ones(9, dtype=torch.float64, requires_grad=True)
    loss = (torch.tanh(inputs @ into.T) * mask @ out.T).square().mean()
    slope, *grads = torch.autograd.grad(loss, (mask, into, out))
    importance = neuron_importance(into.detach(), out.detach(), tuple(grads))
    assert (importance >= slope.abs()).all()


def test_the_product_ignores_how_a_neuron_shares_its_loudness_and_what_writes_nothing_is_worth_nothing(block):
    into, out, *grads = block
    loud = torch.tensor([2.0**power for power in range(-4, 5)], dtype=torch.float64)
    assert torch.equal(neuron_importance(into * loud[:, None], out / loud), neuron_importance(into, out))
    out[:, 3] = 0
    grads[0][3] = 0  # no gradient comes back through weights of zero
    assert neuron_importance(into, out)[3] == 0
    assert neuron_importance(into, out, tuple(grads))[3] == 0


def test_importances_can_be_differentiated(block):
    for some in (block[:2], block):
        given = [one.clone().requires_grad_() for one in some]
        assert torch.autograd.gradcheck(lambda a, b, *g: neuron_importance(a, b, g or None), given)


def test_the_least_important_go_worked_by_hand():
    # a quarter of five is round(1.25) = 1: the 1 at place 3; of the equals 2 the earlier goes next
    given = torch.tensor([2.0, 5.0, 2.0, 1.0, 3.0])
    found = {share: keep_neurons(given, share).tolist() for share in (0, 0.25, 0.4, 0.6)}
    assert found == {0: [0, 1, 2, 3, 4], 0.25: [0, 1, 2, 4], 0.4: [1, 2, 4], 0.6: [1, 4]}
    assert given.tolist() == [2.0, 5.0, 2.0, 1.0, 3.0]


def test_the_choice_equals_structured_pruning_of_torch():
    weights = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    for share in (0.1, 0.5, 0.9):
        module = nn.Linear(7, 50)
        module.weight.data.copy_(weights)
        prune.ln_structured(module, "weight", amount=share, n=2, dim=0)
        expected = module.weight_mask[:, 0].nonzero().flatten()
        assert torch.equal(keep_neurons(neuron_importance(weights, torch.ones(1, 50)), share), expected)


def test_what_cannot_be_meant_is_refused(block):
    into, out, *_ = block
    for bad in ((into.T, out), (into, out[0]), (into, out, (out, into))):
        with pytest.raises(ArgumentError, match="^neuron_importance: out must have a column for each row of into"):
            neuron_importance(*bad)
    for share in (-0.1, 1.0, math.nan, "0.5", None, True):
        match = ": share must be a number at least 0 and less than 1. Got .* 0.5 is a first try, 0 removes nothing"
        with pytest.raises(ArgumentError, match=f"^keep_neurons{match}"):
            keep_neurons(torch.ones(4), share)
        with pytest.raises(ArgumentError, match=f"^RemoveNeurons{match}"):
            RemoveNeurons(share)
    with pytest.raises(ArgumentError, match="share must leave a neuron. Got 0.9 of 2"):
        keep_neurons(torch.ones(2), 0.9)
    with pytest.raises(ArgumentError, match="^RemoveNeurons: model must have a list of layers"):
        RemoveNeurons(0.5).prepare(nn.Linear(2, 2), Now())


def test_cutting_is_zeroing_and_the_shapes_follow():
    net, zeroed = loud_bert(), loud_bert()
    for layer in zeroed.bert.encoder.layer:
        into, out = layer.intermediate.dense, layer.output.dense
        rows = torch.cat([into.weight, into.bias[:, None]], 1).detach()
        gone = (rows.norm(dim=1) * out.weight.detach().norm(dim=0)).argsort()[:8]
        out.weight.data[:, gone] = 0
    cut_neurons(net, 0.25)
    torch.testing.assert_close(logits(net), logits(zeroed), rtol=0, atol=1e-5)
    assert not torch.allclose(logits(net), logits(loud_bert()), atol=1e-2)
    assert net.config.intermediate_size == 24
    for layer in net.bert.encoder.layer:
        into, out = layer.intermediate.dense, layer.output.dense
        assert (into.weight.shape, into.bias.shape, out.weight.shape) == ((24, 16), (24,), (16, 24))
        assert (into.out_features, out.in_features, out.bias.shape) == (24, 24, (16,))


def test_dead_neurons_go_first_and_change_no_logits():
    net = loud_bert()
    for layer in net.bert.encoder.layer:
        layer.output.dense.weight.data[:, 3:11] = 0
        layer.intermediate.dense.weight.data[3:11] *= 100  # loud, but nobody listens
    whole = copy.deepcopy(net)
    cut_neurons(net, 0.25)
    torch.testing.assert_close(logits(net), logits(whole), rtol=0, atol=1e-5)
    layers = zip(net.bert.encoder.layer, whole.bert.encoder.layer, strict=True)
    kept = [*range(3), *range(11, 32)]
    assert all(torch.equal(one.intermediate.dense.weight, two.intermediate.dense.weight[kept]) for one, two in layers)


def test_given_importances_are_followed_tied_layers_lose_the_same_and_frozen_ones_stay_frozen():
    net = small_bert()
    first = net.bert.encoder.layer[0].intermediate.dense
    first.weight.requires_grad_(False)
    expected = first.weight.detach()[16:]
    cut_neurons(net, 0.5, [torch.arange(32.0), -torch.arange(32.0)])
    assert torch.equal(net.bert.encoder.layer[0].intermediate.dense.weight, expected)
    assert not net.bert.encoder.layer[0].intermediate.dense.weight.requires_grad
    assert net.bert.encoder.layer[0].output.dense.weight.requires_grad
    tied = tie(small_bert())
    given = tied.bert.encoder.layer[1].intermediate.dense.weight.detach().clone()
    cut_neurons(tied, 0.5, [torch.arange(32.0), -0.5 * torch.arange(32.0)])  # together the first layer's order
    layers = tied.bert.encoder.layer
    assert layers[0].output.dense.weight is layers[1].output.dense.weight
    assert torch.equal(layers[1].intermediate.dense.weight, given[16:])


def test_layers_that_are_one_module_are_cut_once_and_marks_of_the_parameters_stay():
    net = loud_bert()
    first, second = net.bert.encoder.layer
    second.intermediate.dense, second.output.dense = first.intermediate.dense, first.output.dense
    vars(first.output.dense.weight)["held"] = True
    whole = copy.deepcopy(net)
    for module in (whole.bert.encoder.layer[0].intermediate.dense,):
        module.weight.data[:8], module.bias.data[:8] = 0, -1e4  # gelu makes exact zeros of it
    cut_neurons(net, 0.25, [torch.arange(32.0)] * 2)
    assert first.intermediate.dense.weight.shape == second.intermediate.dense.weight.shape == (24, 16)
    assert vars(first.output.dense.weight) == {"held": True} | vars(whole.bert.encoder.layer[0].output.dense.weight)
    torch.testing.assert_close(logits(net), logits(whole), rtol=0, atol=1e-5)


def test_a_neuron_that_is_no_number_is_not_cut_away_and_the_share_stays_exact():
    importance = torch.tensor([1.0, math.nan, 0.5, 2.0])
    assert keep_neurons(importance, 0.5).tolist() == [1, 3]


def test_a_model_with_layers_of_another_kind_is_refused():
    net = small_bert()
    del net.bert.encoder.layer[1].intermediate
    match = "^RemoveNeurons: model must have feed-forward blocks of a known kind. Got BertForSequenceClassification"
    with pytest.raises(ArgumentError, match=match):
        cut_neurons(net, 0.5)


def test_share_zero_leaves_the_very_same_parameters():
    net = small_bert()
    before = dict(net.named_parameters())
    assert RemoveNeurons(0.0).prepare(net, Now()) is net
    assert all(param is before[name] for name, param in net.named_parameters())


def test_rule_in_a_training_makes_a_smaller_model_that_learns():
    state = begun([RemoveNeurons(0.5)])
    start = small_bert()
    cut_neurons(start, 0.5)
    for name, param in start.named_parameters():
        assert torch.equal(state.params[name], param)
    go_on(state, 2)
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    assert state.params[name].shape == (16, 16)
    assert not torch.equal(state.params[name], dict(start.named_parameters())[name])
    net = trained([RemoveNeurons(0.5)], 6).model
    loss = functional.cross_entropy(logits(net), batch(0)["labels"])
    assert loss < functional.cross_entropy(logits(start), batch(0)["labels"])


def test_rule_tells_its_share_and_warns_of_what_has_no_origin():
    assert RemoveNeurons(0.25).equation == "θ₀ ← θ₀ without the 25% neurons of least ‖w_in‖·‖w_out‖"
    assert "the 25% least important feed-forward neurons" in RemoveNeurons(0.25).description
    assert RemoveNeurons(0.5).cautions([RemoveNeurons(0.5)]) == RemoveNeurons(0.0).cautions([Mixout(0.5)]) == []
    assert "have no θ₀" in RemoveNeurons(0.5).cautions([Mixout(0.5)])[0]


MUTANTS = (
    ("(into, dim=1) * torch", "(into, dim=1) + torch"),
    ("(into * grads[0]).abs().sum(1)", "(into * grads[0]).sum(1).abs()"),
    ("(out * grads[1]).abs().sum(0)", "grads[1].abs().sum(0)"),
    ('top_mask({"": importance}, share)', 'top_mask({"": -importance}, share)'),
    ("torch.cat([rows, bias.detach()[:, None]], 1)", "rows"),
    ("requires_grad=old.requires_grad", "requires_grad=True"),
    ("groups.append(next(shared, index))", "groups.append(index)"),
    ("if id(old) not in cut:", "if True:"),
    ("vars(cut[id(old)]).update(vars(old))", "pass"),
    ("cut, outputs=module in ins)", "cut, outputs=module not in ins)"),
    ("at_least=0, below=1)", "at_least=0, at_most=1)"),
    ("    setattr(module, fields[conv, outputs], len(kept))", "    fields[conv, outputs]"),
)
