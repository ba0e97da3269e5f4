"""Every rule of the package passes the conformance checks, and the checks catch rules that should fail."""

from dataclasses import dataclass, field

import pytest
import torch

from ftlab.errors import ArgumentError
from ftlab.experiments.conformance import CHECKS, every_rule, examine
from ftlab.experiments.tiny_run import begun
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.freeze import Freeze
from ftlab.formulas.redraw import Redraw
from ftlab.rule import GradientRule, Penalty, Prepare, Project, Schedule

RULES = list(every_rule())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_rule_is_final_and_says_what_its_neutral_form_is(rule):
    cls = type(rule)
    assert getattr(cls, "__final__", False)
    assert cls.neutral.startswith(f"{cls.__name__}(") or cls.neutral.endswith(".")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_every_rule_passes_every_check(rule, check):
    check(rule)


NAMED_FOR_BERT = {"Freeze": Freeze("*embed_tokens*"), "Redraw": Redraw("*.layers.1.*")}
REFUSED = {
    "BitFit": "BitFit: model must have biases or a head. Got none in LlamaForCausalLM",
    "HeadFirst": "HeadFirst: model must have a head. Got none in LlamaForCausalLM",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_every_rule_passes_on_a_language_model_or_is_refused_in_a_sentence(rule):
    name = type(rule).__name__
    if name in REFUSED:
        with pytest.raises(ArgumentError, match=REFUSED[name]):
            begun([rule], kind="llama")
    else:
        assert examine(NAMED_FOR_BERT.get(name, rule), kind="llama") == []


def test_an_unknown_kind_of_model_is_refused():
    with pytest.raises(ArgumentError, match="examine: kind must be one of 'bert', 'llama'"):
        examine(ClipNorm(1.0), kind="t5")


def test_a_processor_without_bf16_rehearses_under_it_all_the_same(monkeypatch):
    monkeypatch.setattr("ftlab.engines.fast.precision.has_bf16", lambda device: False)
    assert examine(ClipNorm(1.0)) == []
    assert begun([], engine="fast").engine.name == "fast"


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


class Bare(Project):
    """No dataclass."""

    def project(self, params, memory, now):
        return {}, memory


@dataclass(frozen=True)
class Alone(Project):
    """Forgets to give its memory back."""

    def project(self, params, memory, now):
        return {name: 0.9 * param for name, param in params.items()}


@dataclass(frozen=True)
class Many(Penalty):
    """Gives a penalty for each parameter."""

    def penalty(self, params, memory, now):
        return torch.stack([param.norm() for param in params.values()])


@dataclass(frozen=True)
class Plain(Penalty):
    """Gives a number that no gradient flows through."""

    def penalty(self, params, memory, now):
        return 0.1 * sum(param.norm().item() for param in params.values())


@dataclass(frozen=True)
class Sneaky(Penalty):
    """Changes the weights while it measures them."""

    def penalty(self, params, memory, now):
        for param in params.values():
            param.data.mul_(0.5)
        return sum(param.norm() for param in params.values())


@dataclass(frozen=True)
class Silent(Prepare):
    """Does not give the model back."""

    def prepare(self, model, now):
        model.eval()


@dataclass(frozen=True)
class Lost(Project):
    """Gives no model back at the end."""

    def project(self, params, memory, now):
        return {}, memory

    def finish(self, model, memory):
        model.eval()


@dataclass(frozen=True)
class Casting(GradientRule):
    """Gives gradients in another dtype."""

    def shape(self, grads, memory, now):
        return {name: grad.double() for name, grad in grads.items()}, memory


@dataclass(frozen=True)
class Naming(Project):
    """Gives a name that nobody has."""

    def project(self, params, memory, now):
        return {"new": torch.ones(1)}, memory


@dataclass(frozen=True)
class Broken(Project):
    """Fails whenever it is called."""

    def project(self, params, memory, now):
        raise KeyError("weight")


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
        (Thawed(), "Thawed must be frozen. Write @dataclass(frozen=True) above its class."),
        (Bare(), "Bare must be a dataclass. Write @dataclass(frozen=True) above its class."),
        (Alone(), "project must return two values: a dictionary by name, and the memory. Got dict."),
        (Many(), "penalty must return one finite number, as a tensor. Got tensor(["),
        (Plain(), "penalty must return one finite number, as a tensor. Got "),
        (Sneaky(), "must not modify its inputs"),
        (Silent(), "prepare must return the model. Got NoneType."),
        (Lost(), "finish must return the model. Got NoneType."),
        (Casting(), "shape must keep shapes, dtypes and devices."),
        (Naming(), "project must return only names from its inputs. Got {'new'} in addition."),
        (Greedy(), "must not modify its inputs"),
        (Forgetful(), "A run resumed after step"),
        (Renaming(), "saved names must be the loaded names"),
        (Doubling(), "must give the same weights as the empty recipe, bit for bit"),
    ],
)
def test_a_failing_rule_is_told_which_check_it_fails(rule, said):
    assert any(said in one for one in examine(rule))


@pytest.mark.parametrize("rule", [Alone(), Many(), Silent(), Lost(), Casting(), Naming()])
def test_a_rule_that_cannot_be_trained_with_is_told_only_why(rule):
    assert len(examine(rule)) == 1


def test_one_failure_is_told_once():
    (said,) = examine(Broken())
    assert said == "Its methods return what the training loop expects. It fails: KeyError: 'weight'"


@dataclass(frozen=True)
class Shrink(Project):
    """A reader's rule, three lines."""

    def project(self, params, memory, now):
        return {name: 0.999 * param for name, param in params.items()}, memory


def test_a_readers_rule_of_three_lines_passes():
    assert examine(Shrink()) == []
