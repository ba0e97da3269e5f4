"""Inputs that ``predict`` and ``evaluate`` refuse."""

import ftlab
from ftlab import ArgumentError
from tests.bad_inputs.bench import bad, labelled

# Use of a model


@bad(ArgumentError, "inputs must be a list. Got 'a good film'")
def _predict_on_a_bare_string(bench):
    ftlab.predict(bench.model, "a good film")


@bad(ArgumentError, "inputs must be texts that are not empty. Got ' ' at position 2")
def _predict_on_an_empty_text(bench):
    ftlab.predict(bench.model, ["a good film", " "])


@bad(ArgumentError, "max_length must be a whole number of at least 1. Got 0")
def _predict_with_no_length(bench):
    ftlab.predict(bench.model, ["a good film"], max_length=0)


@bad(ArgumentError, "labels must be no, yes. Got blue, red")
def _evaluate_on_other_labels(bench):
    ftlab.evaluate(bench.model, ftlab.load_data(labelled(["red", "blue"]))["test"])
