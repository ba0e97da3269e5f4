"""A training so small that a rule can be rehearsed in it many times: six updates of a tiny random BERT."""

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
"""Updates of the whole training, and of an epoch."""


def model() -> Any:
    """Return a BERT of two layers, 16 wide, the same each time."""
    from transformers import BertConfig, BertForSequenceClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return BertForSequenceClassification(BertConfig(vocab_size=50, max_position_embeddings=16, **sizes)).eval()


def batch(number: int) -> dict[str, Tensor]:
    """Return eight rows of seven tokens with labels, the same for each number."""
    chance = torch.Generator().manual_seed(number)
    ids = torch.randint(1, 50, (8, 7), generator=chance)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 2}


def begun(recipe: list[Rule], *, engine: str = "reference", change: Callable[[Any], Any] | None = None) -> State:
    """Return a training that has not made a step; where the processor has no bf16, the fast engine emulates it."""
    net = model()
    batches = [batch(number) for number in range(PER_EPOCH)]
    epochs = STEPS // PER_EPOCH
    state = begin(change(net) if change else net, batches, recipe, epochs=epochs, lr=1e-2)
    state.engine = choose_engine(engine, "cpu", emulated=True)
    return state


def trained(recipe: list[Rule], steps: int, *, parts: int = 1, ended: bool = True, **how: Any) -> State:
    """Return a training after some steps, with what the rules do at the end where it is ended."""
    state = begun(recipe, **how)
    go_on(state, steps, parts)
    if ended:
        state.model = finish(state)
    return state


def go_on(state: State, steps: int, parts: int = 1) -> None:
    """Make the steps that are left, with an evaluation after each epoch."""
    while state.step < steps:
        whole = batch(state.step % PER_EPOCH)
        pieces = [{name: tensor[part::parts] for name, tensor in whole.items()} for part in range(parts)]
        step(state, pieces)
        if state.step % PER_EPOCH == 0:
            state.evaluations.append({"loss": 0.7 + state.step / 100, "accuracy": 0.5})


def calls(rule: Any, state: State) -> list[tuple[str, Callable[[Any], Any], dict[str, Any]]]:
    """Return what the loop calls of a rule at a step: the method's name, the call, and what it is given."""
    grads = gradients(state) or {name: torch.zeros_like(param) for name, param in state.params.items()}
    now = state.now(0, grads, dict.fromkeys(state.params, 1e-3))
    found: tuple[tuple[type[Rule], str, dict[str, Any]], ...] = (
        (Penalty, "penalty", dict(state.params)),
        (GradientRule, "shape", grads),
        (Schedule, "schedule", dict(now.rates)),
        (Project, "project", {name: param.detach() for name, param in state.params.items()}),
    )
    return [
        (name, lambda given, name=name: getattr(rule, name)(given, state.memory[0], now), given)  # type: ignore[misc]
        for kind, name, given in found
        if isinstance(rule, kind)
    ]


def gradients(state: State) -> Tensors:
    """Return the last step's gradients."""
    return {name: param.grad.clone() for name, param in state.params.items() if param.grad is not None}


def weights(state: State) -> Tensors:
    """Return copies of the parameters and buffers as they would be saved."""
    return {name: tensor.clone() for name, tensor in state.model.state_dict().items()}


def packed(state: State) -> dict[str, Any]:
    """Return what the rules remember, taken apart."""
    plain, tensors = checkpoint.pack(state.memory)
    return {"plain": plain, **tensors}


def tie(net: Any) -> Any:
    """Let two layers share one matrix."""
    layers = net.base_model.encoder.layer
    layers[0].output.dense.weight = layers[1].output.dense.weight
    return net


def freeze(net: Any) -> Any:
    """Freeze the embedding of words."""
    net.base_model.embeddings.word_embeddings.weight.requires_grad_(False)
    return net


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two mappings hold the same names with the same values, bit for bit."""
    return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)


def alike(one: Any, other: Any) -> bool:
    """Return whether two values are of one shape, dtype and device; numbers always are."""
    if not isinstance(one, Tensor):
        return not isinstance(other, Tensor)
    return (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return bool(one == other)
