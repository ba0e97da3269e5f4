"""What the checkers of exercises are made of."""

import torch

from ftlab.exercises.probe import near


def test_a_tolerance_holds_inside_dictionaries_and_lists():
    value, other = torch.tensor([1.0]), torch.tensor([1.01])
    for first, second in (({"w": value}, {"w": other}), ([value], [other]), ({"w": [value]}, {"w": [other]})):
        assert not near(first, second)
        assert near(first, second, tolerance=0.1)
