"""A tiny training run for the conformance checks: six updates of a random BERT or Llama with two layers."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ftlab.data.conversations import IGNORE
from ftlab.engines.engine import choose_engine
from ftlab.formulas._architectures import feed_forward
from ftlab.losses.classification import CrossEntropy
from ftlab.losses.next_token import NextToken
from ftlab.parameters import Tensors, layer_stack
from ftlab.rule import GradientRule, Penalty, Project, Rule, Schedule
from ftlab.training import checkpoint
from ftlab.training.loop import State, begin, finish, step

STEPS, PER_EPOCH = 6, 2
"""The number of updates in the run, and per epoch."""


KINDS = ("bert", "llama")
"""A BERT classifies; a Llama predicts the next token, and its head is tied to its embeddings."""
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TOKENS, VOCABULARY, PROMPT = 7, 50, 3
"""The length of a row, the number of tokens there are, and the tokens of a row that are no targets of a Llama."""


def model(kind: str = "bert") -> Any:
    """Return a model with two layers and hidden size 16; the weights are the same at every call."""
    from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

    sizes = {**SIZES, "vocab_size": VOCABULARY, "max_position_embeddings": 16}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        if kind == "bert":
            return BertForSequenceClassification(BertConfig(**sizes)).eval()
        return LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=1, tie_word_embeddings=True)).eval()


def batch(number: int, kind: str = "bert") -> dict[str, Tensor]:
    """Return a batch of eight rows of seven tokens with labels; ``number`` is its seed."""
    generator = torch.Generator().manual_seed(number)
    ids = torch.randint(1, VOCABULARY, (8, TOKENS), generator=generator)
    labels = ids[:, 0] % 2
    if kind == "llama":
        labels = ids.masked_fill(torch.arange(TOKENS) < PROMPT, IGNORE)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def begun(
    recipe: list[Rule], *, kind: str = "bert", engine: str = "reference", change: Callable[[Any], Any] | None = None
) -> State:
    """Return the state before the first step; on a processor without bf16, the fast engine emulates it."""
    net = model(kind)
    batches = [batch(number, kind) for number in range(PER_EPOCH)]
    loss = NextToken() if kind == "llama" else CrossEntropy()
    epochs = STEPS // PER_EPOCH
    state = begin(change(net) if change else net, batches, recipe, epochs=epochs, lr=1e-2, loss=loss)
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
        rows = batch(state.step % PER_EPOCH, "llama" if isinstance(state.loss, NextToken) else "bert")
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


def layer_matrices(net: Any) -> list[Any]:
    """Return a matrix of each layer: the outer one of its feed-forward block."""
    pairs = (feed_forward(layer) for layer in layer_stack(net)[1])
    return [pair[1] for pair in pairs if pair]


def tie(net: Any) -> Any:
    """Tie a weight matrix of the two layers."""
    first, last = layer_matrices(net)
    first.weight = last.weight
    return net


def freeze(net: Any) -> Any:
    """Freeze the word embeddings."""
    net.get_input_embeddings().weight.requires_grad_(False)
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
