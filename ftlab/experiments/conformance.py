"""The contract that every rule keeps, the ones of ftlab and those that a reader writes in a cell."""

import copy
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.experiments.tiny_run import (
    PER_EPOCH,
    STEPS,
    alike,
    begun,
    calls,
    freeze,
    go_on,
    model,
    packed,
    same,
    tie,
    trained,
    weights,
)
from ftlab.recipes.catalogue import rules
from ftlab.recipes.explain import explain
from ftlab.recipes.parse import parse
from ftlab.rule import Now, Prepare, Rule
from ftlab.training import checkpoint
from ftlab.training.loop import finish


def examine(rule: Rule) -> list[str]:
    """Put a rule through every clause of the contract; return what it breaks, a sentence each.

    The rule trains a tiny random BERT for a few steps, in every way that a run may: whole and in parts, in bf16, with
    tied weights, with frozen parts, stopped and resumed.

    Args:
        rule: An instance, as it would stand in a recipe.

    Returns:
        An empty list if the rule may be used in any recipe.

    Example:
        >>> from ftlab.formulas.clip_norm import ClipNorm
        >>> examine(ClipNorm(1.0))
        []
    """
    found = []
    failed: set[str] = set()
    for clause in CHECKS:
        try:
            clause(rule)
        except ConformanceError as broken:
            found.append(str(broken))
            if clause is gives_what_its_kind_gives:  # nothing can be trained with it
                break
        except Exception as error:  # whatever a reader's rule may raise; the same failure is told once
            said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if said not in failed:
                found.append(f"{clause.__doc__} It fails: {said}")
            failed.add(said)
    return found


class ConformanceError(AssertionError):
    """A clause is broken."""


def hold(condition: Any, clause: str) -> None:
    """Say which clause is broken unless a condition holds."""
    if not condition:
        raise ConformanceError(clause)


def is_a_value(rule: Rule) -> None:
    """A rule is a frozen dataclass of plain values, which can be written down and read again."""
    cls: Any = type(rule)
    do = "Write @dataclass(frozen=True) above its class."
    hold(dataclasses.is_dataclass(rule), f"{cls.__name__} must be a dataclass. {do}")
    hold(cls.__dataclass_params__.frozen, f"{cls.__name__} must be frozen. {do}")
    again = parse(repr(rule), {**rules(), cls.__name__: cls})
    hold(again == rule and hash(again) == hash(rule), f"parse(repr(rule)) must be the rule. Got {again!r} of {rule!r}.")


def can_be_explained(rule: Rule) -> None:
    """Its equation and its sentence are one line each, and explain takes it."""
    for text in (rule.equation, rule.description):
        hold(
            text and "\n" not in text and not text.endswith("."), f"It must be one line without a full stop: {text!r}."
        )
    hold(repr(rule) in explain([rule]), "explain must show the rule.")


def gives_what_its_kind_gives(rule: Any) -> None:
    """Its methods give back what the loop expects of them."""
    if isinstance(rule, Prepare):
        net = model()
        loaded = {name: param.detach().clone() for name, param in net.named_parameters()}
        made = rule.prepare(net, Now(steps=STEPS, steps_per_epoch=PER_EPOCH, origin=loaded))
        hold(isinstance(made, nn.Module), f"prepare must return the model. Got {type(made).__name__}.")
    state = begun([rule])
    for name, call, given in calls(rule, state):
        _check_made(name, call(given), given)
    state = trained([rule], 2, ended=False)
    made = rule.finish(state.model, state.memory[0])
    hold(isinstance(made, nn.Module), f"finish must return the model. Got {type(made).__name__}.")


def leaves_its_inputs(rule: Any) -> None:
    """What a rule is given it does not change; what it gives has the names, shapes, dtypes and devices that came in."""
    state = trained([rule], 2)
    for name, call, given in calls(rule, state):
        before = copy.deepcopy(given), {key: param.detach().clone() for key, param in state.params.items()}
        made = call(given)
        kept = same(before[0], given) and same(before[1], state.params)
        hold(kept, "A rule must not change what it is given.")
        _check_made(name, made, given)


def has_a_neutral_form(rule: Rule) -> None:
    """Its neutral form is the empty recipe, bit for bit; or it says why there is none."""
    text = type(rule).neutral
    if not text or text.endswith("."):
        return
    neutral = parse(text, {**rules(), type(rule).__name__: type(rule)})
    with_rule, without = weights(trained([neutral], STEPS)), weights(trained([], STEPS))
    hold(same(with_rule, without), f"{text} must be the empty recipe bit for bit.")


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
    fewer = bool(rule.removes_parameters)  # why names are missing, where a rule takes modules out
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


CHECKS = (
    is_a_value,
    can_be_explained,
    gives_what_its_kind_gives,
    leaves_its_inputs,
    has_a_neutral_form,
    resumes,
    gives_the_model_back,
    takes_bf16_and_parts,
    keeps_ties_and_what_is_frozen,
)


def _check_made(name: str, made: Any, given: Mapping[str, Any]) -> None:
    """Hold what a method returned against what it was given."""
    if name == "penalty":
        one = isinstance(made, Tensor) and made.ndim == 0 and bool(made.isfinite())
        return hold(one, f"penalty must return one finite number, as a tensor. Got {made!r}.")
    got = f"{len(made)} of them" if isinstance(made, tuple) else type(made).__name__
    two = isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], dict)
    hold(two, f"{name} must return two things: a dictionary by name, and the memory. Got {got}.")
    new = made[0]
    hold(set(new) <= set(given), f"{name} must return only names that came in. Got {set(new) - set(given)} besides.")
    hold(all(alike(new[key], given[key]) for key in new), f"{name} must keep shapes, dtypes and devices.")


def every_rule() -> Iterator[Rule]:
    """Yield each rule of ftlab as it would usually be written.

    >>> "ClipNorm(max_norm=1.0)" in [repr(rule) for rule in every_rule()]
    True
    """
    for cls in rules().values():
        yield parse(cls.example)
