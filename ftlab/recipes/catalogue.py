"""The rules that a recipe can name, and the formulas behind them, collected from ``ftlab.formulas``."""

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
    """Return all rules of ``ftlab.formulas`` by name.

    >>> rules()["ClipNorm"].__module__
    'ftlab.formulas.clip_norm'
    """
    return {value.__name__: value for value in _public_values() if inspect.isclass(value) and issubclass(value, Rule)}


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """Return all formulas by name: the functions whose docstring has an equation.

    >>> functions()["decay"](0.1, 0.5, 3)
    0.0125
    """
    defined = (value for value in _public_values() if inspect.isfunction(value))
    return {function.__name__: function for function in defined if ".. math::" in (function.__doc__ or "")}


def _public_values() -> Iterator[Any]:
    """Yield the public classes and functions that the files of ``ftlab.formulas`` define, file by file."""
    for file in pkgutil.iter_modules(formulas.__path__):
        module = import_module(f"{formulas.__name__}.{file.name}")
        for name, value in vars(module).items():
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__:
                yield value
