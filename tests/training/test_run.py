"""What a finished run tells."""

import pytest

import ftlab
from ftlab.models.load import load_model


@pytest.fixture(scope="module")
def run(bert):
    from tests.tiny import small_data

    data = small_data()
    return ftlab.finetune(load_model(bert, data), data, epochs=2, lr=1e-3, progress=False)


def test_the_number_of_resamples_is_not_forgotten(run):
    assert run.evaluate("test") is run.evaluate("test")
    assert run.evaluate("test", resamples=0).to_dict()["accuracy_low"] is None
    assert run.evaluate("test").to_dict()["accuracy_low"] is not None


def test_the_evaluations_after_each_epoch_hold_no_empty_intervals(run):
    assert len(run.evaluations) == 2
    for evaluation in run.evaluations:
        assert {"accuracy", "loss"} <= evaluation.keys()
        assert None not in evaluation.values()
