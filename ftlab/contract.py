"""The contract that every rule keeps, the ones of ftlab and those that a reader writes in a cell."""

import copy
import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ftlab import checkpoint
from ftlab.parameters import Tensors
from ftlab.recipe import explain, parse, rules
from ftlab.rule import GradientRule, Penalty, Prepare, Project, Rule, Schedule
from ftlab.training import State, begin, finish, step

STEPS, PER_EPOCH = 6, 2


def examine(rule: Rule) -> list[str]:
    """Put a rule through every clause of the contract; return what it breaks, a sentence each.

    The rule trains a tiny random BERT for a few steps, in every way that a run may: whole and in parts, in bf16, with
    tied weights, with frozen parts, stopped and resumed.

    Args:
        rule: An instance, as it would stand in a recipe.

    Returns:
        An empty list if the rule may be used in any recipe.

    Example:
        >>> from ftlab.formulas import ClipNorm
        >>> examine(ClipNorm(1.0))
        []
    """
    found = []
    for clause in CLAUSES:
        try:
            clause(rule)
        except Broken as broken:
            found.append(str(broken))
        except Exception as error:  # whatever a reader's rule may raise
            said = " ".join(str(error).split())[:200]
            found.append(f"{clause.__doc__} It fails: {type(error).__name__}: {said}")
    return found


class Broken(AssertionError):
    """A clause is broken."""


def hold(condition: Any, clause: str) -> None:
    """Say which clause is broken unless a condition holds."""
    if not condition:
        raise Broken(clause)


def is_a_value(rule: Rule) -> None:
    """A rule is a frozen dataclass of plain values, which can be written down and read again."""
    cls: Any = type(rule)
    hold(dataclasses.is_dataclass(rule), f"{cls.__name__} must be a dataclass.")
    hold(cls.__dataclass_params__.frozen, f"{cls.__name__} must be frozen.")
    again = parse(repr(rule), {**rules(), cls.__name__: cls})
    hold(again == rule and hash(again) == hash(rule), f"parse(repr(rule)) must be the rule. Got {again!r} of {rule!r}.")


def can_be_explained(rule: Rule) -> None:
    """Its equation and its sentence are one line each, and explain takes it."""
    for text in (rule.equation, rule.sentence):
        hold(
            text and "\n" not in text and not text.endswith("."), f"It must be one line without a full stop: {text!r}."
        )
    hold(repr(rule) in explain([rule]), "explain must show the rule.")


def leaves_its_inputs(rule: Any) -> None:
    """What a rule is given it does not change; what it gives has the names, shapes, dtypes and devices that came in."""
    state = trained([rule], 2)
    now = state.now(0, gradients(state), dict.fromkeys(state.params, 1e-3))
    params = {name: param.detach() for name, param in state.params.items()}
    calls: list[tuple[type[Rule], Callable[..., Any], Any]] = [
        (GradientRule, lambda one: rule.shape(one, state.memory[0], now), gradients(state)),
        (Schedule, lambda one: rule.schedule(one, state.memory[0], now), dict(now.rates)),
        (Project, lambda one: rule.project(one, state.memory[0], now), params),
    ]
    for kind, call, given in calls:
        if isinstance(rule, kind):
            before = {**now.params, **now.grads}, copy.deepcopy(given)
            kept = {name: tensor.clone() for name, tensor in before[0].items()}
            new, _ = call(given)
            hold(same(before[1], given) and same(kept, before[0]), "A rule must not change what it is given.")
            hold(set(new) <= set(given), f"It must give only names that came in. Got {set(new) - set(given)} besides.")
            hold(all(alike(new[name], given[name]) for name in new), "Shapes, dtypes and devices must stay.")
    if isinstance(rule, Penalty):
        omega = rule.penalty(dict(state.params), state.memory[0], now)
        hold(omega.ndim == 0 and omega.isfinite(), f"A penalty must be one finite number. Got {omega}.")


def has_a_neutral_form(rule: Rule) -> None:
    """Its neutral form is the empty recipe, bit for bit; or it says why there is none."""
    text = type(rule).neutral
    if not text or text.endswith("."):
        return
    neutral = parse(text, {**rules(), type(rule).__name__: type(rule)})
    with_it, without = weights(trained([neutral], STEPS)), weights(trained([], STEPS))
    hold(same(with_it, without), f"{text} must be the empty recipe bit for bit.")


def resumes(rule: Rule) -> None:
    """Stopped in the middle, saved, and resumed, it ends with the same weights bit for bit."""
    whole = weights(trained([rule], STEPS))
    for half in (1, STEPS // 2):
        first = trained([rule], half, ended=False)
        with tempfile.TemporaryDirectory() as folder:
            saved = checkpoint.save(first, Path(folder))
            second = begun([rule])
            checkpoint.restore(second, saved)
        hold(same(packed(first), packed(second)), "Its memory must survive saving.")
        go_on(second, STEPS)
        second.model = finish(second)
        hold(same(weights(second), whole), f"Resumed after step {half} it must end with the same weights.")


def gives_the_model_back(rule: Rule) -> None:
    """The names that are saved are those that were loaded, and what was trainable is again."""
    loaded, state = model(), trained([rule], 2)
    saved = state.model.state_dict()
    fewer = bool(getattr(rule, "removes", ""))  # why names are missing, where a rule takes modules out
    names = [name for name in loaded.state_dict() if name in saved or not fewer]
    hold(names == list(saved), "The saved names must be those that were loaded.")
    trainable = [name for name, param in state.model.named_parameters() if param.requires_grad]
    loaded_names = [name for name, _ in loaded.named_parameters() if name in saved or not fewer]
    hold(trainable == loaded_names, "It must unfreeze at the end what it froze.")


def takes_bf16_and_parts(rule: Rule) -> None:
    """It works under bf16 products and when a batch comes in parts."""
    for name, state in (
        ("bf16", trained([rule], 2, engine="fast")),
        ("accumulation", trained([rule], 2, parts=2)),
    ):
        hold(all(tensor.isfinite().all() for tensor in weights(state).values()), f"Under {name} it gives NaN.")


def keeps_ties_and_what_is_frozen(rule: Rule) -> None:
    """Tied weights stay tied, and what was frozen before stays as it was and frozen."""
    tied: Any = trained([rule], 2, change=tie).model
    layers = tied.base_model.encoder.layer
    hold(layers[0].output.dense.weight is layers[-1].output.dense.weight, "Tied weights must stay tied.")
    frozen: Any = trained([rule], 2, change=freeze).model
    words = frozen.base_model.embeddings.word_embeddings.weight
    hold(not words.requires_grad, "What was frozen must stay frozen.")
    if not isinstance(rule, Prepare):
        hold(torch.equal(words, freeze(model()).base_model.embeddings.word_embeddings.weight), "It must not change.")


CLAUSES = (
    is_a_value,
    can_be_explained,
    leaves_its_inputs,
    has_a_neutral_form,
    resumes,
    gives_the_model_back,
    takes_bf16_and_parts,
    keeps_ties_and_what_is_frozen,
)


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
    """Return a training that has not made a step."""
    net = model()
    batches = [batch(number) for number in range(PER_EPOCH)]
    epochs = STEPS // PER_EPOCH
    return begin(change(net) if change else net, batches, recipe, epochs=epochs, lr=1e-2, engine=engine)


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


def every_rule() -> Iterator[Rule]:
    """Yield each rule of ftlab as it would usually be written.

    >>> "ClipNorm(max_norm=1.0)" in [repr(rule) for rule in every_rule()]
    True
    """
    for cls in rules().values():
        yield parse(cls.example)
