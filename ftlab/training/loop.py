"""The loop: ``begin``, then ``step`` for each batch. It names no formula; the rules of the recipe bring them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.data.batches import Batch
from ftlab.engines.engine import Engine, Reference, choose_engine
from ftlab.errors import DivergenceError, argument_error, check_number, format_error
from ftlab.losses.classification import CrossEntropy
from ftlab.models.load import Pretrained
from ftlab.parameters import Tensors
from ftlab.rule import GradientRule, Loss, Memory, Now, Penalty, Prepare, Project, Rates, Rule, Schedule
from ftlab.seeding import derive_seed
from ftlab.training.optimizers import MakeOptimizer, make_optimizer, set_rates

Record = dict[str, Any]


@dataclass
class State:
    """A training between two steps: everything that the next step needs."""

    model: nn.Module
    recipe: tuple[Rule, ...]
    loss: Loss
    optimizer: torch.optim.Optimizer
    params: dict[str, nn.Parameter]
    """Trainable parameters by name, tied ones once."""
    origin: Tensors
    memory: list[Memory]
    """What each rule remembers, by its index in the recipe."""
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
        """Where the parameters are."""
        return next(iter(self.params.values())).device

    def now(self, index: int, grads: Tensors | None = None, rates: Rates | None = None) -> Now:
        """Return the view that a rule of the recipe may have of this moment."""
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
    """Prepare a training: let the recipe change the model, then make the optimizer.

    Args:
        model: A ``torch.nn.Module``, which is trained in place, or a :class:`~ftlab.models.load.Pretrained`.
        batches: Anything with a length, the number of updates in an epoch.
        recipe: Rules. An empty recipe is a hand-written loop, exactly: constant learning rate, nothing else.
        epochs: How often the batches will be gone through; with their number it gives the steps of the run.
        lr: The learning rate before any schedule, greater than 0.
        seed: Of dropout and of the rules' own draws.
        loss: ``loss(model, batch)``, the mean over the batch; cross-entropy where it is left out.
        optimizer: ``"adamw"``, ``"sgd"``, ``"signsgd"``, ``"signum"``, ``"lion"``, ``"adabound"``, or a function from
            parameter groups to a torch optimizer.
        engine: ``"reference"``, ``"fast"``, ``"fast-fp32"`` or ``"auto"``; see :func:`ftlab.engines.engine.choose_engine`.

    Raises:
        ArgumentError: If a number is outside its range, or nothing is left to train.

    Example:
        >>> state = begin(nn.Linear(2, 2), batches=[0, 1], epochs=3)
        >>> state.steps
        6
    """
    check_number("begin", "lr", lr, "5e-5 is usual for fine-tuning", above=0)
    fresh = model.fresh if isinstance(model, Pretrained) else frozenset()
    net: nn.Module = model.net if isinstance(model, Pretrained) else model
    loaded = _origin(net, fresh) if any(rule.needs_origin for rule in recipe) else {}
    seen = Now(seed=seed, steps=epochs * len(batches), steps_per_epoch=len(batches))
    for index, rule in enumerate(recipe):
        if isinstance(rule, Prepare):
            net = rule.prepare(net, replace(seen, index=index, origin=_named(net, loaded)))
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
        origin=_named(net, loaded),
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
    """Make one update: loss, gradient, the rules in their order, optimizer.

    Args:
        state: From :func:`begin`; it is changed.
        batch: Tensors by name with ``labels``; or a list of such parts, whose gradients add up to that of the whole.

    Returns:
        ``step`` (from 1), ``epoch``, ``loss`` (of the task), ``penalty``, ``lr`` (the greatest), ``samples``.

    Raises:
        DivergenceError: If the loss is NaN or infinite; the parameters are then as they were before.
    """
    task, samples = task_gradients(state, batch)
    return update(state, task, penalty_gradients(state), samples)


def task_gradients(state: State, batch: Batch | list[Batch]) -> tuple[float, int]:
    """Put the gradients of the task's loss into the parameters, in place of what stood there.

    Each part of the batch counts by its share of the samples. The draws of dropout are those of the step, so that a
    second call in the same step has the same. Returns the loss and the number of samples.
    """
    parts = batch if isinstance(batch, list) else [batch]
    parts = [state.engine.to_device(part, state.device) for part in parts]
    samples = sum(len(part["labels"]) for part in parts)
    state.optimizer.zero_grad(set_to_none=True)
    state.model.train()
    devices = [state.device] if state.device.type == "cuda" else []
    task = 0.0
    with torch.random.fork_rng(devices):
        torch.manual_seed(derive_seed(state.seed, state.step))  # no stored state, so a resumed run has the same dropout
        for part in parts:
            task += state.engine.backward(state.model, state.loss, part, len(part["labels"]) / samples)
    _check_finite(state, task)
    return task, samples


def penalty_gradients(state: State) -> float:
    """Add the gradients of the penalties to those in the parameters; return Ω."""
    return float(
        sum(
            state.engine.penalty(rule, state.params, state.memory[index], state.now(index))
            for index, rule in state.rules(Penalty)
        )
    )


def update(state: State, task: float, penalty: float, samples: int) -> Record:
    """Let the rules and the optimizer act on the gradients that stand in the parameters; return the step's record.

    They are then the update's own: a fast engine may change them in place.
    """
    _check_finite(state, task + penalty)
    state.last_loss = task
    with torch.no_grad():
        grads = _shape(state)
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
    """Let the rules give the model back, in reverse order; it is then as it is to be evaluated and saved."""
    for index, rule in reversed(list(enumerate(state.recipe))):
        state.model = rule.finish(state.model, state.memory[index])
    return state.model


def _shape(state: State) -> Tensors:
    """Let the gradient rules act; return the gradients as the optimizer sees them."""
    grads: Tensors = {name: param.grad for name, param in state.params.items() if param.grad is not None}
    rules = state.rules(GradientRule)
    for number, (index, rule) in enumerate(rules):
        shape = rule.shape if number else state.engine.transform(rule)
        grads, state.memory[index] = shape(grads, state.memory[index], state.now(index, grads))
    if rules:
        for name, param in state.params.items():
            param.grad = grads.get(name)
    return grads


def _schedule(state: State, grads: Tensors) -> Rates:
    """Let the schedules act, and give every parameter its rate."""
    rates = dict.fromkeys(state.params, state.lr)
    for index, rule in state.rules(Schedule):
        rates, state.memory[index] = rule.schedule(rates, state.memory[index], state.now(index, grads, rates))
    set_rates(state.optimizer, state.params, rates)
    return rates


def _project(state: State, grads: Tensors, rates: Rates) -> None:
    for index, rule in state.rules(Project):
        old: Tensors = {name: param.detach() for name, param in state.params.items()}
        new, state.memory[index] = rule.project(old, state.memory[index], state.now(index, grads, rates))
        for name, tensor in new.items():
            state.params[name].copy_(tensor)


def _origin(net: nn.Module, fresh: frozenset[str]) -> dict[int, tuple[nn.Parameter, Tensor]]:
    """Keep θ₀ by tensor, so that a rule that renames parameters cannot lose it."""
    kept = {name: param for name, param in net.named_parameters() if name not in fresh}
    return {id(param): (param, param.detach().clone()) for param in kept.values()}


def _named(net: nn.Module, loaded: dict[int, tuple[nn.Parameter, Tensor]]) -> Tensors:
    return {name: loaded[id(param)][1] for name, param in net.named_parameters() if id(param) in loaded}


def _check_finite(state: State, value: float) -> None:
    if math.isfinite(value):
        return
    last = f"last finite loss {state.last_loss:.4g} at step {state.step}" if state.step else "at the first step"
    do = f"Lower lr (it is {state.lr:g}), add ClipNorm(1.0) or a longer warm-up, and look for odd rows in the data"
    raise DivergenceError(
        format_error("finetune", "loss", "stay finite", f"{value} at step {state.step + 1}, {last}", do)
    )
