"""Recipes are read from text without evaluating it, completed by a schedule only, and explained."""

import math

import pytest

import ftlab
from ftlab.contract import every_rule
from ftlab.errors import Misused
from ftlab.formulas import ClipNorm, Decay, Redraw, Reinit, SignPrune, WarmupCosine, WarmupLinear
from ftlab.recipe import complete, equation, explain, parse

SOME = [
    *every_rule(),
    ClipNorm(math.inf),
    Redraw(("bert.encoder.layer.5.*", "*pooler*"), std=0.01),
    Reinit(0.15, "bert.encoder.layer.1.*"),
    WarmupCosine(0.2),
]


@pytest.mark.parametrize("rule", SOME, ids=repr)
def test_what_a_rule_prints_is_read_back_as_that_rule(rule):
    assert parse(repr(rule)) == rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ClipNorm(inf)", ClipNorm(math.inf)),
        (" ClipNorm( 2 ) ", ClipNorm(2)),
        ("Decay(per='step', gamma=1)", Decay(1, "step")),
    ],
)
def test_arguments_may_be_written_as_in_python(text, rule):
    assert parse(text) == rule


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('true')", "rule must be a rule's name"),
        ("ClipNorm(__import__('os').getpid())", "argument of ClipNorm must be a plain value"),
        ("ClipNorm(1.0 + 1.0)", "argument of ClipNorm must be a plain value"),
        ("ClipNorm(*[1])", "argument of ClipNorm must be a plain value"),
        ("ClipNorm(**{'max_norm': 1})", "argument of ClipNorm must be a plain value"),
        ("(lambda: 1)()", "rule must be a rule's name"),
        ("ClipNorm", "rule must be a rule's name"),
        ("", "rule must be a rule's name"),
        ("(" * 500, "rule must be a rule's name"),
        ("ClipNrm(1)", r"Got 'ClipNrm'. Perhaps ClipNorm is meant"),
        ("Decay(0.9)", "arguments of Decay must fit the rule.*missing a required argument: 'per'.*It is written Decay"),
        ("ClipNorm(1, 2)", "too many positional arguments"),
        ("ClipNorm(size=1)", "unexpected keyword argument 'size'"),
        ("ClipNorm('1')", "max_norm must be a number greater than 0. Got '1'"),
        ("Rule()", "rule must be one that ftlab has. Got 'Rule'"),
        ("Schedule()", "rule must be one that ftlab has"),
    ],
)
def test_anything_else_is_refused_and_never_run(text, message):
    with pytest.raises(Misused, match=message):
        parse(text)


def test_only_a_schedule_is_added_and_only_where_there_is_none():
    assert complete([ClipNorm(1.0)]) == (ClipNorm(1.0), WarmupLinear(0.1))
    assert complete([Decay(0.9, "step")]) == (Decay(0.9, "step"),)


def test_the_plan_names_every_rule_in_the_order_of_the_kinds():
    plan = explain([SignPrune(1e-5), Decay(0.5, "step"), ClipNorm(1.0), Reinit(0.15)])
    places = [plan.index(name) for name in ("Reinit(", "ClipNorm(", "Decay(", "SignPrune(")]
    assert places == sorted(places)
    assert plan.startswith("θ ← Π(θ − α_t·AdamW(G(∇J)))")
    assert "take care:" in plan
    assert "makes no zeros" in plan
    assert "γ = 0.5 per step leaves 8e-31 of the rate after 100 updates." in plan


def test_the_equation_shows_only_what_is_there():
    assert equation([]) == "θ ← θ − α_t·AdamW(∇J)"


def test_explain_is_public_and_reads_text():
    assert ftlab.explain(["ClipNorm(1.0)"]) == explain([ClipNorm(1.0)])
