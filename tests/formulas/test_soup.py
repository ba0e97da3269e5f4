"""The mean of several sets of weights: by hand, against numpy and torch, and its laws."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from ftlab.formulas.soup import uniform_soup


@pytest.fixture
def sets():
    generator = torch.Generator().manual_seed(0)
    shapes = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return [{name: torch.randn(one, generator=generator) for name, one in shapes.items()} for _ in range(5)]


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_mean_of_three_worked_by_hand():
    # (1 + 2 + 6) / 3 = 3 and (0 - 3 + 0) / 3 = -1
    values = ([1.0, 0.0], [2.0, -3.0], [6.0, 0.0])
    assert torch.equal(uniform_soup([{"w": torch.tensor(one)} for one in values])["w"], torch.tensor([3.0, -1.0]))


def test_it_equals_numpys_mean(sets):
    for name, new in uniform_soup(sets).items():
        expected = np.mean([one[name].double().numpy() for one in sets], axis=0)
        torch.testing.assert_close(new.double(), torch.tensor(expected), rtol=1e-6, atol=1e-7)


def test_it_equals_torchs_averaged_model():
    nets = [nn.Linear(3, 4) for _ in range(4)]
    theirs = AveragedModel(nets[0])
    for net in nets:
        theirs.update_parameters(net)
    new = uniform_soup([{name: param.detach() for name, param in net.named_parameters()} for net in nets])
    expected = {name: param.detach() for name, param in theirs.module.named_parameters()}
    torch.testing.assert_close(new, expected, rtol=1e-5, atol=1e-7)


def test_one_set_alone_comes_back_exactly_and_the_order_does_not_matter(sets):
    assert same(uniform_soup(sets[:1]), sets[0])
    torch.testing.assert_close(uniform_soup(sets), uniform_soup(sets[::-1]), rtol=1e-6, atol=1e-7)


def test_equal_sets_are_their_own_mean_and_opposite_ones_cancel(sets):
    assert same(uniform_soup([sets[0]] * 4), sets[0])
    opposite = {name: -one for name, one in sets[0].items()}
    assert same(uniform_soup([sets[0], opposite]), {name: torch.zeros_like(one) for name, one in sets[0].items()})


def test_its_gradient_is_that_of_finite_differences():
    first, second = (torch.randn(3, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: uniform_soup([{"w": a}, {"w": b}])["w"], (first, second))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_names_dtype_device_and_shape_are_kept(sets, dtype, device):
    sets = [{name: one.to(device, dtype) for name, one in some.items()} for some in sets]
    new = uniform_soup(sets)
    assert list(new) == list(sets[0])
    for name, one in new.items():
        assert (one.dtype, one.device.type, one.shape) == (dtype, device, sets[0][name].shape)


MUTANTS = (
    (".mean(0)", ".sum(0)"),
    (".mean(0)", ".median(0).values"),
    ("for params in sets])", "for params in sets[:2]])"),
    ("params.keys() ^ sets[0].keys()", "params.keys() - sets[0].keys()"),
    ("if params[name].shape != sets[0][name].shape", "if params[name].ndim != sets[0][name].ndim"),
)
