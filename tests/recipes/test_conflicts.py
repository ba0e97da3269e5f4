"""Rules that get in each other's way are found by what they do, those of a reader too; others are not accused."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch

from ftlab.experiments.conformance import every_rule
from ftlab.experiments.tiny_run import begun, go_on, model as small_bert
from ftlab.recipes.conflicts import conflicts
from ftlab.recipes.parse import check_recipe, complete
from ftlab.rule import GradientRule, Schedule, rate_curve

NO_WARMUP = "There is no warm-up: a recipe with a schedule of its own gets only that one."


@dataclass(frozen=True)
class Wave(Schedule):
    """A reader's schedule: three quarters down, and up again."""

    def schedule(self, rates, memory, now):
        share = 1 - 0.75 * (now.step + 1) / now.steps
        return {name: share * rate for name, rate in rates.items()}, memory


@dataclass(frozen=True)
class Gentle(Schedule):
    """A reader's schedule that begins low and remembers how far it is."""

    def start(self, model, batches, loss, now):
        return 0

    def schedule(self, rates, memory, now):
        return {name: rate * min(1, 0.01 + memory / 100) for name, rate in rates.items()}, memory + 1


@dataclass(frozen=True)
class Asking(Schedule):
    """A reader's schedule that wants a model of its own kind."""

    def start(self, model, batches, loss, now):
        return model.bert

    def schedule(self, rates, memory, now):
        return rates, memory


@dataclass(frozen=True)
class Idle(GradientRule):
    """A reader's rule that keeps parameters from being trained."""

    freezes = True

    def shape(self, grads, memory, now):
        return {}, memory


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ([], []),
        (["WarmupLinear()"], []),
        (["ClipNorm(1.0)", "ClipNorm(2.0)", "WarmupLinear()"], ["ClipNorm appears twice; both act, in order."]),
        (
            ["Freeze('*')", "BitFit()", "WarmupLinear()"],
            ["Freeze and BitFit each freeze parameters; only what none of them freezes is trained."],
        ),
        (
            ["HeadFirst(0.3)", "GradualUnfreezing(0.5)", Idle(), "WarmupLinear()"],
            [
                "HeadFirst and GradualUnfreezing and Idle each freeze parameters; only what none of them freezes is trained."
            ],
        ),
        (["ChildTuningD(0.3)", "L2SP()", "WarmupLinear()"], []),
        (["LoRA()", "L2SP()", "WarmupLinear()"], ["L2SP can pull towards θ₀ only what LoRA leaves trainable."]),
        (
            ["EWC()", "PriorDecay(0.1)", "WarmupLinear()"],
            ["EWC and PriorDecay each pull the weights towards θ₀; the pulls add up."],
        ),
        (
            ["Reinit(0.15)", "RedrawTop(1)", "L2SP()", "HeadFirst(0.3)", "WarmupLinear()"],
            ["The θ₀ of L2SP is the loaded weights, so the change by Reinit and RedrawTop is pulled back."],
        ),
        (["Reinit(0.15)", "HeadFirst(0.3)", "WarmupLinear()"], []),
        (["Mixout(0.9)", "L2SP()", "Interpolate(0.5)", "WarmupLinear()"], []),
        (["Decay(0.9, per='epoch')"], [NO_WARMUP]),
        (["LayerwiseDecay(0.9)", "ClipRate(1e-6, 1e-4)"], [NO_WARMUP]),
        (["LayerwiseDecay(0.9)", "WarmupLinear()"], []),
        (["RecAdam()"], []),
        (
            ["WarmupLinear()", "WarmupCosine()"],
            ["WarmupLinear and WarmupCosine each make the learning rate rise and fall; their factors multiply."],
        ),
        (
            ["Decay(0.9, per='step')", "StepDecay(0.1, 2)"],
            ["Decay and StepDecay each make the learning rate fall; their factors multiply.", NO_WARMUP],
        ),
        (
            [Wave(), "WarmupLinear()"],
            ["Wave and WarmupLinear each make the learning rate fall; their factors multiply."],
        ),
        ([Gentle(), "Plateau()"], []),
        (
            [Gentle(), "SlantedTriangular()"],
            ["Gentle and SlantedTriangular each make the learning rate rise; their factors multiply."],
        ),
        ([Asking()], []),
    ],
)
def test_what_is_said_of_a_recipe(recipe, said):
    assert conflicts(complete(check_recipe(recipe))) == said


each_rule = pytest.mark.parametrize("rule", list(every_rule()), ids=lambda rule: type(rule).__name__)


@each_rule
def test_a_rule_alone_is_in_nobodys_way(rule):
    assert set(conflicts(complete([rule]))) <= {NO_WARMUP}


@each_rule
def test_the_rules_that_freeze_are_those_under_which_some_parameters_of_a_tiny_bert_stay_as_they_were(rule):
    state = begun([rule])
    before = {name: param.clone() for name, param in state.model.named_parameters()}
    go_on(state, 1)
    still = [name for name, param in state.model.named_parameters() if torch.equal(param, before[name])]
    still = [name for name in still if "lora_A" not in name and ".key.bias" not in name]  # these have a gradient of 0
    slow = type(rule).__name__ == "RecAdam"  # whose rate is all but 0 at first
    assert bool(still) == (rule.freezes or slow), still


@each_rule
def test_the_rules_that_change_the_start_are_those_after_which_a_tiny_bert_starts_from_other_weights(rule):
    loaded = small_bert().state_dict()
    ready = begun([rule]).model.state_dict()
    moved = any(name in loaded and not _begins_alike(loaded[name], tensor) for name, tensor in ready.items())
    assert moved == rule.changes_start


def _begins_alike(loaded, tensor):
    """Return whether two tensors are equal; one with neurons cut out is not held to have moved."""
    return loaded.shape != tensor.shape or torch.equal(loaded, tensor)


def test_a_course_is_the_rates_that_the_schedule_gives():
    (linear,) = check_recipe(["WarmupLinear(0.1)"])
    rates = rate_curve(linear)
    assert len(rates) == 1000
    assert rates[0] == pytest.approx(1 / 101)
    assert max(rates) == pytest.approx(1, abs=0.01)
    assert all(after < before for before, after in pairwise(rates[101:]))
    assert rate_curve(Asking()) == []
