"""The training loop: ``begin``, then ``step`` for each batch, then ``finish``. The formulas are in the recipe's rules."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.data.batches import Batch, count_targets
from ftlab.engines.devices import seeded
from ftlab.engines.engine import Engine, Reference, choose_engine
from ftlab.errors import DivergenceError, argument_error, check_number, format_error
from ftlab.losses.classification import CrossEntropy
from ftlab.models.load import Pretrained
from ftlab.parameters import Tensors, train_mode
from ftlab.rule import GradientRule, Loss, Memory, Now, Penalty, Prepare, Project, Rates, Rule, Schedule
from ftlab.seeding import derive_seed
from ftlab.training.optimizers import MakeOptimizer, make_optimizer, set_rates

Record = dict[str, Any]
Loaded = dict[int, tuple[nn.Parameter, Tensor]]
"""By the id of a parameter: the parameter, held so that no other gets its id, and a copy of its loaded value."""


@dataclass
class State:
    """The state of a training between two steps."""

    model: nn.Module
    recipe: tuple[Rule, ...]
    loss: Loss
    optimizer: torch.optim.Optimizer
    params: dict[str, nn.Parameter]
    """Trainable parameters by name; tied parameters appear once."""
    origin: Tensors
    """θ₀: the parameters as they were loaded, if a rule needs them."""
    memory: list[Memory]
    """The memory of each rule, by its index in the recipe."""
    lr: float
    seed: int
    steps: int
    steps_per_epoch: int
    engine: Engine = field(default_factory=Reference)
    step: int = 0
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    last_loss: float = math.nan

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(iter(self.params.values())).device

    def now(self, index: int, grads: Tensors | None = None, rates: Rates | None = None) -> Now:
        """Return what the rule with this index in the recipe may read of the state."""
        return Now(
            step=self.step,
            steps=self.steps,
            steps_per_epoch=self.steps_per_epoch,
            params={name: param.detach() for name, param in self.params.items()},
            grads=grads or {},
            rates=rates or {},
            origin=self.origin if self.recipe[index].needs_origin else {},
            evaluations=tuple(self.evaluations),
            seed=self.seed,
            index=index,
        )

    def rules(self, kind: type[Any]) -> list[tuple[int, Any]]:
        """Return the rules of a kind, each with its index in the recipe."""
        return [(index, rule) for index, rule in enumerate(self.recipe) if isinstance(rule, kind)]


def begin(
    model: Any,
    batches: Any,
    recipe: Sequence[Rule] = (),
    *,
    epochs: int = 1,
    lr: float = 5e-5,
    seed: int = 0,
    loss: Loss | None = None,
    optimizer: str | MakeOptimizer = "adamw",
    engine: str | Engine = "reference",
) -> State:
    """Prepare a training: apply the recipe's ``Prepare`` rules to the model, then create the optimizer.

    Args:
        model: A ``torch.nn.Module``, which is trained in place, or a :class:`~ftlab.models.load.Pretrained`.
        batches: Anything with a length: the number of updates per epoch.
        recipe: Rules. An empty recipe equals a hand-written loop exactly: constant learning rate, nothing else.
        epochs: The number of passes over the batches; it sets the number of steps.
        lr: The learning rate before any schedule, greater than 0.
        seed: The seed of dropout and of the rules' random numbers.
        loss: ``loss(model, batch)``, the mean over the batch; left out, cross-entropy.
        optimizer: ``"adamw"``, ``"sgd"``, ``"signsgd"``, ``"signum"``, ``"lion"``, ``"adabound"``, or a function from
            parameter groups to a torch optimizer.
        engine: How passes are computed: a name that :func:`ftlab.engines.engine.choose_engine` knows, or an engine.

    Raises:
        ArgumentError: If a number is outside its range, or no parameter is trainable.

    Example:
        >>> state = begin(nn.Linear(2, 2), batches=[0, 1], epochs=3)
        >>> state.steps
        6
    """
    check_number("begin", "lr", lr, "5e-5 is usual for fine-tuning", above=0)
    fresh = model.fresh if isinstance(model, Pretrained) else frozenset()
    net: nn.Module = model.net if isinstance(model, Pretrained) else model
    loaded = _copy_loaded(net, fresh) if any(rule.needs_origin for rule in recipe) else {}
    now = Now(seed=seed, steps=epochs * len(batches), steps_per_epoch=len(batches))
    for index, rule in enumerate(recipe):
        if isinstance(rule, Prepare):
            net = rule.prepare(net, replace(now, index=index, origin=_origin(net, loaded)))
    params = {name: param for name, param in net.named_parameters() if param.requires_grad}
    if not params:
        do = "A rule froze everything; leave it out or narrow its pattern"
        raise argument_error("begin", "model", "have parameters to train", "none that need a gradient", do)
    state = State(
        model=net,
        recipe=tuple(recipe),
        loss=loss or CrossEntropy(),
        optimizer=make_optimizer(optimizer, net, params, lr),
        params=params,
        origin=_origin(net, loaded),
        memory=[],
        lr=lr,
        seed=seed,
        steps=epochs * len(batches),
        steps_per_epoch=len(batches),
        engine=choose_engine(engine, next(iter(params.values())).device.type),
    )
    state.memory = [rule.start(net, batches, state.loss, state.now(index)) for index, rule in enumerate(recipe)]
    return state


def step(state: State, batch: Batch | list[Batch]) -> Record:
    """Make one update: loss, gradients, the rules in their order, optimizer.

    Args:
        state: The state from :func:`begin`, which is updated.
        batch: Tensors by name, with ``labels``; or a list of such micro-batches for gradient accumulation.

    Returns:
        ``step`` (from 1), ``epoch`` (from 0), ``loss`` (of the task), ``penalty``, ``lr`` (the largest), ``samples``.

    Raises:
        DivergenceError: If the loss is NaN or infinite; the parameters are not changed then.
    """
    task, samples = task_gradients(state, batch)
    return update(state, task, penalty_gradients(state), samples)


def task_gradients(state: State, batch: Batch | list[Batch]) -> tuple[float, int]:
    """Compute the gradients of the task loss, which replace those of the last step; return the loss and the sample count.

    Each micro-batch counts by its share of what the loss averages over: of the samples, of the target tokens, or of their
    weights. Dropout is seeded by the step, so a second call in the same step drops the same elements.
    """
    parts = batch if isinstance(batch, list) else [batch]
    counts = [_denominator(state.loss, part) for part in parts]
    samples = sum(len(part["labels"]) for part in parts)
    parts = [state.engine.to_device(part, state.device) for part in parts]
    state.optimizer.zero_grad(set_to_none=True)
    task = 0.0
    with seeded(derive_seed(state.seed, state.step), state.device):  # so a resumed run has the same dropout
        for part, count in zip(parts, counts, strict=True):
            if count or not any(counts):
                train_mode(state.model, len(part["labels"]))
                task += state.engine.backward(state.model, state.loss, part, count / (sum(counts) or 1))
    _check_finite(state, task)
    return task, samples


def _denominator(loss: Loss, batch: Batch) -> float:
    """Return what a loss divides by: what its ``denominator`` says if it has one, or the number of targets."""
    own = getattr(loss, "denominator", None)
    return float(own(batch)) if own else count_targets(batch)


def penalty_gradients(state: State) -> float:
    """Add the gradients of the penalties to those of the task loss; return Ω, the sum of the penalties."""
    return float(
        sum(
            state.engine.penalty(rule, state.params, state.memory[index], state.now(index))
            for index, rule in state.rules(Penalty)
        )
    )


def update(state: State, task: float, penalty: float, samples: int) -> Record:
    """Update the parameters from their gradients: gradient rules, schedules, optimizer, projections; return the record.

    The gradients may be changed in place.
    """
    _check_finite(state, task + penalty)
    state.last_loss = task
    with torch.no_grad():
        grads = _transform(state)
        rates = _schedule(state, grads)
        state.optimizer.step()
        _project(state, grads, rates)
    state.step += 1
    return {
        "step": state.step,
        "epoch": (state.step - 1) // state.steps_per_epoch,
        "loss": task,
        "penalty": penalty,
        "lr": max(rates.values()),
        "samples": samples,
    }


def finish(state: State) -> nn.Module:
    """Call every rule's ``finish``, in reverse order; return the model to evaluate and save."""
    for index, rule in reversed(list(enumerate(state.recipe))):
        state.model = rule.finish(state.model, state.memory[index])
    return state.model


