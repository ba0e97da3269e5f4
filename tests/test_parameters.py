"""Parameters chosen by pattern, measured, and told apart by role."""

import math

import pytest
import torch
from torch import nn

from ftlab.errors import Misused
from ftlab.parameters import distance, joint_norm, roles, select

NAMES = [f"layer.{layer}.{part}" for layer in (0, 1, 10, 11) for part in ("weight", "bias")]


def test_layer_1_never_matches_layer_10():
    assert select(NAMES, "layer.1.*") == ["layer.1.weight", "layer.1.bias"]


@pytest.mark.parametrize(
    ("pattern", "count"), [("*", 8), ("*.weight", 4), ("layer.1*", 6), ("layer.?.bias", 2), ("layer.10.bias", 1)]
)
def test_a_star_stands_for_any_characters(pattern, count):
    assert len(select(NAMES, pattern)) == count


def test_a_pattern_must_match_the_whole_name_letter_by_letter():
    for pattern in ("layer", "weight", "LAYER.*", "layer.1"):
        with pytest.raises(Misused, match="must match a parameter"):
            select(NAMES, pattern)


def test_a_tuple_chooses_what_any_of_its_patterns_matches_once_and_in_the_order_of_the_names():
    chosen = select(NAMES, ("layer.11.*", "*.0.weight", "layer.11.bias"))
    assert chosen == ["layer.0.weight", "layer.11.weight", "layer.11.bias"]


def test_names_may_come_from_a_generator():
    assert select((name for name in NAMES), ("*.0.bias", "*.1.bias")) == ["layer.0.bias", "layer.1.bias"]


@pytest.mark.parametrize("pattern", ["head.*", ("*.weight", "head.*")])
def test_a_pattern_without_match_is_an_error_that_shows_some_names(pattern):
    match = (
        r"^select: pattern 'head\.\*' must match a parameter. Got none of 8 names. "
        r"They look like layer.0.weight, layer.10.weight, layer.11.bias; a star stands for any characters.$"
    )
    with pytest.raises(Misused, match=match):
        select(NAMES, pattern)


def test_no_names_at_all_are_an_error_too():
    with pytest.raises(Misused, match="Got none of 0 names"):
        select([], "*")


def test_joint_norm_is_the_length_of_all_entries_together_worked_by_hand():
    # 1 + 4 + 4 + 16 + 144 = 169 = 13²
    tensors = {"a": torch.tensor([[1.0, -2.0], [2.0, 4.0]]), "b": torch.tensor(-12.0)}
    assert joint_norm(tensors) == 13


def test_joint_norm_equals_that_of_torch_over_one_long_vector():
    draw = torch.Generator().manual_seed(0)
    tensors = {str(one): torch.randn(one, 5, generator=draw) for one in range(1, 6)}
    long = torch.nn.utils.parameters_to_vector(tensors.values())
    torch.testing.assert_close(joint_norm(tensors), torch.linalg.vector_norm(long), rtol=1e-6, atol=0)


def test_joint_norm_of_nothing_is_zero_and_of_nan_is_nan():
    assert joint_norm({}) == 0
    assert joint_norm({"a": torch.tensor([1.0, math.nan]), "b": torch.ones(2)}).isnan()


def test_joint_norm_mixes_dtypes_and_takes_no_part_in_gradients():
    tensors = {"a": torch.tensor([3.0], dtype=torch.bfloat16), "b": torch.tensor([4.0], dtype=torch.double)}
    norm = joint_norm({name: tensor.requires_grad_() for name, tensor in tensors.items()})
    assert norm == 5
    assert not norm.requires_grad


def test_distance_is_the_length_of_the_difference_over_the_names_of_the_origin():
    # (4 - 1, 2 - 6) has the length 5; the head is not in the origin
    params = {"a": torch.tensor([4.0, 2.0]), "head": torch.tensor([100.0])}
    origin = {"a": torch.tensor([1.0, 6.0])}
    assert distance(params, origin) == 5
    assert distance(params, params) == 0
    assert distance(params, {}) == 0


class PlainNorm(nn.Module):
    """A model's own class, which no list of torch's classes can know."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(2))


class Normal(PlainNorm):
    """Its name only begins like one."""


@pytest.mark.parametrize(
    "norm",
    [
        *(nn.LayerNorm(2), nn.RMSNorm(2), nn.GroupNorm(1, 2), PlainNorm()),
        *(nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.SyncBatchNorm(2), nn.InstanceNorm1d(2, affine=True)),
    ],
    ids=lambda norm: type(norm).__name__,
)
def test_the_weight_of_a_normalising_module_is_a_gain_whatever_its_name(norm):
    found = roles(nn.ModuleDict({"linear": nn.Linear(2, 2), "ln_1": norm}))
    assert found.pop("ln_1.weight") == "gain"
    assert found.pop("ln_1.bias", "bias") == "bias"
    assert found == {"linear.weight": "weight", "linear.bias": "bias"}


@pytest.mark.parametrize(
    ("kind", "size"), [(nn.LayerNorm, (2,)), (nn.RMSNorm, (2,)), (nn.GroupNorm, (1, 2)), (nn.BatchNorm1d, (2,))]
)
def test_a_class_made_from_a_normalising_one_normalises_under_any_name(kind, size):
    assert roles(type("Rescaling", (kind,), {})(*size))["weight"] == "gain"


def test_a_module_that_does_not_normalise_has_no_gain():
    assert roles(Normal()) == {"weight": "weight", "bias": "bias"}
    assert roles(nn.Sequential(nn.Embedding(3, 2))) == {"0.weight": "weight"}


def test_a_parameter_of_the_model_itself_has_its_plain_name():
    assert roles(nn.Linear(2, 2)) == {"weight": "weight", "bias": "bias"}


def test_a_module_within_a_normalising_one_has_its_own_role():
    norm = PlainNorm()
    norm.gate = nn.Linear(2, 2)
    assert roles(norm) == {"weight": "gain", "bias": "bias", "gate.weight": "weight", "gate.bias": "bias"}


def test_tied_weights_have_a_role_under_the_name_that_the_model_gives_them():
    model = nn.Sequential(nn.Embedding(4, 2), nn.LayerNorm(2), nn.Linear(2, 4))
    model[2].weight = model[0].weight
    model.append(model[1])
    names = {name for name, _ in model.named_parameters()}
    assert names == {"0.weight", "1.weight", "1.bias", "2.bias"}
    assert {name: role for name, role in roles(model).items() if name in names} == {
        "0.weight": "weight",
        "1.weight": "gain",
        "1.bias": "bias",
        "2.bias": "bias",
    }
