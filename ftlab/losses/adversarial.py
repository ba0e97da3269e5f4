"""Losses with adversarial perturbations of the input embeddings: SMART and FreeLB."""

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
    """Cross-entropy plus SMART's smoothness penalty. See :func:`ftlab.formulas.smart.smart`.

    All passes use the same dropout masks, so only the perturbation changes the scores. They run in fp32 under every
    engine, because bf16 would round so small a perturbation away. An update costs three passes. The right radius depends
    on the model: with the embedded one, the penalty at 1e-5 (the step in the authors' scripts) is negligible beside the
    cross-entropy.
    """

    strength: float = 1.0
    """The weight of the penalty, at least 0."""
    radius: float = 1e-2
    """The largest change of an embedding's entry, at least 0."""
    step: float = 1e-2
    """The step of the search for the worst direction, at least 0."""
    noise: float = 1e-3
    """The standard deviation of the random start of that search, greater than 0."""

    def __post_init__(self) -> None:
        check_number("Smart", "strength", self.strength, "1.0 is usual, 0 switches it off", at_least=0)
        check_number("Smart", "radius", self.radius, "1e-2 is a first try, 0 switches it off", at_least=0)
        check_number("Smart", "step", self.step, "1e-2 is a first try", at_least=0)
        check_number("Smart", "noise", self.noise, "1e-3 is a first try", above=0)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        with torch.autocast(batch["labels"].device.type, enabled=False):
            scores = PerturbedModel("Smart", model, batch)
            clean = scores(scores.zero_delta)
            noise = self.noise * torch.randn_like(scores.zero_delta)
            penalty = smart(scores, clean, noise, self.radius, self.step)
            return cross_entropy(clean, batch["labels"]) + self.strength * penalty


@dataclass(frozen=True)
class FreeLB:
    """The mean cross-entropy over several ascent steps of the embeddings. See :func:`ftlab.formulas.free_lb.free_lb`.

    All passes use the same dropout masks. An update costs ``steps`` passes.
    """

    steps: int = 2
    """The number of passes, at least 1."""
    step_size: float = 1e-1
    """The L2 norm of each ascent step of a text's embeddings, at least 0."""
    magnitude: float = 0.0
    """The d entries of a text's embeddings start at uniform noise within ±``magnitude``/√d; 0 starts at the text."""

    def __post_init__(self) -> None:
        check_int("FreeLB", "steps", self.steps, "2 is usual", at_least=1)
        check_number("FreeLB", "step_size", self.step_size, "0.1 is a first try", at_least=0)
        check_number("FreeLB", "magnitude", self.magnitude, "0 starts at the text itself", at_least=0)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        scores = PerturbedModel("FreeLB", model, batch)
        start = scores.zero_delta
        if self.magnitude:
            mask = batch.get("attention_mask", torch.ones(start.shape[:2], device=start.device))
            mask = mask.view(*mask.shape, *[1] * (start.ndim - mask.ndim)).to(start)
            entries = mask.expand_as(start).flatten(1).sum(dim=1).view(-1, *[1] * (start.ndim - 1))
            start = self.magnitude / entries.sqrt() * mask * torch.empty_like(start).uniform_(-1, 1)
        return free_lb(lambda delta: cross_entropy(scores(delta), batch["labels"]), start, self.step_size, self.steps)


class PerturbedModel:
    """A model as a function from a perturbation of its input embeddings to its scores, with fixed dropout masks.

    A forward hook on the embedding module adds the perturbation. So the model still receives token ids, which
    GPT-type models need to find the last token.
    """

    def __init__(self, where: str, model: nn.Module, batch: Batch) -> None:
        self.where, self.model, self.batch = where, model, batch
        self.embedding = _embedding(where, model)
        self.device = batch["labels"].device
        self.rng_state: tuple[Tensor, Tensor | None] | None = None
        self.zero_delta = self._zero_delta()
        """No perturbation: zeros of the shape of the embeddings."""

    def __call__(self, delta: Tensor) -> Tensor:
        calls = []

        def perturb(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            calls.append(module)
            return output + delta

        hook = self.embedding.register_forward_hook(perturb)
        try:
            if self.rng_state is None:  # the first pass advances the generator, as with any other loss
                self.rng_state = _rng_state(self.device)
                logits = logits_of(self.model, self.batch)
            else:
                with _with_rng_state(self.rng_state, self.device):
                    logits = logits_of(self.model, self.batch)
        finally:
            hook.remove()
        if len(calls) != 1:
            do = "Use another loss for this model"
            raise argument_error(self.where, "model", "embed its input once", f"{len(calls)} times", do)
        return logits

    def _zero_delta(self) -> Tensor:
        def stop(module: nn.Module, inputs: Any, output: Any) -> None:
            raise _StopForwardError(output)

        hook = self.embedding.register_forward_hook(stop)
        embedded = None
        try:
            with _with_rng_state(_rng_state(self.device), self.device):
                logits_of(self.model, self.batch)
        except _StopForwardError as stopped:
            embedded = stopped.args[0]
        finally:
            hook.remove()
        if not isinstance(embedded, Tensor):
            do = "Use another loss for this model"
            raise argument_error(self.where, "model", "embed its input as one tensor", type(embedded).__name__, do)
        return torch.zeros_like(embedded).detach()


class _StopForwardError(Exception):
    """Ends a forward pass after the embedding; its argument is the embedded input."""


def _embedding(where: str, model: Any) -> nn.Module:
    try:
        embedding: nn.Module = model.get_input_embeddings()
    except (AttributeError, NotImplementedError, TypeError):
        embedding = None  # type: ignore[assignment]
    if not isinstance(embedding, nn.Module):
        do = "Use another loss for this model, such as RDrop(1.0)"
        raise argument_error(where, "model", "have input embeddings", type(model).__name__, do)
    return embedding


def _rng_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the state of the CPU generator and, on another device, of that device's generator."""
    if device.type == "cpu":
        return torch.get_rng_state(), None
    return torch.get_rng_state(), torch.get_device_module(device).get_rng_state(device)


@contextmanager
def _with_rng_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> Iterator[None]:
    """Set the generators to a saved state, and restore their present state afterwards."""
    devices = [] if state[1] is None else [device]
    with torch.random.fork_rng(devices, device_type=device.type if devices else None):
        torch.set_rng_state(state[0])
        if devices:
            torch.get_device_module(device).set_rng_state(state[1], device)
        yield
