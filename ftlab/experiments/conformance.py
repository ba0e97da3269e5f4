"""Conformance checks that every rule must pass, whether it comes with ftlab or is written in a notebook cell."""

import copy
import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.errors import check_choice
from ftlab.experiments.tiny_run import (
    KINDS,
    PER_EPOCH,
    STEPS,
    alike,
    begun,
    calls,
    freeze,
    go_on,
    layer_matrices,
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


def examine(rule: Rule, kind: str = "bert") -> list[str]:
    """Run every conformance check on a rule and return the failures, one sentence each.

    The rule trains a tiny random model for a few steps in every way that a run may: with gradient accumulation, in bf16,
    with tied weights, with frozen parameters, stopped and resumed.

    Args:
        rule: An instance, as in a recipe.
        kind: The model: ``"bert"``, which classifies, or ``"llama"``, which predicts the next token.

    Returns:
        The failures; an empty list if the rule may be used in any recipe.

    Example:
        >>> from ftlab.formulas.clip_norm import ClipNorm
        >>> examine(ClipNorm(1.0))
        []
    """
    check_choice("examine", "kind", kind, KINDS)
    failures = []
    reported: set[str] = set()
    for check in CHECKS:
        try:
            check(rule, kind)
        except ConformanceError as failure:
            failures.append(str(failure))
            if check is returns_what_the_loop_expects:  # nothing can be trained with it
                break
        except Exception as error:  # whatever the rule raises; the same error is reported once
            message = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if message not in reported:
                failures.append(f"{check.__doc__} It fails: {message}")
            reported.add(message)
    return failures


class ConformanceError(AssertionError):
    """A conformance check failed."""


def require(condition: Any, message: str) -> None:
    """Raise a ConformanceError with the message unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


def is_a_frozen_dataclass(rule: Rule, kind: str = "bert") -> None:
    """A rule is a frozen dataclass of plain values, and parsing its repr gives an equal rule."""
    cls: Any = type(rule)
    do = "Write @dataclass(frozen=True) above its class."
    require(dataclasses.is_dataclass(rule), f"{cls.__name__} must be a dataclass. {do}")
    require(cls.__dataclass_params__.frozen, f"{cls.__name__} must be frozen. {do}")
    parsed = parse(repr(rule), {**rules(), cls.__name__: cls})
    same_rule = parsed == rule and hash(parsed) == hash(rule)
    require(same_rule, f"parse(repr(rule)) must equal the rule. Got {parsed!r} from {rule!r}.")


def can_be_explained(rule: Rule, kind: str = "bert") -> None:
    """Its equation and its description are one line each, and explain shows it."""
    for name in ("equation", "description"):
        text = getattr(rule, name)
        one_line = text and "\n" not in text and not text.endswith(".")
        require(one_line, f"{name} must be one line without a full stop. Got {text!r}.")
    require(repr(rule) in explain([rule]), "explain must show the rule.")


def returns_what_the_loop_expects(rule: Any, kind: str = "bert") -> None:
    """Its methods return what the training loop expects."""
    if isinstance(rule, Prepare):
        net = model(kind)
        loaded = {name: param.detach().clone() for name, param in net.named_parameters()}
        result = rule.prepare(net, Now(steps=STEPS, steps_per_epoch=PER_EPOCH, origin=loaded))
        require(isinstance(result, nn.Module), f"prepare must return the model. Got {type(result).__name__}.")
    state = begun([rule], kind=kind)
    for name, call, inputs in calls(rule, state):
        _check_result(name, call(inputs), inputs)
    state = trained([rule], 2, ended=False, kind=kind)
    result = rule.finish(state.model, state.memory[0])
    require(isinstance(result, nn.Module), f"finish must return the model. Got {type(result).__name__}.")


def leaves_inputs_unchanged(rule: Any, kind: str = "bert") -> None:
    """It does not modify its inputs, and its outputs have their names, shapes, dtypes and devices."""
    state = trained([rule], 2, kind=kind)
    for name, call, inputs in calls(rule, state):
        inputs_before = copy.deepcopy(inputs)
        params_before = {key: param.detach().clone() for key, param in state.params.items()}
        result = call(inputs)
        unchanged = same(inputs_before, inputs) and same(params_before, state.params)
        require(unchanged, "A rule must not modify its inputs.")
        _check_result(name, result, inputs)


def neutral_form_is_the_empty_recipe(rule: Rule, kind: str = "bert") -> None:
    """Its neutral form trains exactly as the empty recipe does, or ``neutral`` says why there is none."""
    text = type(rule).neutral
    if not text or text.endswith("."):
        return
    neutral = parse(text, {**rules(), type(rule).__name__: type(rule)})
    with_rule, without = weights(trained([neutral], STEPS, kind=kind)), weights(trained([], STEPS, kind=kind))
    require(same(with_rule, without), f"{text} must give the same weights as the empty recipe, bit for bit.")


def resumes_bit_for_bit(rule: Rule, kind: str = "bert") -> None:
    """A run that is stopped, saved and resumed ends with the same weights, bit for bit."""
    whole = weights(trained([rule], STEPS, kind=kind))
    for half in (1, STEPS // 2):
        first = trained([rule], half, ended=False, kind=kind)
        with tempfile.TemporaryDirectory() as folder:
            saved = checkpoint.save(first, Path(folder))
            second = begun([rule], kind=kind)
            checkpoint.restore(second, saved)
        require(same(packed(first), packed(second)), "Its memory must be the same after saving and loading.")
        go_on(second, STEPS)
        second.model = finish(second)
        require(same(weights(second), whole), f"A run resumed after step {half} must end with the same weights.")


def restores_names_and_trainability(rule: Rule, kind: str = "bert") -> None:
    """The saved model has the parameter names of the loaded one, and all are trainable again."""
    loaded, state = model(kind), trained([rule], 2, kind=kind)
    saved = state.model.state_dict()
    removes = bool(rule.removes_parameters)  # such a rule may leave names out
    names = [name for name in loaded.state_dict() if name in saved or not removes]
    require(names == list(saved), "The saved names must be the loaded names.")
    trainable = [name for name, param in state.model.named_parameters() if param.requires_grad]
    loaded_names = [name for name, _ in loaded.named_parameters() if name in saved or not removes]
    require(trainable == loaded_names, "A rule must unfreeze in finish what it froze.")


def works_in_bf16_and_with_accumulation(rule: Rule, kind: str = "bert") -> None:
    """It works with bf16 and with gradient accumulation."""
    for name, state in (
        ("bf16", trained([rule], 2, engine="fast", kind=kind)),
        ("accumulation", trained([rule], 2, parts=2, kind=kind)),
    ):
        require(
            all(tensor.isfinite().all() for tensor in weights(state).values()),
            f"The weights must stay finite with {name}.",
        )


def keeps_tied_and_frozen_weights(rule: Rule, kind: str = "bert") -> None:
    """Tied weights stay tied; frozen parameters stay frozen and unchanged."""
    tied: Any = trained([rule], 2, change=tie, kind=kind).model
    matrices = layer_matrices(tied)
    require(matrices[0].weight is matrices[-1].weight, "Tied weights must stay tied.")
    frozen: Any = trained([rule], 2, change=freeze, kind=kind).model
    words = frozen.get_input_embeddings().weight
    require(not words.requires_grad, "Frozen parameters must stay frozen.")
    if not isinstance(rule, Prepare):
        before = model(kind).get_input_embeddings().weight
        require(torch.equal(words, before), "Frozen parameters must not change.")


CHECKS = (
    is_a_frozen_dataclass,
    can_be_explained,
    returns_what_the_loop_expects,
    leaves_inputs_unchanged,
    neutral_form_is_the_empty_recipe,
    resumes_bit_for_bit,
    restores_names_and_trainability,
    works_in_bf16_and_with_accumulation,
    keeps_tied_and_frozen_weights,
)


def _check_result(name: str, result: Any, inputs: Mapping[str, Any]) -> None:
    """Check the result of a rule's method against its inputs."""
    if name == "penalty":
        scalar = isinstance(result, Tensor) and result.ndim == 0 and bool(result.isfinite())
        return require(scalar, f"penalty must return one finite number, as a tensor. Got {result!r}.")
    got = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
    pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], dict)
    require(pair, f"{name} must return two values: a dictionary by name, and the memory. Got {got}.")
    new = result[0]
    extra = set(new) - set(inputs)
    require(not extra, f"{name} must return only names from its inputs. Got {extra} in addition.")
    require(all(alike(new[key], inputs[key]) for key in new), f"{name} must keep shapes, dtypes and devices.")


def every_rule() -> Iterator[Rule]:
    """Yield an example of each rule of ftlab.

    >>> "ClipNorm(max_norm=1.0)" in [repr(rule) for rule in every_rule()]
    True
    """
    for cls in rules().values():
        yield parse(cls.example)
