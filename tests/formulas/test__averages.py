"""What the rules that end with an average share."""

import torch
from torch import nn

from ftlab.formulas._averages import load_average


def test_the_average_is_copied_into_the_model_and_what_has_none_stays(mentioned):
    net = nn.Linear(2, 1)
    bias, weight = net.bias.detach().clone(), net.weight
    assert load_average("EMA", net, {"weight": torch.tensor([[3.0, 4.0]])}) is net
    assert net.weight is weight
    assert net.weight.tolist() == [[3.0, 4.0]]
    assert torch.equal(net.bias, bias)
    assert mentioned() == ""


def test_averaged_parameters_that_the_model_no_longer_has_are_mentioned(mentioned):
    load_average("SWA", nn.Linear(2, 1), {"gone": torch.ones(1), "bias": torch.ones(1)})
    assert "SWA: 1 averaged parameters are no longer there; list SWA later." in mentioned()
