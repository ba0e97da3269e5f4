"""Parameters chosen by pattern, measured, and told apart by role."""

import math
import re

import pytest
import torch
import transformers
from torch import nn

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import model as small_bert
from ftlab.parameters import (
    depths,
    distance,
    freeze_params,
    joint_norm,
    layer_stack,
    matrices,
    penalised,
    roles,
    select,
    top_mask,
    unfreeze_params,
)

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
        with pytest.raises(ArgumentError, match="must match a parameter"):
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
    with pytest.raises(ArgumentError, match=match):
        select(NAMES, pattern)


def test_no_names_at_all_are_an_error_too():
    with pytest.raises(ArgumentError, match="Got none of 0 names"):
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


def test_joint_norm_adds_up_in_single_precision_at_least():
    halves = {name: torch.ones(3, dtype=torch.bfloat16) for name in "abc"}  # √3 in bfloat16 is 1.734
    assert joint_norm(halves) == 3
    large = {"a": torch.full((1000, 1000), 100.0, dtype=torch.float16)}  # the length is more than float16 can hold
    assert joint_norm(large).item() == pytest.approx(1e5, rel=1e-3)
    doubles = joint_norm({"a": torch.tensor([3e100, 4e100], dtype=torch.double)})
    assert doubles.item() == pytest.approx(5e100, rel=1e-15)


def test_penalised_weights_are_found_by_the_types_of_their_modules():
    net = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 2), nn.LayerNorm(2), PlainNorm())
    names = [name for name, _ in net.named_parameters()]
    assert penalised(net, names, "*", "L1Penalty") == ["0.weight", "1.weight"]
    assert penalised(net, names, ("1.*", "2.*"), "L1Penalty") == ["1.weight"]
    with pytest.raises(
        ArgumentError, match="^L1Penalty: pattern '2.*' must match a trainable weight. Got none. Biases and"
    ):
        penalised(net, names, "2.*", "L1Penalty")


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


@pytest.mark.parametrize(
    ("module", "biases"),
    [
        (nn.MultiheadAttention(4, 2, add_bias_kv=True), {"in_proj_bias", "bias_k", "bias_v", "out_proj.bias"}),
        (nn.LSTM(2, 2), {"bias_ih_l0", "bias_hh_l0"}),
    ],
)
def test_a_bias_is_one_by_its_own_name(module, biases):
    assert {name for name, role in roles(module).items() if role == "bias"} == biases


def test_what_is_held_is_released_and_what_was_frozen_before_is_not():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].bias.requires_grad_(False)
    freeze_params(net.parameters())
    freeze_params([net[0].weight])  # a second time, by another rule
    assert not any(param.requires_grad for param in net.parameters())
    unfreeze_params(net)
    assert [name for name, param in net.named_parameters() if not param.requires_grad] == ["1.bias"]
    net[0].weight.requires_grad_(False)
    unfreeze_params(net)  # nothing is left of the mark
    assert not net[0].weight.requires_grad


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


SIZES = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
WORDS = {"vocab_size": 20, "max_position_embeddings": 8}


def layered(kind, layers):
    """Return a classifier of transformers, tiny and with so many layers."""
    with torch.device("meta"):
        if kind == "GPT2":
            config = transformers.GPT2Config(vocab_size=20, n_embd=8, n_head=2, n_positions=8, n_layer=layers)
        elif kind == "DistilBert":
            config = transformers.DistilBertConfig(dim=8, hidden_dim=8, n_heads=2, n_layers=layers, **WORDS)
        else:
            config = getattr(transformers, f"{kind}Config")(num_hidden_layers=layers, **SIZES, **WORDS)
        return getattr(transformers, f"{kind}ForSequenceClassification")(config)


@pytest.mark.parametrize(
    ("kind", "stack", "below", "above"),
    [
        ("Bert", r"bert\.encoder\.layer", r"bert\.embeddings\.", r"bert\.pooler\.|classifier\."),
        ("Roberta", r"roberta\.encoder\.layer", r"roberta\.embeddings\.", r"classifier\."),
        ("Electra", r"electra\.encoder\.layer", r"electra\.embeddings", r"classifier\."),
        ("GPT2", r"transformer\.h", r"transformer\.w[tp]e\.", r"transformer\.ln_f\.|score\."),
        ("DistilBert", r"distilbert\.transformer\.layer", r"distilbert\.embeddings\.", r"(pre_)?classifier\."),
    ],
)
def test_embeddings_are_0_layer_i_is_i_and_1_and_what_stands_after_is_the_top(kind, stack, below, above):
    found = depths(layered(kind, 12))
    assert list(found) == [name for name, _ in layered(kind, 12).named_parameters()]
    for name, depth in found.items():
        layer = re.match(rf"{stack}\.(\d+)\.", name)
        expected = int(layer[1]) + 1 if layer else 0 if re.match(below, name) else 13 if re.match(above, name) else None
        assert depth == expected, name
    assert set(found.values()) == set(range(14))


