"""The tiny training of the contract: the same each time, and compared bit for bit."""

import pytest
import torch

from ftlab.experiments.tiny_run import alike, batch, begun, freeze, go_on, gradients, model, same, tie, trained, weights


def test_model_and_batches_are_the_same_each_time_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    assert same(model().state_dict(), model().state_dict())
    assert same(batch(3), batch(3))
    assert not same(batch(3), batch(4))
    assert torch.equal(torch.get_rng_state(), before)


def test_steps_in_two_goes_are_the_steps_in_one():
    halves = begun([])
    go_on(halves, 2)
    go_on(halves, 5)
    assert same(weights(halves), weights(trained([], 5)))
    assert len(halves.evaluations) == 2  # one after each epoch of two steps
    assert gradients(halves).keys() == halves.params.keys()


def test_a_tied_and_a_frozen_model_are_what_their_names_say():
    layers = tie(model()).base_model.encoder.layer
    assert layers[0].output.dense.weight is layers[1].output.dense.weight
    assert [name for name, param in freeze(model()).named_parameters() if not param.requires_grad] == [
        "bert.embeddings.word_embeddings.weight"
    ]


@pytest.mark.parametrize(
    ("one", "other", "equal", "like"),
    [
        (torch.zeros(2), torch.zeros(2), True, True),
        (torch.zeros(2), torch.ones(2), False, True),
        (torch.zeros(2), torch.zeros(2).double(), False, False),
        (torch.zeros(2), torch.zeros(2, device="meta"), False, False),
        (1.0, 2.0, False, True),
        (1.0, torch.tensor(1.0), True, False),
    ],
)
def test_values_are_compared_entry_by_entry_and_by_their_kind(one, other, equal, like):
    if like or equal:
        assert same({"a": one}, {"a": other}) == equal
    assert alike(one, other) == like
