"""Fisher information: by hand, against per-sample gradients of autograd and torch.func, and its laws."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, model
from ftlab.formulas.fisher_information import fisher_information
from ftlab.losses.classification import CrossEntropy
from tests.formulas.classifiers import Linear, rows


class Net(nn.Module):
    """Scores of four inputs, with dropout on the inputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.drop = nn.Linear(4, 5), nn.Linear(5, 3), nn.Dropout(0.5)

    def forward(self, inputs):
        return self.second(self.first(self.drop(inputs)).tanh())


def first(data, count):
    return {name: tensor[:count] for name, tensor in data.items()}


def names_of(net):
    return [name for name, _ in net.named_parameters()]


def test_two_samples_worked_by_hand():
    # scores (0, 0): p = 1/2. By the scores the gradients are (-1/2, 1/2) and (1/2, -1/2); by the weight they are these
    # times x = 1 and x = 3: squares 1/4 and 9/4, the mean is 5/4
    net = nn.Sequential(nn.Linear(1, 2))
    nn.init.zeros_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    data = {"input": torch.tensor([[1.0], [3.0]]), "labels": torch.tensor([0, 1])}
    fisher = fisher_information(net, [data], CrossEntropy(), ["0.weight", "0.bias"], 2)
    torch.testing.assert_close(fisher["0.weight"], torch.full((2, 1), 1.25))
    torch.testing.assert_close(fisher["0.bias"], torch.full((2,), 0.25))


def test_a_linear_softmax_has_the_squares_of_the_known_gradient():
    net, data = Linear(), rows()
    fisher = fisher_information(net, [data], CrossEntropy(), ["layer.weight", "layer.bias"], 99)
    probabilities = net.eval()(data["inputs"]).softmax(1).detach()
    gap = probabilities - functional.one_hot(data["labels"], 3)  # the gradient by the scores, row by row
    expected = (gap[:, :, None] * data["inputs"][:, None, :]).square().mean(0)
    torch.testing.assert_close(fisher["layer.weight"], expected, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(fisher["layer.bias"], gap.square().mean(0), rtol=1e-5, atol=1e-8)


def test_it_is_the_mean_of_the_squares_that_a_loop_over_samples_gives():
    net, data = Net(), rows()
    sums = {name: torch.zeros_like(param) for name, param in net.named_parameters()}
    for row in range(6):
        net.eval().zero_grad()
        functional.cross_entropy(net(data["inputs"][row : row + 1]), data["labels"][row : row + 1]).backward()
        for name, param in net.named_parameters():
            sums[name] += param.grad.square()
    net.zero_grad()
    fisher = fisher_information(net.train(), [data], CrossEntropy(), sums, 6)
    torch.testing.assert_close(fisher, {name: total / 6 for name, total in sums.items()})


def test_it_equals_the_per_sample_gradients_of_vmap_and_not_the_square_of_the_mean():
    net, data = Net().eval(), rows(12)
    params = {name: param.detach() for name, param in net.named_parameters()}

    def loss(params, inputs, label):
        return functional.cross_entropy(functional_call(net, params, (inputs[None],)), label[None])

    each = vmap(grad(loss), (None, 0, 0))(params, data["inputs"], data["labels"])
    batches = [first(data, 5), [{name: tensor[5:] for name, tensor in data.items()}]]
    fisher = fisher_information(net, batches, CrossEntropy(), params, 12)
    torch.testing.assert_close(fisher, {name: grads.square().mean(0) for name, grads in each.items()})
    for name, grads in each.items():
        square_of_mean = grads.mean(0).square()  # what published codes compute from a batch's gradient
        assert (square_of_mean <= fisher[name] + 1e-9).all()
        assert square_of_mean.sum() < fisher[name].sum() / 2


def test_it_takes_the_first_rows_of_batches_and_of_micro_batches():
    net, data, names = Net(), rows(), ["first.weight"]
    split = [first(data, 2), [{name: tensor[2:3] for name, tensor in data.items()}] * 2]
    whole = {name: torch.cat([tensor[:3], tensor[2:3]]) for name, tensor in data.items()}
    for many, few, samples in ((split, [whole], 9), ([data], [first(data, 4)], 4)):
        left, right = (fisher_information(net, batches, CrossEntropy(), names, samples) for batches in (many, few))
        torch.testing.assert_close(left, right, rtol=1e-6, atol=0)
        assert list(left) == names


def test_the_order_of_samples_does_not_matter_and_doubled_samples_change_nothing():
    net, data = Net(), rows()
    names = names_of(net)
    plain = fisher_information(net, [data], CrossEntropy(), names, 6)
    turned = fisher_information(net, [{n: t.flip(0) for n, t in data.items()}], CrossEntropy(), names, 6)
    doubled = fisher_information(net, [data, data], CrossEntropy(), names, 12)
    torch.testing.assert_close(turned, plain)
    torch.testing.assert_close(doubled, plain)


def test_it_is_at_least_0_of_the_parameters_shape_in_single_precision():
    net = Net().to(torch.bfloat16)
    data = {name: tensor.to(torch.bfloat16) if name == "inputs" else tensor for name, tensor in rows().items()}
    fisher = fisher_information(net, [data], CrossEntropy(), names_of(net), 6)
    for name, param in net.named_parameters():
        assert (fisher[name].shape, fisher[name].dtype) == (param.shape, torch.float32)
        assert (fisher[name] >= 0).all()
        assert fisher[name].sum() > 0


def test_what_the_loss_does_not_depend_on_has_0_and_so_has_everything_without_a_row():
    net = Net()
    net.idle = nn.Linear(2, 2)
    fisher = fisher_information(net, [rows()], CrossEntropy(), ["idle.weight", "first.bias"], 6)
    assert fisher["idle.weight"].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert fisher["first.bias"].sum() > 0
    assert fisher_information(net, [], CrossEntropy(), ["idle.bias"], 6)["idle.bias"].tolist() == [0.0, 0.0]


def test_no_names_cost_no_pass():
    def failing(net, batch):
        raise ArithmeticError("a pass was computed")

    assert fisher_information(Net(), [rows()], failing, [], 6) == {}


def test_measuring_leaves_the_model_as_it_was():
    state = begun([])
    state.model.train()
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    fisher_information(state.model, [batch(0)], state.loss, list(state.params), 3)
    assert state.model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in state.model.state_dict().items())
    assert all(param.grad is None for param in state.model.parameters())


