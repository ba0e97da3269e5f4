"""What ``ftlab.formulas`` holds: the rules that a recipe can name, and the formulas behind them."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from typing import Any

from ftlab import formulas
from ftlab.rule import Rule


@cache
def rules() -> dict[str, type[Rule]]:
    """Return the rules by name.

    >>> rules()["ClipNorm"].__module__
    'ftlab.formulas.clip_norm'
    """
    return {one.__name__: one for one in _defined() if inspect.isclass(one) and issubclass(one, Rule)}


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """Return the formulas by name: the functions whose docstring has an equation.

    >>> functions()["decay"](0.1, 0.5, 3)
    0.0125
    """
    found = (one for one in _defined() if inspect.isfunction(one))
    return {one.__name__: one for one in found if ".. math::" in (one.__doc__ or "")}


def _defined() -> Iterator[Any]:
    """Yield the public classes and functions that the files of ``ftlab.formulas`` define, file by file."""
    for file in pkgutil.iter_modules(formulas.__path__):
        module = import_module(f"{formulas.__name__}.{file.name}")
        for name, value in vars(module).items():
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
                yield value