def test_layer_1_and_layers_10_and_11_have_their_own_depths():
    found = depths(layered("Bert", 12))
    names = [f"bert.encoder.layer.{layer}.output.dense.weight" for layer in (0, 1, 2, 9, 10, 11)]
    assert [found[name] for name in names] == [1, 2, 3, 10, 11, 12]


def test_the_stages_of_a_resnet_are_its_layers():
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 2, 1], num_labels=2)
    found = depths(transformers.ResNetForImageClassification(config))
    for name, depth in found.items():
        stage = re.match(r"resnet\.encoder\.stages\.(\d)\.", name)
        assert depth == (int(stage[1]) + 1 if stage else 0 if ".embedder." in name else 4), name
    assert set(found.values()) == {0, 1, 2, 3, 4}


def test_a_plain_chain_counts_its_parts_that_have_parameters():
    chain = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), nn.Linear(3, 1))
    expected = {"0.weight": 0, "0.bias": 0, "2.0.weight": 1, "2.0.bias": 1, "2.1.weight": 1, "2.1.bias": 1}
    assert depths(chain) == expected | {"3.weight": 2, "3.bias": 2}
    inside = nn.ModuleDict({"silent": nn.ReLU(), "net": chain})
    assert depths(inside) == {f"net.{name}": depth for name, depth in depths(chain).items()}
    assert depths(nn.Linear(2, 2)) == {"weight": 0, "bias": 0}


def test_of_several_lists_the_largest_holds_the_layers_and_an_embedding_after_it_is_at_the_bottom():
    net = nn.ModuleDict(
        {
            "inputs": nn.ModuleList([nn.Linear(2, 2)]),
            "layers": nn.ModuleList([nn.ModuleList([nn.Linear(4, 4)]), nn.ModuleList([nn.Linear(4, 4)])]),
            "positions": nn.Embedding(3, 4),
            "heads": nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)]),
            "empty": nn.ModuleList(),
        }
    )
    found = {name.removesuffix(".weight"): depth for name, depth in depths(net).items() if name.endswith("weight")}
    assert found == {"inputs.0": 0, "layers.0.0": 1, "layers.1.0": 2, "positions": 0, "heads.0": 3, "heads.1": 3}


def test_weights_that_two_layers_share_have_the_depth_of_the_first():
    net = nn.Sequential(nn.Embedding(4, 2), nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), nn.Linear(2, 4))
    net[1][1].weight, net[2].weight = net[1][0].weight, net[0].weight
    assert depths(net) == {"0.weight": 0, "1.0.weight": 1, "1.0.bias": 1, "1.1.bias": 2, "2.bias": 3}


def test_matrices_are_those_of_linear_and_convolving_modules():
    net = nn.ModuleDict(
        {
            "words": nn.Embedding(5, 4),
            "layers": nn.ModuleList([nn.Linear(4, 4), nn.Sequential(nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4))]),
            "norm": nn.LayerNorm((4, 4)),
            "head": nn.Linear(4, 2),
        }
    )
    net.first_token = nn.Parameter(torch.zeros(1, 4))
    assert matrices(net) == ["layers.0.weight", "layers.1.0.weight", "head.weight"]
    assert matrices(net, layers=True) == ["layers.0.weight", "layers.1.0.weight"]
    assert matrices(nn.Sequential(nn.Linear(2, 2)), layers=True) == ["0.weight"]  # no stack of layers: all of them
    net["head"].weight = net["layers"][0].weight
    assert matrices(net) == ["layers.0.weight", "layers.1.0.weight"]  # what is tied is named once


def test_largest_marks_an_exact_number_and_of_equals_the_later():
    given = {"a": torch.tensor([[1.0, 2.0], [2.0, 2.0]]), "b": torch.tensor([2.0, 0.0])}
    assert {name: one.int().tolist() for name, one in top_mask(given, 0.5).items()} == {
        "a": [[0, 0], [1, 1]],
        "b": [1, 0],
    }
    apart = top_mask(given, 0.5, together=False)
    assert {name: one.int().tolist() for name, one in apart.items()} == {"a": [[0, 0], [1, 1]], "b": [1, 0]}
    assert [int(sum(one.sum() for one in top_mask(given, share).values())) for share in (0, 0.1, 0.34, 1)] == [
        6,
        5,
        4,
        0,
    ]
    assert top_mask({}, 0.5) == {}


def test_stack_is_the_list_of_layers_that_the_config_counts():
    net = small_bert()
    name, layers = layer_stack(net)
    assert name == "bert.encoder.layer"
    assert layers is net.bert.encoder.layer
    net.config.num_hidden_layers = 3
    with pytest.raises(ArgumentError, match="^cut: model must have a list of layers as long as its config says"):
        layer_stack(net, "cut")
