"""What several formulas check of their arguments."""

import pytest
import torch

from ftlab.errors import ArgumentError
from ftlab.formulas._checks import check_labels, check_weights, span


def test_labels_are_read_from_the_copy_on_the_host_that_they_carry():
    labels = torch.tensor([0, 9])
    assert span(labels) == (0, 9)
    labels.host_copy = torch.tensor([0, 1])  # a GPU's labels would have the same numbers as their copy
    assert span(labels) == (0, 1)
    check_labels("here", torch.zeros(2, 2), labels)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (torch.tensor([0, 2]), "here: labels must lie from 0 to 1. Got 0 to 2."),
        (torch.tensor([0.0, 1.0]), "here: labels must be whole numbers"),
        (torch.tensor([0]), "here: labels must be whole numbers"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, said):
    with pytest.raises(ArgumentError, match=said):
        check_labels("here", torch.zeros(2, 2), labels)


def test_weights_of_another_number_of_classes_are_refused():
    check_weights("here", torch.zeros(2, 3), torch.ones(3))
    with pytest.raises(ArgumentError, match=r"here: weight must have one number per class, shape \(3,\)"):
        check_weights("here", torch.zeros(2, 3), torch.ones(2))
