"""Small trainings with each optimizer that is a formula, and the formula of each."""

from dataclasses import dataclass

import pytest

from ftlab.experiments.tiny_run import (
    PER_EPOCH,
    STEPS,
    model as small_bert,
)
from ftlab.formulas.adabound import adabound
from ftlab.formulas.lion import lion
from ftlab.formulas.signum import signum
from ftlab.rule import GradientRule
from ftlab.training.loop import begin

RATE = 1e-3


FORMULAS = {
    "signsgd": lambda params, grads, kept, rate, decay: signum(params, grads, kept, rate, beta=0.0),
    "signum": lambda params, grads, kept, rate, decay: signum(params, grads, kept, rate),
    "lion": lambda params, grads, kept, rate, decay: lion(params, grads, kept, rate, weight_decay=decay),
    "adabound": lambda params, grads, kept, rate, decay: adabound(
        params, grads, kept, rate, final_rate=0.1 * rate / RATE, weight_decay=decay
    ),
}


DECAYED = ("lion", "adabound")


each = pytest.mark.parametrize("name", FORMULAS)


@dataclass(frozen=True)
class LeaveOut(GradientRule):
    """Leave out the gradient of one parameter, in every second step."""

    name: str

    def shape(self, grads, memory, now):
        return {name: grad for name, grad in grads.items() if name != self.name or now.step % 2}, memory


def begun(name, recipe=(), change=None):
    net = change(small_bert()) if change else small_bert()
    return begin(net, [0] * PER_EPOCH, recipe, epochs=STEPS // PER_EPOCH, lr=RATE, optimizer=name)


def values(state):
    return {name: param.detach().clone() for name, param in state.params.items()}


def weak(name):
    return name.endswith("bias") or "LayerNorm" in name
