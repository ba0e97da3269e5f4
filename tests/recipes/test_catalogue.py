"""The catalogue holds every rule and every formula that a file of ``ftlab/formulas`` defines."""

import inspect
import pkgutil
from importlib import import_module

from ftlab import formulas
from ftlab.experiments.conformance import every_rule
from ftlab.recipes.catalogue import functions, rules
from ftlab.rule import Rule


def defined():
    """Yield what each file of ``ftlab/formulas`` defines: its stem, the name, the value."""
    for module in pkgutil.iter_modules(formulas.__path__):
        home = import_module(f"ftlab.formulas.{module.name}")
        for name, value in vars(home).items():
            if getattr(value, "__module__", "") == home.__name__:
                yield module.name, name, value


def test_every_rule_that_a_file_defines_is_found():
    found = {name for _, name, value in defined() if inspect.isclass(value) and issubclass(value, Rule)}
    assert found == set(rules()) == {type(rule).__name__ for rule in every_rule()}


def test_every_function_with_an_equation_is_found_and_nothing_else():
    found = {
        name: value for _, name, value in defined() if inspect.isfunction(value) and ".. math::" in str(value.__doc__)
    }
    assert found == functions()
    assert "check_labels" not in functions()


def test_every_public_file_has_a_formula():
    stems = {call.__module__.rsplit(".", 1)[1] for call in functions().values()}
    assert stems == {stem for stem, _, _ in defined() if not stem.startswith("_")}
