"""A reader's rule on trial: examined first, then paired seeds, then a verdict in words."""

from dataclasses import dataclass

import pytest
import torch

import ftlab
from ftlab.errors import ArgumentError, DivergenceError
from ftlab.experiments.paired import Paired
from ftlab.experiments.trial import Trial, trial
from ftlab.models.load import load_model
from ftlab.rule import GradientRule, Project, Schedule
from tests.tiny import small_conversations, tiny_llama


@dataclass(frozen=True)
class Shrink(Project):
    """A reader's rule, three lines."""

    share: float = 0.001

    def project(self, params, memory, now):
        return {name: (1 - self.share) * param for name, param in params.items()}, memory


@dataclass(frozen=True)
class Spoil(Project):
    """A rule that fails a conformance check: it modifies its inputs."""

    def project(self, params, memory, now):
        for param in params.values():
            param.add_(1)
        return {}, memory


HOW = {"pairs": 3, "rows": 40, "epochs": 10, "lr": 5e-3, "batch_size": 8}


def test_a_rule_that_fails_a_conformance_check_is_not_trained(small, bert):
    found = trial(Spoil(), small, load_model(bert, small), **HOW)
    assert found.verdict == "refused"
    assert found.without == ()
    assert "fails conformance checks, so nothing was trained" in str(found)
    assert "must not modify its inputs" in str(found)


def test_a_rule_that_wipes_the_weights_out_is_seen_to_hurt(small, bert):
    found = trial(Shrink(1.0), small, load_model(bert, small), **HOW | {"pairs": 6})  # which may all differ alike
    assert min(found.without) > 0.8
    assert found.verdict == "worse"
    assert found.paired.high < 0
    assert "It hurts" in str(found)
    assert "<td>0</td>" in found._repr_html_()


@dataclass(frozen=True)
class Explode(GradientRule):
    """A rule that passes the conformance checks and makes the training diverge."""

    after: int = 40

    def shape(self, grads, memory, now):
        return {name: grad / (now.step < self.after) for name, grad in grads.items()}, memory


def test_a_rule_with_which_training_diverges_gets_that_as_its_verdict(small, bert):
    found = trial(Explode(), small, load_model(bert, small), **HOW | {"epochs": 12})
    assert found.verdict == "diverged"
    assert (len(found.without), found.with_rule, found.paired) == (1, (), None)
    text = str(found)
    assert text.startswith("Explode(after=40) passes the conformance checks, but training diverges with it and not")
    assert "without it (seed 0):\n  finetune: loss must stay finite. Got nan at step 42" in text
    assert found._repr_html_().startswith("<pre>Explode(")


def test_where_the_run_without_the_rule_diverges_the_rule_is_not_blamed(small, bert):
    with pytest.raises(DivergenceError, match="loss must stay finite"):
        trial(Shrink(), small, load_model(bert, small), base_recipe=[Explode(3)], **HOW)


def test_arms_that_have_learnt_nothing_are_said_to_have(small, bert):
    model = load_model(bert, small)
    idle = trial("SignPrune(1e-9)", small, model, **HOW | {"epochs": 1, "lr": 1e-9})
    assert idle.majority_baseline == 0.5
    assert "Neither arm clearly beats always predicting the most frequent label (0.5000)" in str(idle)
    learnt = trial("SignPrune(1e-9)", small, model, **HOW)
    assert min(learnt.without) > 0.8
    assert "Neither arm" not in str(learnt)


def test_a_schedule_stands_in_the_place_of_the_usual_one_and_the_trial_says_so(small, bert):
    model, how = load_model(bert, small), {"pairs": 2, "rows": 16, "epochs": 1}
    alone = trial("LayerwiseDecay(0.5)", small, model, **how)
    assert "The rule is a schedule, so it replaces the default schedule" in str(alone)
    assert "base_recipe=['WarmupLinear(warmup=0.1)']" in str(alone)
    beside = trial("LayerwiseDecay(0.5)", small, model, base_recipe=["WarmupLinear(warmup=0.1)"], **how)
    assert beside.note == ""
    assert trial("ClipNorm(1.0)", small, model, **how).note == ""


