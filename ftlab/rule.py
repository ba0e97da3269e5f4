r"""The six kinds of rule: where a rule acts in the equation of one update.

.. math:: \theta_{t+1}=\Pi\big(\theta_t-\alpha_t\,\mathrm{opt}(G(\nabla_\theta[J(\theta_t)+\Omega(\theta_t)]))\big)

==================  ==============  ==========================================
kind                stands for      when
==================  ==============  ==========================================
:class:`Prepare`    θ₀              once, before the optimizer exists
:class:`Penalty`    Ω               added to the task loss, once per update
:class:`GradientRule`  G            after backward, before the optimizer
:class:`Schedule`   α               before the update
:class:`Project`    Π               after the update
:class:`Finish`     θ*              once, after the last update
==================  ==============  ==========================================

A rule is a frozen dataclass that holds numbers, strings and tuples, and calls a pure function. A rule can be short:

>>> @dataclass(frozen=True)
... class Shrink(Project):
...     def project(self, params, memory, now):
...         return {name: 0.999 * param for name, param in params.items()}, memory
>>> Shrink().equation
'θ ← Shrink()(θ)'
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from ftlab.parameters import Tensors
from ftlab.seeding import derive_seed

Rates = dict[str, float]
Memory = Any


@dataclass(frozen=True)
class Now:
    """What a rule may read: a frozen view of the run at one moment."""

    step: int = 0
    """Updates made so far: 0 at the first update."""
    steps: int = 1
    """Updates of the whole run."""
    steps_per_epoch: int = 1
    params: Tensors = field(default_factory=dict)
    """Trainable parameters by name."""
    grads: Tensors = field(default_factory=dict)
    """Gradients as the optimizer saw them."""
    rates: Rates = field(default_factory=dict)
    """Learning rate by parameter name."""
    origin: Tensors = field(default_factory=dict)
    """θ₀ as loaded, without parameters that were not in the checkpoint. Empty unless a rule sets ``needs_origin``."""
    evaluations: tuple[dict[str, Any], ...] = ()
    """Metrics on the validation split, one entry per finished epoch."""
    seed: int = 0
    index: int = 0
    """The rule's index in the recipe."""

    @property
    def generator(self) -> torch.Generator:
        """A generator seeded by seed, step and the rule's index, so that random draws need no stored state.

        >>> a, b = Now(seed=1, step=2), Now(seed=1, step=2)
        >>> bool(torch.rand(1, generator=a.generator) == torch.rand(1, generator=b.generator))
        True
        """
        return torch.Generator().manual_seed(derive_seed(self.seed, self.step, self.index))


class Loss(Protocol):
    """Any function that returns the mean loss of a batch."""

    def __call__(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor: ...


def microbatches(batches: Iterable[Any]) -> Iterator[dict[str, Tensor]]:
    """Yield the micro-batches of batches: a batch is a dictionary of tensors, or a list of such dictionaries.

    >>> [len(part["labels"]) for part in microbatches([{"labels": torch.ones(2)}, [{"labels": torch.ones(1)}]])]
    [2, 1]
    """
    for batch in batches:
        yield from batch if isinstance(batch, list) else [batch]


class Rule(ABC):  # noqa: B024  (its kinds have the abstract methods)
    """A strategy as a value: its kind defines when it acts, its method what it does."""

    needs_origin: ClassVar[bool] = False
    """Whether it needs θ₀ in ``now.origin``."""
    freezes: ClassVar[bool] = False
    """Whether it stops the training of parameters, for part of the run or all of it."""
    changes_start: ClassVar[bool] = False
    """Whether it changes weights before the first update."""
    removes_parameters: ClassVar[str] = ""
    """Why the saved model has fewer parameters than the loaded one; empty if it has not."""
    example: ClassVar[str] = ""
    """The rule with usual arguments, as text."""
    neutral: ClassVar[str] = ""
    """The rule with arguments that change nothing, bit for bit; or, if there are none, the reason."""

    @property
    def equation(self) -> str:
        """The rule as one equation in plain characters."""
        return f"θ ← {self!r}(θ)"

    @property
    def description(self) -> str:
        """What the rule does: one sentence that begins with a verb in the imperative."""
        return f"do what {type(self).__name__} says"

    @property
    def changes_end(self) -> bool:
        """Whether its ``finish`` changes weights after the last update."""
        return isinstance(self, Project | Finish) and type(self).finish is not Rule.finish

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        """Return the rule's memory, which is passed from step to step."""
        return None

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        """Return the model to evaluate and save."""
        return model

    def cautions(self, recipe: Sequence["Rule"]) -> list[str]:
        """Return warnings about this rule in this recipe, one sentence each."""
        return []


class Prepare(Rule):
    """Changes θ₀ or the model itself, once."""

    @abstractmethod
    def prepare(self, model: nn.Module, now: Now) -> nn.Module: ...


class Penalty(Rule):
    """Adds Ω to the task loss."""

    @abstractmethod
    def penalty(self, params: Tensors, memory: Memory, now: Now) -> Tensor: ...


class GradientRule(Rule):
    """Changes the gradient before the optimizer sees it. A name that it leaves out is not updated at all."""

    @abstractmethod
    def shape(self, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]: ...


Shape = Callable[[Tensors, Memory, Now], tuple[Tensors, Memory]]
"""The method of a gradient rule: maps gradients and memory to new gradients and memory."""


class Schedule(Rule):
    """Changes the learning rates before the update."""

    @abstractmethod
    def schedule(self, rates: Rates, memory: Memory, now: Now) -> tuple[Rates, Memory]: ...


class Project(Rule):
    """Changes the parameters after the update."""

    @abstractmethod
    def project(self, params: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]: ...


class Finish(Rule):
    """Changes the model after the last update. Every rule may do so; this kind does nothing else."""

    @abstractmethod
    def finish(self, model: nn.Module, memory: Memory) -> nn.Module: ...


def overwritten(rule: Rule, recipe: Sequence[Rule]) -> str:
    """Return the names of the rules whose change at the end this rule's own ``finish`` overwrites.

    ``finish`` runs in reverse order, so these are the rules listed after it.
    """
    later = list(recipe)[list(recipe).index(rule) + 1 :] if rule in recipe else []
    return ", ".join(type(other).__name__ for other in later if other.changes_end)


def rate_curve(rule: Schedule, steps: int = 1000, steps_per_epoch: int = 100) -> list[float]:
    """Return the learning rates of a run that a schedule makes of a rate of 1; none if they depend on the model.

    >>> class Halve(Schedule):
    ...     def schedule(self, rates, memory, now):
    ...         return {name: lr / 2**now.step for name, lr in rates.items()}, memory
    >>> rate_curve(Halve(), steps=3)
    [1.0, 0.5, 0.25]
    """
    with torch.random.fork_rng([]):  # the global random state is left as it is
        model = nn.Linear(1, 1)
    params = {name: param.detach() for name, param in model.named_parameters()}
    rates = dict.fromkeys(params, 1.0)
    highest: list[float] = []
    try:
        memory = rule.start(model, [], None, Now(steps=steps, steps_per_epoch=steps_per_epoch, params=params))
        for step in range(steps):
            now = Now(step, steps, steps_per_epoch, params=params, grads=params, rates=rates, origin=params)
            new, memory = rule.schedule(dict(rates), memory, now)
            highest.append(max(new.values()))
    except Exception:  # a schedule of the reader's own may need another model than this one
        return []
    return highest


KINDS: tuple[type[Rule], ...] = (Prepare, Penalty, GradientRule, Schedule, Project, Finish)
"""The kinds in the order in which they act."""
