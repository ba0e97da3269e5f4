"""Building blocks for checkers of functions: run the learner's function and compare its result."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class HintError(Exception):
    """An answer is not right yet; the message is the hint."""


def expect(condition: Any, hint: str) -> None:
    """Raise a hint unless a condition holds."""
    if not condition:
        raise HintError(hint)


def run(function: Callable[..., Any], *inputs: Any) -> Any:
    """Call a learner's function on copies; raise a hint if it returns nothing or modifies its inputs."""
    copies = copy.deepcopy(inputs)
    result = function(*copies)
    expect(result is not None and result is not ..., "Your function returns nothing: end it with return.")
    unchanged = all(near(after, before) for after, before in zip(copies, inputs, strict=True))
    expect(unchanged, "Your function modifies its inputs: create new tensors instead.")
    return result


def near(value: Any, target: Any, tolerance: float = 1e-5) -> bool:
    """Return whether two values are equal within a tolerance: numbers, tensors, or dictionaries and lists of them.

    >>> near({"w": torch.tensor([1.0])}, {"w": torch.tensor([1.0 + 1e-7])}), near([1.0], [2.0])
    (True, False)
    """
    if isinstance(target, dict):
        same_keys = isinstance(value, dict) and value.keys() == target.keys()
        return same_keys and all(near(value[key], target[key], tolerance) for key in target)
    if isinstance(target, list | tuple):
        same_length = isinstance(value, list | tuple) and len(value) == len(target)
        return same_length and all(near(a, b, tolerance) for a, b in zip(value, target, strict=True))
    if isinstance(target, Tensor | float | int) and not isinstance(target, bool):
        if not isinstance(value, Tensor | float | int):
            return False
        first, second = torch.as_tensor(value).double(), torch.as_tensor(target).double()
        return first.shape == second.shape and torch.allclose(first, second, rtol=tolerance, atol=tolerance)
    return bool(value is target or value == target)
