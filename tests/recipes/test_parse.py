"""Recipes are read from text without evaluating it, completed by a schedule only, and explained."""

import math

import pytest

from ftlab.errors import ArgumentError
from ftlab.experiments.conformance import every_rule
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.decay import Decay
from ftlab.formulas.redraw import Redraw
from ftlab.formulas.reinit import Reinit
from ftlab.formulas.warmup import WarmupCosine, WarmupLinear
from ftlab.recipes.parse import complete, parse

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
    with pytest.raises(ArgumentError, match=message):
        parse(text)


def test_only_a_schedule_is_added_and_only_where_there_is_none():
    assert complete([ClipNorm(1.0)]) == (ClipNorm(1.0), WarmupLinear(0.1))
    assert complete([Decay(0.9, "step")]) == (Decay(0.9, "step"),)
