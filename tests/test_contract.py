"""Every rule of the package keeps the contract, and the contract notices a rule that does not."""

import inspect
import pkgutil
from dataclasses import dataclass, field

import pytest
import torch

from ftlab import formulas
from ftlab.contract import CLAUSES, every_rule, examine
from ftlab.recipe import rules
from ftlab.rule import GradientRule, Prepare, Project, Rule, Schedule

RULES = list(every_rule())


def test_the_walk_finds_every_rule_that_a_file_defines():
    found = set()
    for module in pkgutil.iter_modules(formulas.__path__):
        home = __import__(f"ftlab.formulas.{module.name}", fromlist=["_"])
        found |= {
            name
            for name, one in vars(home).items()
            if inspect.isclass(one) and issubclass(one, Rule) and one.__module__ == home.__name__
        }
    assert found == set(rules()) == {type(rule).__name__ for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_rule_is_final_and_says_what_its_neutral_form_is(rule):
    cls = type(rule)
    assert getattr(cls, "__final__", False)
    assert cls.neutral.startswith(f"{cls.__name__}(") or cls.neutral.endswith(".")


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_every_rule_keeps_every_clause(rule, clause):
    clause(rule)


@dataclass
class Thawed(Project):
    """Not frozen."""

    def project(self, params, memory, now):
        return {}, memory


@dataclass(frozen=True)
class Greedy(GradientRule):
    """Changes what it is given."""

    def shape(self, grads, memory, now):
        for grad in grads.values():
            grad.mul_(2)
        return grads, memory


@dataclass(frozen=True)
class Forgetful(Schedule):
    """Keeps what it knows outside of its memory."""

    seen: tuple = ()
    box: list = field(default_factory=list, repr=False, compare=False, hash=False)

    def schedule(self, rates, memory, now):
        self.box.append(1)
        return {name: rate / len(self.box) for name, rate in rates.items()}, memory


@dataclass(frozen=True)
class Renaming(Prepare):
    """Leaves other names behind."""

    def prepare(self, model, now):
        model.extra = torch.nn.Parameter(torch.ones(1))
        return model


@dataclass(frozen=True)
class Doubling(Project):
    """Claims to be neutral and is not."""

    neutral = "Doubling()"

    def project(self, params, memory, now):
        return {name: 1.01 * param for name, param in params.items()}, memory


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Thawed(), "must be frozen"),
        (Greedy(), "must not change what it is given"),
        (Forgetful(), "Resumed after step"),
        (Renaming(), "saved names must be those"),
        (Doubling(), "must be the empty recipe bit for bit"),
    ],
)
def test_a_rule_that_breaks_a_clause_is_told_which(rule, said):
    assert any(said in one for one in examine(rule))


@dataclass(frozen=True)
class Shrink(Project):
    """A reader's rule, three lines."""

    def project(self, params, memory, now):
        return {name: 0.999 * param for name, param in params.items()}, memory


def test_a_readers_rule_of_three_lines_passes():
    assert examine(Shrink()) == []
