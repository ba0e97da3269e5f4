"""Soups of fine-tuned models: what they hold, how a greedy one chooses, what is refused and what is mentioned."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import ftlab
from ftlab.errors import ArgumentError
from ftlab.experiments import soups
from ftlab.experiments.soups import greedy_soup, soup
from ftlab.models.save import save_model


@pytest.fixture(scope="module")
def runs(bert):
    from tests.tiny import small_data

    data = small_data()
    model = ftlab.load_model(bert, data)
    return [ftlab.finetune(model, data, epochs=1, lr=5e-3, seed=(0, seed), progress=False) for seed in range(3)]


def weights(model):
    return {name: param.detach().clone() for name, param in model.net.named_parameters()}


def test_a_soup_holds_the_mean_of_the_weights_and_leaves_the_runs_as_they_are(runs):
    before = [weights(run.model) for run in runs]
    theirs = AveragedModel(runs[0].model.net)
    for run in runs:
        theirs.update_parameters(run.model.net)
    cooked = soup(runs)
    for name, one in weights(cooked).items():
        torch.testing.assert_close(one, theirs.module.get_parameter(name).detach(), rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        next(cooked.net.parameters()).fill_(9)
    for run, kept in zip(runs, before, strict=True):
        assert all(torch.equal(one, kept[name]) for name, one in weights(run.model).items())
    assert not torch.equal(before[0]["classifier.weight"], before[1]["classifier.weight"])


def test_a_soup_of_one_is_that_model_and_models_serve_as_runs_do(runs):
    alone = soup([runs[1]])
    assert all(torch.equal(one, weights(alone)[name]) for name, one in weights(runs[1].model).items())
    both, same = soup(runs), soup([run.model for run in runs])
    assert all(torch.equal(one, weights(same)[name]) for name, one in weights(both).items())


def test_a_soup_can_be_used_measured_and_saved(runs, tmp_path):
    cooked = soup(runs)
    assert cooked.name.startswith("soup of 3 of ")
    assert ftlab.predict(cooked, ["a good day"])[0]["label"] in ("bad", "good")
    assert ftlab.evaluate(cooked, runs[0].data["test"], resamples=0).n == 10
    save_model(cooked, tmp_path / "soup", "# A soup\n")
    loaded = ftlab.load_model(tmp_path / "soup")
    assert all(torch.equal(one, weights(loaded)[name]) for name, one in weights(cooked).items())


@pytest.fixture
def scored(runs, monkeypatch):
    """A function that gives each mixture of runs a score, by the places of the runs in it, and records what is asked."""
    asked = []

    def score(table, metric="accuracy"):
        kept = [weights(run.model) for run in runs]

        def places(model):
            sets = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
            name = "classifier.weight"
            gaps = {some: (sum(kept[i][name] for i in some) / len(some) - weights(model)[name]).norm() for some in sets}
            return min(gaps, key=gaps.__getitem__)

        def evaluate(model, rows, *, split, max_length, resamples):
            asked.append(places(model))
            assert (len(rows), split, max_length) == (10, "validation", runs[0].settings.max_length)
            return {metric: table[asked[-1]]}

        monkeypatch.setattr(soups, "evaluate", evaluate)
        return asked

    return score


def test_a_greedy_soup_adds_the_best_first_and_keeps_what_does_not_harm(runs, scored, mentioned):
    table = {(0,): 0.7, (1,): 0.9, (2,): 0.8, (1, 2): 0.85, (0, 1): 0.95}
    asked = scored(table)
    chosen = greedy_soup(runs)
    assert asked == [
        (0,),
        (1,),
        (2,),
        (1, 2),
        (0, 1),
    ]  # each alone; the best with the second, which harms; with the third
    expected = weights(soup([runs[1], runs[0]]))
    assert all(torch.equal(one, expected[name]) for name, one in weights(chosen).items())
    assert "averaged 2 of 3 runs, numbers 2, 1; validation accuracy 0.95, best single run 0.9" in mentioned()


@pytest.mark.parametrize(
    ("kind", "metric", "table"),
    [
        ("regression", "mse", {(0,): 0.5, (1,): 0.2, (2,): 0.3, (1, 2): 0.4, (0, 1): 0.1}),
        ("multilabel", "f1_micro", {(0,): 0.5, (1,): 0.8, (2,): 0.7, (1, 2): 0.6, (0, 1): 0.9}),
        ("multilabel", "f1_micro", {(0,): 0.5, (1,): 0.8, (2,): math.nan, (0, 1): 0.8, (0, 1, 2): math.nan}),
    ],
)
def test_less_error_and_more_hits_are_better_and_what_is_not_defined_is_worst(
    runs, scored, kind, metric, table, mentioned
):
    scored(table, metric)
    task = dataclasses.replace(runs[0].model.task, kind=kind)
    chosen = greedy_soup([dataclasses.replace(run, model=dataclasses.replace(run.model, task=task)) for run in runs])
    expected = weights(soup([runs[1], runs[0]]))
    assert all(torch.equal(one, expected[name]) for name, one in weights(chosen).items())
    said = f"numbers 2, 1; validation {metric} {table[0, 1]:g}, best single run {table[1,]:g}"
    assert said in mentioned()


def test_a_greedy_soup_adds_at_equal_score_where_the_authors_code_does_not(runs, scored):
    scored({(0,): 0.9, (1,): 0.8, (2,): 0.7, (0, 1): 0.9, (0, 1, 2): 0.89})
    assert greedy_soup(runs).name.startswith("soup of 2 of ")


def test_a_greedy_soup_may_be_the_best_run_alone(runs, scored):
    scored({(0,): 0.6, (1,): 0.8, (2,): 0.9, (1, 2): 0.5, (0, 2): 0.5})
    chosen = greedy_soup(runs)
    assert all(torch.equal(one, weights(chosen)[name]) for name, one in weights(runs[2].model).items())


def test_a_greedy_soup_is_never_worse_on_its_split_than_the_best_run(runs):
    def accuracy(model):
        return ftlab.evaluate(model, runs[0].data["validation"], resamples=0)["accuracy"]

    assert accuracy(greedy_soup(runs)) >= max(accuracy(run.model) for run in runs)
    assert runs[0].evaluate("validation").intervals  # measuring here left no poorer numbers behind


def test_what_cannot_be_averaged_is_refused(runs):
    other = dataclasses.replace(runs[1].model, task=dataclasses.replace(runs[1].model.task, names=("no", "yes")))
    with pytest.raises(
        ArgumentError, match="soup: runs must be of one task. Got classification of no, yes in model 2, class"
    ):
        soup([runs[0], other])
    wide = runs[1].model.copy()
    wide.net.classifier = nn.Linear(5, 2)
    with pytest.raises(
        ArgumentError, match="must be of one architecture. Got a different classifier.weight in model 2"
    ):
        soup([runs[0], wide])
    for none in ([], runs[0], runs[0].model):
        with pytest.raises(ArgumentError, match="soup: runs must be a list of runs. Got .* Write soup"):
            soup(none)
    with pytest.raises(ArgumentError, match="must be finished runs or models. Got str"):
        soup(["runs/first"])


def test_a_greedy_soup_needs_runs_on_the_same_data_with_the_split(runs):
    with pytest.raises(ArgumentError, match="greedy_soup: runs must be finished runs. Got Pretrained"):
        greedy_soup([runs[0].model])
    with pytest.raises(ArgumentError, match="split must be one of train, validation, test. Got 'dev'"):
        greedy_soup(runs, "dev")
    other = dataclasses.replace(runs[1], facts=runs[1].facts | {"data_fingerprint": "other"})
    with pytest.raises(ArgumentError, match="must be on the same data. Got other rows"):
        greedy_soup([runs[0], other])


def test_heads_of_other_seeds_other_checkpoints_and_batch_normalisation_are_mentioned(runs, mentioned):
    soup(runs)
    assert mentioned() == ""
    seeded = dataclasses.replace(runs[1], settings=dataclasses.replace(runs[1].settings, seed=(7, 0)))
    soup([runs[0], seeded])
    assert "the new heads were initialised from 2 seeds, and their mean may be useless" in mentioned()
    soup([runs[0], dataclasses.replace(runs[1].model, name="another")])
    assert "come from different checkpoints" in mentioned()
    normal = runs[0].model.copy()
    normal.net.extra = nn.BatchNorm1d(2)
    soup([normal])
    assert "running statistics of batch normalisation are taken from the first model" in mentioned()
