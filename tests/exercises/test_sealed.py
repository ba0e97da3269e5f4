"""Answers are written in one way and sealed for one exercise."""

import math

import numpy as np
import pytest
import torch

from ftlab.exercises.sealed import Sealed, seal, written


def test_answers_are_written_in_one_way():
    assert written(0.105, 3) == written(np.float32(0.105), 3) == written(torch.tensor(0.10504), 3) == "1.05e-01"
    assert written(-0.0, 2) == written(0, 2)
    assert written("  A  B ", 0) == "a b"
    for wrong in ("0.1", None, True, math.nan, math.inf, [1]):
        with pytest.raises(TypeError, match="The answer must be a number, to 3 significant digits"):
            written(wrong, 3)
    with pytest.raises(TypeError, match="The answer must be a word in quotes"):
        written(3, 0)


def test_a_seal_is_that_of_its_exercise():
    assert seal("01.1", "1.0e+00") != seal("01.2", "1.0e+00")
    one = Sealed(seal("x", "5.0e-01"), digits=2, hint="no", wrong={seal("x", "2.0e+00"): "upside down"})
    assert [one.judge("x", value) for value in (0.5, 2, 3)] == ["", "upside down", "no"]
    assert "must be a number" in one.judge("x", "half")
