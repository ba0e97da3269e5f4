"""A prediction of each kind is one line."""

import pytest

from ftlab.display.predictions import as_line


@pytest.mark.parametrize(
    ("prediction", "line"),
    [
        ({"label": "good", "score": 0.5}, "good\t0.500\ttext"),
        ({"response": "two\nlines"}, "two lines\ttext"),
        ({"value": 2.0}, "2.000\ttext"),
        ({"labels": ["a", "b"], "probabilities": {}}, "a|b\ttext"),
        ({"labels": [], "probabilities": {}}, "\ttext"),
        ({}, ""),
    ],
)
def test_each_kind_is_one_line(prediction, line):
    assert as_line("text", prediction) == line
