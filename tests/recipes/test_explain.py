"""A recipe explained: the equation, and each rule in the order in which it acts."""

import types

import pytest
import torch

import ftlab
from ftlab.cli import main
from ftlab.errors import ArgumentError
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.decay import Decay
from ftlab.formulas.ema import EMA
from ftlab.formulas.freeze import Freeze
from ftlab.formulas.interpolate import Interpolate
from ftlab.formulas.l2_sp import L2SP
from ftlab.formulas.rec_adam import RecAdam
from ftlab.formulas.reinit import Reinit
from ftlab.formulas.sign_prune import SignPrune
from ftlab.recipes.explain import UPDATES, equation, explain
from ftlab.rule import Finish
from ftlab.training.loop import finish
from ftlab.training.optimizers import NAMES


def test_the_plan_names_every_rule_in_the_order_of_the_kinds():
    plan = explain([SignPrune(1e-5), Decay(0.5, "step"), ClipNorm(1.0), Reinit(0.15)])
    places = [plan.index(name) for name in ("Reinit(", "ClipNorm(", "Decay(", "SignPrune(")]
    assert places == sorted(places)
    assert plan.startswith("θ₀ ← Reinit(θ₀)\nθ ← Π(θ − α_t·AdamW(G(∇J)))\n\n")
    assert "take care:" in plan
    assert "makes no zeros" in plan
    assert "γ = 0.5 per step leaves 8e-31 of the rate after 100 updates." in plan


@pytest.mark.parametrize(
    ("recipe", "optimizer", "lines"),
    [
        ([], "adamw", ["θ ← θ − α·AdamW(∇J)"]),
        ([Decay(0.9, "epoch")], "sgd", ["θ ← θ − α_t·∇J"]),
        ([ClipNorm(1.0)], "signsgd", ["θ ← θ − α·sign(G(∇J))"]),
        ([L2SP(), ClipNorm(1.0)], torch.optim.Adagrad, ["θ ← θ − α·Adagrad(G(∇(J + Ω)))"]),
        ([], lambda groups: torch.optim.SGD(groups), ["θ ← θ − α·opt(∇J)"]),
        ([Freeze("*"), Reinit(0.1)], "lion", ["θ₀ ← Reinit(Freeze(θ₀))", "θ ← θ − α·Lion(∇J)"]),
        ([Interpolate(0.5), EMA(), SignPrune(1e-5)], "adamw", ["θ ← Π(θ − α·AdamW(∇J))", "θ* = Interpolate(EMA(θ))"]),
    ],
)
def test_the_equation_shows_what_is_there_and_nothing_else(recipe, optimizer, lines):
    assert equation(recipe, optimizer).splitlines() == lines


def test_every_optimizer_that_finetune_knows_has_its_place_in_the_equation():
    assert set(UPDATES) == set(NAMES)
    with pytest.raises(ArgumentError, match="^explain: optimizer must be one of 'adamw', .*Got 'adam'"):
        explain([], "adam")


def test_the_ends_are_written_in_the_order_in_which_the_model_goes_through_them():
    class Mark(Finish):
        def __init__(self, name):
            self.name = name

        def finish(self, model, memory):
            model.append(self.name)
            return model

    state = types.SimpleNamespace(recipe=(Mark("outer"), Mark("inner")), memory=[None, None], model=[])
    assert finish(state) == ["inner", "outer"]  # as in θ* = outer(inner(θ))


def test_a_rule_in_two_places_is_described_once():
    plan = explain([RecAdam()])
    assert plan.count("λ = 1/(1+exp") == 1
    assert "  Π  RecAdam(pull=5000.0, steepness=0.1, midpoint=250)   (the same rule as above)" in plan.splitlines()


def test_the_command_line_explains_with_the_optimizer_it_is_told(capsys):
    with pytest.raises(SystemExit) as end:
        main(["explain", "--rule", "ClipNorm(1.0)", "--optimizer", "signum"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("θ ← θ − α_t·Signum(G(∇J))\n")


def test_explain_is_public_and_reads_text():
    assert ftlab.explain(["ClipNorm(1.0)"]) == explain([ClipNorm(1.0)])


def test_explaining_leaves_the_readers_chance_alone():
    torch.manual_seed(0)
    wanted = torch.rand(1)
    torch.manual_seed(0)
    explain(["Decay(0.9, per='epoch')", "ClipNorm(1.0)"])
    assert torch.equal(torch.rand(1), wanted)