def test_measuring_gives_every_module_its_own_mode_back_also_when_it_fails():
    net = model().train()
    net.bert.embeddings.eval()
    fisher_information(net, [batch(0)], CrossEntropy(), ["classifier.weight"], 2)

    def failing(net, rows):
        raise ArithmeticError("no loss")

    with pytest.raises(ArithmeticError, match="no loss"):
        fisher_information(net, [batch(0)], failing, ["classifier.weight"], 2)
    assert [name for name, module in net.named_children() if module.training] == ["bert", "dropout", "classifier"]
    assert not net.bert.embeddings.training


@pytest.mark.parametrize("samples", [0, -1, 1.5, "9", True])
def test_a_number_of_samples_that_is_no_positive_whole_number_is_refused(samples):
    match = "^fisher_information: samples must be a whole number of at least 1. Got .* 128 is usual"
    with pytest.raises(ArgumentError, match=match):
        fisher_information(Net(), [rows()], CrossEntropy(), ["first.bias"], samples)


def test_a_name_that_is_no_trainable_parameter_is_refused():
    net = Net()
    net.second.requires_grad_(False)
    for name in ("frist.bias", "second.bias"):
        match = f"^fisher_information: names must be trainable parameters of the model. Got '{name}'. Take them from"
        with pytest.raises(ArgumentError, match=match):
            fisher_information(net, [rows()], CrossEntropy(), ["first.bias", name], 6)


MUTANTS = (
    ("grad.float().square()", "grad.float().abs()"),
    ("total.add_(grad", "total.copy_(grad"),
    ("with eval_mode(model):", "with eval_mode():"),
    ("total / max(1, count)", "total / samples"),
    ("if not left:", "if left < 0:"),
    ("tensor[row : row + 1]", "tensor[: row + 1]"),
    ("dtype=torch.float32)", "dtype=param.dtype)"),
    ("or not params[name].requires_grad]", "]"),
    ("allow_unused=True", "allow_unused=False"),
)
