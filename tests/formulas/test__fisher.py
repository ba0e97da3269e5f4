"""The Fisher information's diagonal: by hand, against per-sample gradients, and the model stays as it was."""

import pytest
import torch
from ftlab.formulas._fisher import squared_gradients
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from ftlab.experiments.tiny_run import batch, begun, model
from ftlab.losses.classification import CrossEntropy
from tests.formulas.classifiers import Linear, Mlp, rows


def test_fisher_is_the_mean_of_squared_gradients_worked_by_hand_for_a_linear_softmax():
    net, data = Linear(), rows()
    found = squared_gradients(net, [data], CrossEntropy(), ["layer.weight", "layer.bias"], 99)
    probabilities = net.eval()(data["inputs"]).softmax(1).detach()
    gap = probabilities - functional.one_hot(data["labels"], 3)  # the gradient by the scores, row by row
    expected = (gap[:, :, None] * data["inputs"][:, None, :]).square().mean(0)
    torch.testing.assert_close(found["layer.weight"], expected, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(found["layer.bias"], gap.square().mean(0), rtol=1e-5, atol=1e-8)


def test_fisher_equals_that_of_per_sample_gradients_by_vmap_and_not_the_square_of_the_mean():
    net, data = Linear().eval(), rows()
    params = {name: param.detach() for name, param in net.named_parameters()}

    def loss(params, inputs, label):
        scores = torch.func.functional_call(net, params, (inputs[None],))
        return functional.cross_entropy(scores, label[None])

    each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(params, data["inputs"], data["labels"])
    found = squared_gradients(net, [data], CrossEntropy(), params, 99)
    torch.testing.assert_close(found, {n: g.square().mean(0) for n, g in each.items()}, rtol=1e-5, atol=1e-8)
    wrong = {name: grad.mean(0).square() for name, grad in each.items()}  # as the authors' code does for each batch
    assert all((wrong[name] < found[name]).all() for name in wrong)
    assert wrong["layer.weight"].sum() < found["layer.weight"].sum() / 2


def test_fisher_takes_the_first_rows_of_batches_and_of_their_parts_and_leaves_the_model():
    net, data = Linear(), rows()
    split = [{name: one[:2] for name, one in data.items()}, [{name: one[2:3] for name, one in data.items()}] * 2]
    firsts = {name: torch.cat([one[:3], one[2:3]]) for name, one in data.items()}
    names = ["layer.weight"]
    for many, few, samples in ((split, [firsts], 9), ([data], [{n: o[:4] for n, o in data.items()}], 4)):
        left, right = (squared_gradients(net, some, CrossEntropy(), names, samples) for some in (many, few))
        torch.testing.assert_close(left, right, rtol=1e-6, atol=0)
    assert net.training
    assert net.layer.weight.grad is None
    assert list(left) == names


def test_the_fisher_information_is_the_mean_of_squares_and_not_the_square_of_the_mean():
    torch.manual_seed(0)
    net = Mlp()
    data = {"x": torch.randn(12, 3), "labels": torch.arange(12) % 2}
    params = {name: param.detach() for name, param in net.named_parameters()}

    def one(values, x, label):
        return nn.functional.cross_entropy(functional_call(net, values, (x[None],)), label[None])

    each = vmap(grad(one), (None, 0, 0))(params, data["x"], data["labels"])
    batches = [
        {name: tensor[:5] for name, tensor in data.items()},
        [{name: tensor[5:] for name, tensor in data.items()}],
    ]
    found = squared_gradients(net, batches, CrossEntropy(), list(params), 12)
    whole = torch.autograd.grad(CrossEntropy()(net, data), list(net.parameters()))
    for (name, value), mean in zip(found.items(), whole, strict=True):
        torch.testing.assert_close(value, each[name].square().mean(0))
        assert value.sum() > 2 * mean.square().sum()  # what published codes compute by squaring the batch's gradient
    first = squared_gradients(net, batches, CrossEntropy(), ["first.bias"], 4)
    torch.testing.assert_close(first["first.bias"], each["first.bias"][:4].square().mean(0))


def test_measuring_leaves_the_model_as_it_was():
    state = begun([])
    state.model.train()
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    squared_gradients(state.model, [batch(0)], state.loss, list(state.params), 3)
    assert state.model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in state.model.state_dict().items())
    assert all(param.grad is None for param in state.model.parameters())


def test_measuring_gives_every_module_its_own_mode_back_also_when_it_fails():
    net = model().train()
    net.bert.embeddings.eval()
    with pytest.raises(KeyError, match="classifer"):
        squared_gradients(net, [batch(0)], CrossEntropy(), ["classifer.weight"], 2)
    squared_gradients(net, [batch(0)], CrossEntropy(), ["classifier.weight"], 2)

    def failing(net, rows):
        raise ArithmeticError("no loss")

    with pytest.raises(ArithmeticError, match="no loss"):
        squared_gradients(net, [batch(0)], failing, ["classifier.weight"], 2)
    assert [name for name, one in net.named_children() if one.training] == ["bert", "dropout", "classifier"]
    assert not net.bert.embeddings.training
