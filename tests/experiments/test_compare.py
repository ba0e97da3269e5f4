"""Arms are fine-tuned with the same seeds and held against the first; TOML files and their mistakes."""

import math

import pytest

import ftlab
from ftlab.cli import main
from ftlab.errors import ArgumentError, DivergenceError, InputError
from ftlab.evaluation.metrics import Metrics
from ftlab.experiments.compare import Comparison, compare
from ftlab.experiments.paired import Paired
from ftlab.models.load import load_model
from tests.tiny import small_conversations, tiny_llama

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
    seen = three.against("same").mde(0.05 / 2)  # two arms share the level
    assert rows["same"][4] == f"undecided (MDE {seen:.3f})"
    assert "4 paired seeds, 100 test rows; each interval is a 95 % interval over seeds." in str(three)
    assert "p-values and verdicts are adjusted for 2 comparisons (Holm); the intervals are not." in str(three)
    assert "<th>p (Holm)</th>" in three._repr_html_()


def test_p_values_are_those_after_holm(three):
    lone = three.against("good").p
    assert float({row[0]: row for row in three.rows()}["good"][3]) == pytest.approx(2 * lone, abs=5e-4)


def test_an_arm_that_diverges_is_said_to_and_the_others_are_compared(small, bert):
    arms = {"plain": [], "wild": {"optimizer": "sgd", "lr": 1e30}, "clipped": ["ClipNorm(0.01)"]}
    found = compare(arms, small, load_model(bert, small), **HOW)
    assert all(math.isnan(value) for value in found.values["wild"])
    assert found.compared == ["clipped"]
    rows = {row[0]: row for row in found.rows()}
    assert rows["wild"] == ("wild", "", "2 of 2 runs diverged or had no accuracy", "", "failed")
    assert float(rows["clipped"][3]) == pytest.approx(found.against("clipped").p, abs=5e-4)  # one comparison, not two
    assert [label.get_text() for label in found.figure().axes[0].get_yticklabels()] == ["clipped"]
    with pytest.raises(DivergenceError, match="loss must stay finite"):
        compare({"wild": arms["wild"], "plain": []}, small, load_model(bert, small), **HOW)


def test_a_metric_that_is_undefined_counts_as_no_number(small, bert, monkeypatch):
    class Run:
        metrics = Metrics({"accuracy": math.nan}, undefined={"accuracy": "undefined: no row"}, split="test", n=10)

    monkeypatch.setattr("ftlab.experiments.compare.finetune", lambda model, data, **how: Run())
    with pytest.raises(
        DivergenceError, match=r"finetune: accuracy must be a number. Got undefined: no row \(seed 0\). Train longer"
    ):
        compare({"plain": [], "other": []}, small, load_model(bert, small), **HOW)


@pytest.mark.parametrize("path", ["no/such/folder/a.png", "figure.txt", "figure"])
def test_a_figure_that_cannot_be_drawn_is_refused_before_any_work(path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["compare", "no_such_file.toml", "--figure", path])
    assert end.value.code == 2
    assert "error: compare: figure must be a file of a supported type" in capsys.readouterr().err


def test_the_figure_has_a_line_for_every_arm_but_the_first(three):
    axes = three.figure().axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["same", "good"]
    assert "difference to plain" in axes.get_xlabel()


@pytest.mark.parametrize(
    ("arms", "arguments", "error", "said"),
    [
        ({"one": []}, {}, ArgumentError, "arms must be at least two"),
        ({"a": [], "b": []}, {"seeds": 1}, ArgumentError, "seeds must be a whole number of at least 2"),
        (
            {"a": [], "b": {"seed": 1}},
            {},
            ArgumentError,
            "arm 'b' must hold only epochs, lr, .* Got 'seed'. Leave seed out",
        ),
        (
            {"a": [], "b": {"epoch": 1}},
            {},
            ArgumentError,
            "arm 'b' must hold only epochs, lr, .* Got 'epoch'. Leave epoch out",
        ),
        ({"a": [], "b": []}, {"epoch": 1}, ArgumentError, "arm 'a' must hold only epochs, lr, .* Got 'epoch'"),
        ({"a": [], "b": {"lr": 0}}, {}, ArgumentError, "finetune: lr must be a number greater than 0. Got 0"),
        ({"a": [], "b": {"optimizer": "adam"}}, {}, ArgumentError, "finetune: optimizer must be one of"),
        ({"a": [], "b": ["Nothing()"]}, {}, ArgumentError, "rule must be one that ftlab has"),
        ("no/such.toml", {}, InputError, "arms must be a readable TOML file"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(arms, arguments, error, said):
    with pytest.raises(error, match=said):
        compare(arms, "no data of this name", **arguments)


def test_recipes_of_a_language_model_are_compared_by_its_token_accuracy(tmp_path):
    data = small_conversations()
    model = load_model(tiny_llama(tmp_path), data)
    found = compare({"full": [], "LoRA": ["LoRA(rank=2)"]}, data, model, **HOW)
    run = ftlab.finetune(model, data, seed=1, recipe=["LoRA(rank=2)"], epochs=1, lr=1e-2, batch_size=8, progress=False)
    assert found.metric == "token_accuracy"
    assert found.values["LoRA"][1] == run.metrics["token_accuracy"]
