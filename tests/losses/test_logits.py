"""The logits of a batch, whatever a model returns."""

import torch
from torch import nn

from ftlab.experiments import tiny_run
from ftlab.losses.logits import SCORES_ONLY, logits_of


def test_the_logits_of_a_transformers_model_are_those_of_a_call_without_labels():
    net, rows = tiny_run.model(), tiny_run.batch(0)
    expected = net(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"])
    assert torch.equal(logits_of(net, rows), expected.logits)
    assert expected.loss is None


def test_the_logits_of_a_plain_module_are_what_it_returns_in_fp32():
    class Net(nn.Module):
        def forward(self, inputs):
            assert SCORES_ONLY.get()
            return 2 * inputs

    found = logits_of(Net(), {"inputs": torch.ones(3, 2, dtype=torch.bfloat16), "labels": torch.zeros(3).long()})
    assert torch.equal(found, torch.full((3, 2), 2.0))
    assert found.dtype == torch.float32
    assert not SCORES_ONLY.get()