@dataclass(frozen=True)
class Listener(Schedule):
    """A reader's rule that waits with training until there is an evaluation."""

    def schedule(self, rates, memory, now):
        return {name: rate if now.evaluations else 0.0 for name, rate in rates.items()}, memory


def test_a_rule_that_looks_at_validation_finds_one(small, bert):
    found = trial(Listener(), small, load_model(bert, small), **HOW | {"pairs": 2})
    assert min(found.with_rule) >= 0.8  # one that never hears of an evaluation stays at 0.5


@pytest.mark.parametrize(
    ("differences", "said"),
    [
        ([0.0, 0.0, 0.0], ["The accuracy is the same in every pair."]),
        (
            [0.1, 0.1, 0.1],
            ["All 3 differences are equal; the sign test gives p = 0.25: too few pairs to decide."],
        ),
        (
            [-0.1] * 6,
            ["It hurts: the interval lies below 0. All 6 differences are equal; the sign test gives p = 0.031."],
        ),
        (
            [0.01, 0.02, 0.03],
            [
                "Undecided: the interval contains 0.",
                "With this spread, 3 pairs detect a true difference of 0.0326 (minimum detectable effect) with a power of 80 %.",
            ],
        ),
    ],
)
def test_the_verdict_in_words(differences, said):
    arms = (0.5,) * len(differences), tuple(0.5 + difference for difference in differences)
    found = Trial(
        "SignPrune(0.1)", metric="accuracy", without=arms[0], with_rule=arms[1], paired=Paired.of(differences)
    )
    assert str(found).splitlines()[4:-1] == said


def test_a_rule_that_does_nothing_gives_equal_pairs(small, bert):
    found = trial(Shrink(0.0), small, load_model(bert, small), **HOW)
    assert found.without == found.with_rule
    assert "The accuracy is the same in every pair." in str(found)


def test_the_arms_share_everything_but_the_rule(small, bert):
    model = load_model(bert, small)
    before = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    names = set(small)
    found = trial("ClipNorm(0.01)", small, model, pairs=2, rows=40, epochs=1, lr=1e-2, batch_size=8)
    for seed, with_rule in enumerate(found.with_rule):
        run = ftlab.finetune(
            model,
            {"train": small["train"].shuffle(seed=0), "test": small["test"]} | {},
            seed=seed, recipe=["ClipNorm(0.01)"], epochs=1, lr=1e-2, batch_size=8, progress=False,
        )  # fmt: skip
        assert run.metrics["accuracy"] == with_rule
    assert set(small) == names
    assert all(torch.equal(before[name], tensor) for name, tensor in model.net.state_dict().items())


def test_it_stops_when_the_time_is_used_up_but_not_before_three_pairs(small, bert):
    found = trial(Shrink(), small, load_model(bert, small), minutes=1e-6, rows=40, epochs=1)
    assert len(found.without) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"minutes": 0}, "trial: minutes must be a number greater than 0"),
        ({"pairs": 1}, "trial: pairs must be a whole number of at least 2"),
        ({"rows": 1}, "trial: rows must be a whole number of at least 2"),
        ({"seed": 3}, "trial: arguments must hold only epochs, lr, .* Got 'seed'. Leave seed out"),
        ({"recipe": []}, "trial: arguments must hold only .* Got 'recipe'. Leave recipe out"),
        ({"epoch": 3}, "trial: arguments must hold only .* Got 'epoch'. Leave epoch out"),
        ({"lr": -1.0}, "finetune: lr must be a number greater than 0. Got -1.0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(arguments, said):
    with pytest.raises(ArgumentError, match=said):
        trial(Shrink(), "no data of this name", **arguments)


def test_a_rule_is_tried_on_a_language_model_by_its_token_accuracy(tmp_path):
    data = small_conversations()
    model = load_model(tiny_llama(tmp_path), data)
    found = trial("Freeze('*.layers.0.*')", data, model, pairs=2, rows=32, epochs=2, lr=5e-3, batch_size=8)
    assert found.failed_checks == ()  # the pattern fits a Llama, on which the rule was examined
    assert found.metric == "token_accuracy"
    assert "most frequent label" not in str(found)
    run = ftlab.finetune(model, data, epochs=2, lr=5e-3, batch_size=8, seed=1, progress=False)
    assert found.without[1] == run.metrics["token_accuracy"]
