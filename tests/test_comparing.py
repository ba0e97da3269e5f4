"""Arms are fine-tuned with the same seeds and held against the first; TOML files and their mistakes."""

import pytest

import ftlab
from ftlab.comparing import Comparison, compare
from ftlab.errors import Misused, Refused
from ftlab.models import load_model
from ftlab.paired import Paired

HOW = {"seeds": 2, "epochs": 1, "lr": 1e-2, "batch_size": 8}


def test_each_value_is_that_of_the_run_with_that_seed(small, bert):
    model = load_model(bert, small)
    found = compare({"plain": [], "clipped": ["ClipNorm(0.01)"], "slow": {"lr": 1e-5}}, small, model, **HOW)
    assert list(found.values) == ["plain", "clipped", "slow"]
    for name, arguments in (("plain", {}), ("clipped", {"recipe": ["ClipNorm(0.01)"]}), ("slow", {"lr": 1e-5})):
        for seed in (0, 1):
            given = {"epochs": 1, "lr": 1e-2, "batch_size": 8} | arguments
            run = ftlab.finetune(model, small, seed=seed, progress=False, **given)
            assert run.metrics["accuracy"] == found.values[name][seed]


def test_a_file_names_the_arms_as_the_call_would(small, bert, tmp_path):
    model, file = load_model(bert, small), tmp_path / "recipes.toml"
    file.write_text('[plain]\n\n[clipped]\nrecipe = ["ClipNorm(0.01)"]\nepochs = 2\n')
    told = compare({"plain": {}, "clipped": {"recipe": ["ClipNorm(0.01)"], "epochs": 2}}, small, model, **HOW)
    assert compare(file, small, model, **HOW) == told


@pytest.fixture
def three():
    values = {"plain": (0.5, 0.6, 0.55, 0.5), "good": (0.7, 0.81, 0.75, 0.7), "same": (0.5, 0.62, 0.53, 0.51)}
    return Comparison(values, "accuracy", "test", 100)


def test_the_table_says_what_the_pairs_say(three):
    assert three.against("good") == Paired.of(
        [b - a for a, b in zip(*map(three.values.get, ("plain", "good")), strict=True)]
    )
    rows = {row[0]: row for row in three.rows()}
    assert rows["plain"] == ("plain", "0.538", "", "", "")
    assert rows["good"][4] == "better"
    assert rows["same"][4].startswith("undecided (sees 0.0")
    assert "4 paired seeds, 100 test rows" in str(three)
    assert "<th>p (Holm)</th>" in three._repr_html_()


def test_p_values_are_those_after_holm(three):
    lone = three.against("good").p
    assert float({row[0]: row for row in three.rows()}["good"][3]) == pytest.approx(2 * lone, abs=5e-4)


def test_the_figure_has_a_line_for_every_arm_but_the_first(three):
    axes = three.figure().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["same", "good"]
    assert "difference to plain" in axes.get_xlabel()


@pytest.mark.parametrize(
    ("arms", "arguments", "error", "said"),
    [
        ({"one": []}, {}, Misused, "arms must be at least two"),
        ({"a": [], "b": []}, {"seeds": 1}, Misused, "seeds must be a whole number of at least 2"),
        ({"a": [], "b": {"seed": 1}}, {}, Misused, "arm 'b' must leave seed out"),
        ({"a": [], "b": ["Nothing()"]}, {}, Misused, "rule must be one that ftlab has"),
        ("no/such.toml", {}, Refused, "arms must be a TOML file that can be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(arms, arguments, error, said):
    with pytest.raises(error, match=said):
        compare(arms, "no data of this name", **arguments)