def _transform(state: State) -> Tensors:
    """Apply the gradient rules; return the gradients that the optimizer uses."""
    grads: Tensors = {name: param.grad for name, param in state.params.items() if param.grad is not None}
    rules = state.rules(GradientRule)
    for position, (index, rule) in enumerate(rules):
        transform = state.engine.transform(rule) if position == 0 else rule.shape
        grads, state.memory[index] = transform(grads, state.memory[index], state.now(index, grads))
    if rules:
        for name, param in state.params.items():
            param.grad = grads.get(name)
    return grads


def _schedule(state: State, grads: Tensors) -> Rates:
    """Apply the schedules; set and return the learning rate of every parameter."""
    rates = dict.fromkeys(state.params, state.lr)
    for index, rule in state.rules(Schedule):
        rates, state.memory[index] = rule.schedule(rates, state.memory[index], state.now(index, grads, rates))
    set_rates(state.optimizer, state.params, rates)
    return rates


def _project(state: State, grads: Tensors, rates: Rates) -> None:
    """Apply the projections to the updated parameters."""
    for index, rule in state.rules(Project):
        old: Tensors = {name: param.detach() for name, param in state.params.items()}
        new, state.memory[index] = rule.project(old, state.memory[index], state.now(index, grads, rates))
        for name, tensor in new.items():
            state.params[name].copy_(tensor)


def _copy_loaded(net: nn.Module, fresh: frozenset[str]) -> Loaded:
    """Copy all parameters but the new ones. The key is the parameter itself, since a rule may change its name."""
    loaded = [param for name, param in net.named_parameters() if name not in fresh]
    return {id(param): (param, param.detach().clone()) for param in loaded}


def _origin(net: nn.Module, loaded: Loaded) -> Tensors:
    """Return θ₀ by the present names of the parameters."""
    return {name: loaded[id(param)][1] for name, param in net.named_parameters() if id(param) in loaded}


def _check_finite(state: State, value: float) -> None:
    """Raise if a loss is NaN or infinite."""
    if math.isfinite(value):
        return
    last = f"last finite loss {state.last_loss:.4g} at step {state.step}" if state.step else "at the first step"
    do = f"Lower lr (it is {state.lr:g}), add ClipNorm(1.0) or a longer warm-up, and look for odd rows in the data"
    raise DivergenceError(
        format_error("finetune", "loss", "stay finite", f"{value} at step {state.step + 1}, {last}", do)
    )
