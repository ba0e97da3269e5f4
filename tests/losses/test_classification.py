"""Class weights, and the two forward passes of R-Drop."""

import pytest
import torch

from ftlab.errors import ArgumentError
from ftlab.experiments import tiny_run
from ftlab.losses.classification import CrossEntropy, Focal, RDrop


@pytest.mark.parametrize("kind", [CrossEntropy, Focal])
def test_class_weights_that_cannot_be_meant_are_refused(kind):
    where = kind.__name__
    with pytest.raises(
        ArgumentError, match=f"^{where}: weight must be a number at least 0. Got -1.0. Give a number for"
    ):
        kind(weight=(1.0, -1.0))
    with pytest.raises(
        ArgumentError, match=f"^{where}: weight must be a tuple, one number per class. Got Tensor. Write"
    ):
        kind(weight=torch.ones(2))
    with pytest.raises(ArgumentError, match=r"weight must have one number per class, shape \(2,\). Got shape \(3,\)"):
        kind(weight=(1.0, 1.0, 1.0))(tiny_run.model(), tiny_run.batch(0))


def test_r_drop_has_two_different_dropouts_and_each_part_its_own():
    net, rows = tiny_run.model().train(), tiny_run.batch(0)
    values = []
    for alpha in (0.0, 1.0):
        torch.manual_seed(0)
        values.append(RDrop(alpha)(net, rows).item())
    assert values[1] > values[0] + 1e-6
    assert RDrop(0.0)(net, rows).item() != values[0]  # the next part of a batch draws on
    net.eval()
    assert torch.equal(RDrop(5.0)(net, rows), CrossEntropy()(net, rows))
