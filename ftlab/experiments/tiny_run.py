"""A tiny training run for the conformance checks: six updates of a random BERT with two layers."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ftlab.engines.engine import choose_engine
from ftlab.parameters import Tensors
from ftlab.rule import GradientRule, Penalty, Project, Rule, Schedule
from ftlab.training import checkpoint
from ftlab.training.loop import State, begin, finish, step

STEPS, PER_EPOCH = 6, 2
"""The number of updates in the run, and per epoch."""


def model() -> Any:
    """Return a BERT with two layers and hidden size 16; the weights are the same at every call."""
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return BertForSequenceClassification(BertConfig(vocab_size=50, max_position_embeddings=16, **sizes)).eval()


def batch(number: int) -> dict[str, Tensor]:
    """Return a batch of eight rows of seven tokens with labels; ``number`` is its seed."""
    generator = torch.Generator().manual_seed(number)
    ids = torch.randint(1, 50, (8, 7), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 2}


def begun(recipe: list[Rule], *, engine: str = "reference", change: Callable[[Any], Any] | None = None) -> State:
    """Return the state before the first step; on a processor without bf16, the fast engine emulates it."""
    net = model()
    batches = [batch(number) for number in range(PER_EPOCH)]
    epochs = STEPS // PER_EPOCH
    state = begin(change(net) if change else net, batches, recipe, epochs=epochs, lr=1e-2)
    state.engine = choose_engine(engine, "cpu", emulated=True)
    return state


def trained(recipe: list[Rule], steps: int, *, parts: int = 1, ended: bool = True, **how: Any) -> State:
    """Return the state after some steps; if ``ended``, the rules' ``finish`` has been called."""
    state = begun(recipe, **how)
    go_on(state, steps, parts)
    if ended:
        state.model = finish(state)
    return state


def go_on(state: State, steps: int, parts: int = 1) -> None:
    """Train up to step ``steps``, in ``parts`` micro-batches per update, with an evaluation after each epoch."""
    while state.step < steps:
        rows = batch(state.step % PER_EPOCH)
        microbatches = [{name: tensor[part::parts] for name, tensor in rows.items()} for part in range(parts)]
        step(state, microbatches)
        if state.step % PER_EPOCH == 0:
            state.evaluations.append({"loss": 0.7 + state.step / 100, "accuracy": 0.5})


def calls(rule: Any, state: State) -> list[tuple[str, Callable[[Any], Any], dict[str, Any]]]:
    """Return the methods of a rule that the loop calls at each step: name, a function that calls it, and its inputs."""
    grads = gradients(state) or {name: torch.zeros_like(param) for name, param in state.params.items()}
    now = state.now(0, grads, dict.fromkeys(state.params, 1e-3))
    methods: tuple[tuple[type[Rule], str, dict[str, Any]], ...] = (
        (Penalty, "penalty", dict(state.params)),
        (GradientRule, "shape", grads),
        (Schedule, "schedule", dict(now.rates)),
        (Project, "project", {name: param.detach() for name, param in state.params.items()}),
    )
    return [
        (name, lambda inputs, name=name: getattr(rule, name)(inputs, state.memory[0], now), inputs)  # type: ignore[misc]
        for kind, name, inputs in methods
        if isinstance(rule, kind)
    ]


def gradients(state: State) -> Tensors:
    """Return copies of the gradients of the last step."""
    return {name: param.grad.clone() for name, param in state.params.items() if param.grad is not None}


def weights(state: State) -> Tensors:
    """Return copies of the parameters and buffers."""
    return {name: tensor.clone() for name, tensor in state.model.state_dict().items()}


def packed(state: State) -> dict[str, Any]:
    """Return the memory of the rules as plain values and tensors, the way a checkpoint stores it."""
    plain, tensors = checkpoint.pack(state.memory)
    return {"plain": plain, **tensors}


def tie(net: Any) -> Any:
    """Tie a weight matrix of the two layers."""
    layers = net.base_model.encoder.layer
    layers[0].output.dense.weight = layers[1].output.dense.weight
    return net


def freeze(net: Any) -> Any:
    """Freeze the word embeddings."""
    net.base_model.embeddings.word_embeddings.weight.requires_grad_(False)
    return net


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two mappings have the same names and values, bit for bit."""
    return first.keys() == second.keys() and all(_equal(first[name], second[name]) for name in first)


def alike(first: Any, second: Any) -> bool:
    """Return whether two tensors have the same shape, dtype and device; two numbers always do."""
    if not isinstance(first, Tensor):
        return not isinstance(second, Tensor)
    return (first.shape, first.dtype, first.device) == (second.shape, second.dtype, second.device)


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return bool(first == second)
