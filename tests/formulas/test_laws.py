"""The laws of every formula and rule, from the table in ``laws.py``; the id of each test begins with a formula's stem."""

import copy
import dataclasses
import itertools
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import ftlab
from ftlab.errors import ArgumentError
from ftlab.recipes.catalogue import functions, rules
from ftlab.recipes.parse import parse
from tests.formulas.laws import LAWS, Formula, Loss, Refusal, Value

FORMULAS = {row.name: row for rows in LAWS.values() for row in rows if isinstance(row, Formula)}
LOSSES = {row.name: row for rows in LAWS.values() for row in rows if isinstance(row, Loss)}
VALUES = {row.name: row for rows in LAWS.values() for row in rows if isinstance(row, Value)}


def rows(kind):
    """Return the rows of a kind as parameters, each with its stem and its name as the id."""
    return [
        pytest.param(row, id=f"{stem}-{row.name}") for stem, table in LAWS.items() for row in table if type(row) is kind
    ]


def neutral_forms():
    return [
        pytest.param(row, change, id=f"{stem}-{row.name}-{words(change)}")
        for stem, table in LAWS.items()
        for row in table
        if isinstance(row, Formula)
        for change in row.neutral
    ]


def refusals():
    return [
        pytest.param(row, id=f"{stem}-{row.by}-{words(row.arguments)}")
        for stem, table in LAWS.items()
        for row in table
        if isinstance(row, Refusal)
    ]


def words(arguments):
    """Return arguments in a few words for an id; a tensor as its shape."""
    shown = {name: tuple(value.shape) if isinstance(value, Tensor) else value for name, value in arguments.items()}
    return ",".join(
        f"{name}={type(value).__name__ if len(repr(value)) > 30 else value!r}" for name, value in shown.items()
    )


def tensors(value, name=""):
    """Yield each tensor of a nested value with the innermost name that it stands under."""
    if isinstance(value, Tensor):
        yield name, value
    elif dataclasses.is_dataclass(value):
        yield from tensors(vars(value), name)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors(part, key)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from tensors(part, name)


def plain(value):
    """Return a copy of a nested value in which every tensor is a list of its entries; NaN is a text."""
    if isinstance(value, Tensor):
        return str(value.dtype), str(value.tolist())
    if dataclasses.is_dataclass(value):
        return plain(vars(value))
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return copy.copy(value) if isinstance(value, set | str | int | float) else None


def overwrite(value):
    """Write into every tensor of a result, and empty its dictionaries and lists."""
    for _, tensor in tensors(value):
        tensor.detach().zero_()
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, dict | list):
            part.clear()


def cast(value, device, dtype):
    """Return a nested value with its floating-point tensors on a device and of a dtype."""
    if isinstance(value, Tensor):
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **{key: cast(part, device, dtype) for key, part in vars(value).items()})
    if isinstance(value, dict):
        return {key: cast(part, device, dtype) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(cast(part, device, dtype) for part in value)
    return value


def like_a_tensor(row):
    """Return whether a formula's result is like an argument that holds tensors."""
    return bool(row.like) and any(tensors(row.arguments()[row.like]))


def test_every_formula_and_every_rule_has_its_row():
    for stem, table in LAWS.items():
        listed = {row.name for row in table if isinstance(row, Formula)}
        assert listed == {name for name, call in functions().items() if call.__module__ == f"ftlab.formulas.{stem}"}
    assert FORMULAS.keys() == functions().keys()
    assert VALUES.keys() == rules().keys()


@pytest.mark.parametrize("row", rows(Formula))
def test_the_inputs_are_not_modified(row):
    for change in ({}, *row.neutral, *row.more):
        arguments = row.arguments() | change
        before = plain(arguments)
        result = functions()[row.name](**arguments)
        if not row.shares:
            overwrite(result)
        assert plain(arguments) == before


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16], ids=["float32", "float64", "bfloat16"]
)
@pytest.mark.parametrize("row", [param for param in rows(Formula) if like_a_tensor(param.values[0])])
def test_dtype_device_and_shape_are_kept(row, dtype):
    for device, change in itertools.product(row.devices, ({}, *row.neutral, *row.more)):
        arguments = row.arguments() | change
        for name in row.cast or arguments:
            arguments[name] = cast(arguments[name], device, dtype)
        like = arguments[row.like]
        by_name = isinstance(like, dict) and not row.scalar
        result = list(tensors(functions()[row.name](**arguments)))
        assert list(dict(result)) == (list(like) if by_name else [""])
        for name, tensor in result:
            shape = () if row.scalar else (like[name] if by_name else like).shape
            assert (tensor.dtype, tensor.device.type, tensor.shape) == (dtype, device, shape)


@pytest.mark.parametrize(("row", "change"), neutral_forms())
def test_the_neutral_value_is_the_identity_exactly(row, change):
    arguments = row.arguments() | change
    assert plain(functions()[row.name](**arguments)) == plain(arguments[row.like])


@pytest.mark.parametrize("row", rows(Value))
def test_a_rule_is_a_frozen_final_value_that_can_be_read_back(row):
    cls = rules()[row.name]
    assert cls.__final__
    assert all(issubclass(cls, kind) for kind in row.kinds)
    if row.default:
        assert repr(cls()) == row.default
    for text in (cls.example, cls.neutral, *row.more):
        if text.endswith("."):  # the reason why there is no neutral form
            continue
        rule = parse(text)
        assert parse(repr(rule)) == rule
        field = next(iter(vars(rule)), "anything")
        with pytest.raises(dataclasses.FrozenInstanceError, match=field):
            setattr(rule, field, 0.1)


@pytest.mark.parametrize("row", rows(Loss))
def test_a_loss_shows_its_arguments(row):
    assert repr(getattr(ftlab, row.name)(**row.arguments)).startswith(row.text or f"{row.name}(")


@pytest.mark.parametrize("row", refusals())
def test_an_argument_outside_its_range_is_refused(row):
    if row.by in FORMULAS:
        call, arguments = functions()[row.by], FORMULAS[row.by].arguments()
    elif row.by in LOSSES:
        call, arguments = getattr(ftlab, row.by), LOSSES[row.by].arguments
    else:
        call = rules()[row.by]
        arguments = vars(parse(call.example))
    with pytest.raises(ArgumentError, match=f"^{row.by}: {row.message}"):
        call(**(arguments | row.arguments))
