"""Losses that move the input embeddings in a bad direction: SMART's smoothness and FreeLB."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.data.batches import Batch
from ftlab.errors import argument_error, check_int, check_number
from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.formulas.free_lb import free_lb
from ftlab.formulas.smart import smart
from ftlab.losses.logits import logits_of


@dataclass(frozen=True)
class Smart:
    """Cross-entropy and SMART's smoothness. See :func:`ftlab.formulas.smart.smart`.

    All passes have the same dropout, so that only the moved embeddings make a difference. They run in fp32 under every
    engine, since bf16 would round so small a move away. A step costs three passes. How far an embedding may be moved
    depends on the model: with the embedded one, 1e-5 (the step in the authors' scripts) is too little to be seen beside
    the loss.
    """

    strength: float = 1.0
    radius: float = 1e-2
    step: float = 1e-2
    noise: float = 1e-3

    def __post_init__(self) -> None:
        check_number("Smart", "strength", self.strength, "1.0 is usual, 0 switches it off", at_least=0)
        check_number("Smart", "radius", self.radius, "1e-2 is a first try, 0 switches it off", at_least=0)
        check_number("Smart", "step", self.step, "1e-2 is a first try", at_least=0)
        check_number("Smart", "noise", self.noise, "1e-3 is a first try", above=0)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        with torch.autocast(batch["labels"].device.type, enabled=False):
            moved = PerturbedModel("Smart", model, batch)
            clean = moved(moved.nothing)
            noise = self.noise * torch.randn_like(moved.nothing)
            roughness = smart(moved, clean, noise, self.radius, self.step)
            return cross_entropy(clean, batch["labels"]) + self.strength * roughness


@dataclass(frozen=True)
class FreeLB:
    """The mean cross-entropy along a walk of the embeddings away from the text. See :func:`ftlab.formulas.free_lb.free_lb`.

    Before the first pass the d entries of a text's embeddings are moved at random within ±``magnitude``/√d; 0 begins at
    the text itself. All passes have the same dropout. A step costs ``steps`` passes.
    """

    steps: int = 2
    step_size: float = 1e-1
    magnitude: float = 0.0

    def __post_init__(self) -> None:
        check_int("FreeLB", "steps", self.steps, "2 is usual", at_least=1)
        check_number("FreeLB", "step_size", self.step_size, "0.1 is a first try", at_least=0)
        check_number("FreeLB", "magnitude", self.magnitude, "0 begins at the text itself", at_least=0)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        moved = PerturbedModel("FreeLB", model, batch)
        start = moved.nothing
        if self.magnitude:
            mask = batch.get("attention_mask", torch.ones(start.shape[:2], device=start.device))
            mask = mask.view(*mask.shape, *[1] * (start.ndim - mask.ndim)).to(start)
            entries = mask.expand_as(start).flatten(1).sum(dim=1).view(-1, *[1] * (start.ndim - 1))
            start = self.magnitude / entries.sqrt() * mask * torch.empty_like(start).uniform_(-1, 1)
        return free_lb(lambda delta: cross_entropy(moved(delta), batch["labels"]), start, self.step_size, self.steps)


class PerturbedModel:
    """A model as a function from what is added to its input embeddings to its scores, with the same dropout each time.

    It works by a hook on the module that embeds the input, so that the model still sees the tokens themselves: models of
    the GPT type need them to find the last one.
    """

    def __init__(self, where: str, model: nn.Module, batch: Batch) -> None:
        self.where, self.model, self.batch = where, model, batch
        self.embedding = _embedding(where, model)
        self.device = batch["labels"].device
        self.chance: tuple[Tensor, Tensor | None] | None = None
        self.nothing = self._nothing()
        """Zeros, of the shape of the embeddings."""

    def __call__(self, delta: Tensor) -> Tensor:
        calls = []

        def move(part: nn.Module, given: Any, made: Tensor) -> Tensor:
            calls.append(part)
            return made + delta

        hook = self.embedding.register_forward_hook(move)
        try:
            if self.chance is None:  # the first pass draws as any other loss would
                self.chance = _rng_state(self.device)
                logits = logits_of(self.model, self.batch)
            else:
                with _with_rng_state(self.chance, self.device):
                    logits = logits_of(self.model, self.batch)
        finally:
            hook.remove()
        if len(calls) != 1:
            do = "Use another loss for this model"
            raise argument_error(self.where, "model", "embed its input once", f"{len(calls)} times", do)
        return logits

    def _nothing(self) -> Tensor:
        def stop(part: nn.Module, given: Any, made: Any) -> None:
            raise _StopForwardError(made)

        hook = self.embedding.register_forward_hook(stop)
        made = None
        try:
            with _with_rng_state(_rng_state(self.device), self.device):
                logits_of(self.model, self.batch)
        except _StopForwardError as embedded:
            made = embedded.args[0]
        finally:
            hook.remove()
        if not isinstance(made, Tensor):
            do = "Use another loss for this model"
            raise argument_error(self.where, "model", "embed its input as one tensor", type(made).__name__, do)
        return torch.zeros_like(made).detach()


class _StopForwardError(Exception):
    """The input is embedded, and the rest of the pass is not needed."""


def _embedding(where: str, model: Any) -> nn.Module:
    try:
        found: nn.Module = model.get_input_embeddings()
    except (AttributeError, NotImplementedError, TypeError):
        found = None  # type: ignore[assignment]
    if not isinstance(found, nn.Module):
        do = "Use another loss for this model, such as RDrop(1.0)"
        raise argument_error(where, "model", "have input embeddings", type(model).__name__, do)
    return found


def _rng_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the state of the generators that dropout draws from."""
    if device.type == "cpu":
        return torch.get_rng_state(), None
    return torch.get_rng_state(), torch.get_device_module(device).get_rng_state(device)


@contextmanager
def _with_rng_state(chance: tuple[Tensor, Tensor | None], device: torch.device) -> Iterator[None]:
    """Draw as it was drawn from a state on; afterwards go on as if nothing had been drawn."""
    own = [] if chance[1] is None else [device]
    with torch.random.fork_rng(own, device_type=device.type if own else None):
        torch.set_rng_state(chance[0])
        if own:
            torch.get_device_module(device).set_rng_state(chance[1], device)
        yield
