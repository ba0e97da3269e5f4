"""The table of laws: for each file of ``ftlab/formulas``, valid arguments, neutral values, and refused ones.

``test_laws.py`` checks it. A row is:

- ``Formula``: a function with valid arguments. It does not modify them, it keeps dtype, device and shape of the
  argument ``like``, and at a neutral value it returns that argument, bit for bit.
- ``Value``: a rule with more instances than its example and its neutral form. It is frozen, final and can be read back.
- ``Loss``: a loss whose arguments are refused beside those of the formula.
- ``refused``: an argument with values outside its range, and the condition that the error must state.
- ``Refusal``: arguments that do not fit together, and the error's text.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, nan
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.formulas.adamw import Moments
from ftlab.rule import Finish, GradientRule, Penalty, Prepare, Project, Rule, Schedule

NOT_POSITIVE = (0, -1.0, nan, "1", None, True)
NEGATIVE = (-0.1, nan, inf, "0.1", None, True)
NO_COUNT = (0, -1, 1.5, "8", None, True)
NO_SHARE = (-0.1, 1.1, nan, inf, "0.5", None, True)


@dataclass(frozen=True)
class Formula:
    """A function of ``ftlab.formulas`` and arguments for it."""

    name: str
    arguments: Callable[[], dict[str, Any]]
    like: str = ""
    """The argument whose names, shapes, dtype and device the result has; empty if it is like none."""
    neutral: tuple[dict[str, Any], ...] = ()
    """Changes of the arguments with which the result is the argument ``like``."""
    more: tuple[dict[str, Any], ...] = ()
    """Further changes of the arguments with which none may be modified."""
    scalar: bool = False
    """Whether the result is one number, of the dtype of ``like``."""
    cast: tuple[str, ...] = ()
    """The arguments that are cast to each dtype; empty for all."""
    devices: tuple[str, ...] = ("cpu", "meta")
    """The devices on which it runs; what reads values does not run on meta."""
    shares: bool = False
    """Whether the result holds the very tensors of an argument."""


@dataclass(frozen=True)
class Value:
    """A rule: a frozen, final dataclass."""

    name: str
    kinds: tuple[type[Rule], ...]
    more: tuple[str, ...] = ()
    """Instances, as text, that must be read back."""
    default: str = ""
    """The repr of the instance without arguments."""


@dataclass(frozen=True)
class Loss:
    """A class of ``ftlab.losses``."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """Those that have no default."""
    text: str = ""
    """The repr with these arguments."""


@dataclass(frozen=True)
class Refusal:
    """Arguments that a function or a class refuses, and a pattern of the error's text after its name."""

    by: str
    arguments: dict[str, Any]
    message: str


def refused(by: str, argument: str, must: str, *values: Any) -> list[Refusal]:
    """Return a refusal for each name in ``by`` and each value of an argument."""
    return [Refusal(name, {argument: value}, f"{argument} must {must}") for name in by.split() for value in values]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a random tensor, the same for the same seed."""
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def tree(seed: int = 0, factor: float = 1.0) -> dict[str, Tensor]:
    """Return a matrix, a vector and a number by name."""
    shapes: dict[str, tuple[int, ...]] = {"weight": (4, 3), "bias": (3,), "scale": ()}
    return {name: factor * draw(*shape, seed=seed + 10 * i) for i, (name, shape) in enumerate(shapes.items())}


def like_tree(value: Any) -> dict[str, Any]:
    """Return the same value for each name of :func:`tree`."""
    return dict.fromkeys(tree(), value)


def seeded(seed: int = 0) -> torch.Generator:
    """Return a generator with a seed."""
    return torch.Generator().manual_seed(seed)


def bad_labels(by: str, *logits: str) -> list[Refusal]:
    """Return labels that a classification loss refuses, beside logits under the names of their arguments."""
    zeros = torch.zeros
    rows: list[tuple[Tensor, Tensor, str]] = [
        (zeros(3), zeros(3).long(), r"be whole numbers \(int64\) of shape \(N,\).* Got .*\(3,\) beside \(3,\)"),
        (zeros(3, 2), zeros(3, 1).long(), r"be whole numbers .* Got .*\(3, 1\) beside \(3, 2\)"),
        (zeros(3, 2), zeros(2).long(), r"be whole numbers .* Got torch.int64 \(2,\) beside \(3, 2\)"),
        (zeros(3, 2), zeros(3), r"be whole numbers .* Got torch.float32 \(3,\) .* use binary_cross_entropy"),
        (zeros(3, 2), zeros(3).int(), r"be whole numbers .* Got torch.int32 \(3,\) beside \(3, 2\)"),
        (zeros(3, 2), zeros(3).bool(), r"be whole numbers .* Got torch.bool \(3,\) beside \(3, 2\)"),
        (zeros(0, 2), zeros(0).long(), "hold at least one sample. Got none"),
        (zeros(2, 3), torch.tensor([0, 3]), "lie from 0 to 2. Got 0 to 3"),
        (zeros(2, 3), torch.tensor([-1, 2]), "lie from 0 to 2. Got -1 to 2"),
    ]
    return [
        Refusal(by, dict.fromkeys(logits, given) | {"labels": labels}, f"labels must {must}")
        for given, labels, must in rows
    ]


def bad_class_weights(by: str) -> list[Refusal]:
    """Return class weights that are not one number for each of two classes."""
    base = {"logits": torch.zeros(2, 2), "labels": torch.tensor([0, 1])}
    must = r"have one number per class, shape \(2,\). Got shape"
    return [Refusal(by, base | {"weight": torch.ones(shape)}, f"weight must {must}") for shape in ((3,), (1,), (2, 1))]


def bad_ramp(by: str) -> list[Refusal]:
    """Return the ends of a pruning schedule that do not fit."""
    return [
        *refused(by, "begin", "be a number at least 0 and at most 1", -0.1),
        *refused(by, "end", "be a number at least 0.1 and at most 1", 2, 0.05),
        *(Refusal(name, {"begin": 0.6, "end": 0.5}, "end must be a number at least 0.6") for name in by.split()),
    ]


AT_LEAST_0 = "be a number at least 0. Got"
FROM_0_TO_1 = "be a number at least 0 and at most 1. Got"
LOGITS = draw(12, 5, dtype=torch.double)
LABELS = torch.arange(12) % 5

LAWS: dict[str, tuple[Formula | Value | Loss | Refusal, ...]] = {
    "adabound": (
        Formula(
            "adabound",
            lambda: {
                "params": tree(0),
                "grads": tree(1),
                "past": {name: (mean, mean.square(), 1) for name, mean in tree(2).items()},
                "lr": 0.1,
                "weight_decay": 0.1,
            },
            like="params",
        ),
        *refused("adabound", "lr", AT_LEAST_0, *NEGATIVE),
        *refused("adabound", "final_rate", AT_LEAST_0, -0.1, inf, None),
        *refused("adabound", "gamma", "be a number greater than 0. Got", 0, -1e-3, inf, None),
        *refused("adabound", "eps", "be a number greater than 0. Got", 0, -1e-8),
        *refused("adabound", "weight_decay", AT_LEAST_0, -0.1, inf, None),
        *(
            Refusal("adabound", {"betas": betas}, "beta must be a number at least 0 and less than 1. Got")
            for betas in ((-0.1, 0), (0.9, 1.0))
        ),
    ),
    "adamw": (
        Formula(
            "adamw",
            lambda: {
                "params": tree(0),
                "grads": tree(1),
                "moments": Moments(tree(2), {name: mean.square() for name, mean in tree(2).items()}, like_tree(1)),
                "lr": 0.1,
            },
            like="params",
        ),
        *refused("adamw", "lr", "be a number at least 0. Got .* 5e-5 is usual", -1e-5, inf),
        *refused("adamw", "weight_decay", AT_LEAST_0, -0.01),
        *refused("adamw", "eps", "be a number greater than 0. Got .* 1e-8 is usual", 0),
        *(
            Refusal("adamw", {"betas": betas}, "beta must be a number at least 0 and less than 1. .* 0.999 are usual")
            for betas in ((-0.1, 0.999), (0.9, 1.0))
        ),
    ),
    "binary_cross_entropy": (
        Formula(
            "binary_cross_entropy",
            lambda: {"logits": draw(8, 3), "labels": (draw(8, 3, seed=1) > 0).float()},
            like="logits",
            scalar=True,
            devices=("cpu",),
        ),
        *(
            Refusal(
                "binary_cross_entropy",
                {"logits": torch.zeros(logits), "labels": torch.zeros(labels)},
                r"labels must have the shape \(N, C\) of the logits",
            )
            for logits, labels in (((3,), (3,)), ((3, 2), (3,)), ((3, 2), (3, 1)), ((3, 2), (2, 2)), ((0, 2), (0, 2)))
        ),
        *(
            Refusal(
                "binary_cross_entropy",
                {"logits": torch.zeros(1, 2), "labels": torch.tensor([[low, high]])},
                f"labels must lie from 0 to 1. Got {low:g} to {high:g}. Give 1 where a label applies",
            )
            for low, high in ((-0.5, 1), (0, 1.5), (0, 2))
        ),
    ),
    "bitfit": (
        Formula("bitfit", lambda: {"roles": {"a.weight": "weight", "a.bias": "bias"}, "head": ["a.weight"]}),
        Value("BitFit", (Prepare,), default="BitFit()"),
    ),
    "child_tuning": (
        Formula(
            "child_tuning",
            lambda: {"grads": tree(0), "share": 0.5, "generator": seeded()},
            like="grads",
            neutral=({"share": 1},),
        ),
        Formula("child_network", lambda: {"fisher": tree(0), "share": 0.5}, more=({"share": 1},)),
        Value("ChildTuningF", (GradientRule,), ("ChildTuningF(0.5)",), "ChildTuningF(share=0.3)"),
        Value("ChildTuningD", (GradientRule,), ("ChildTuningD()", "ChildTuningD(0.5, 9, ('a', 'b.*'))")),
        *refused(
            "child_tuning child_network ChildTuningF ChildTuningD",
            "share",
            "be a number greater than 0 and at most 1. Got .* 0.3 is usual, 1 switches it off",
            *(0, -0.1, 1.1, nan, "0.3", None, True),
        ),
        *refused("ChildTuningD", "samples", "be a whole number of at least 1. Got .* 128 rows", 0, -1, 1.5, "9"),
    ),
    "clip_norm": (
        Formula("clip_norm", lambda: {"grads": tree(), "max_norm": 0.1}, like="grads", neutral=({"max_norm": inf},)),
        Value("ClipNorm", (GradientRule,), ("ClipNorm(0.5)",), "ClipNorm(max_norm=1.0)"),
        *refused(
            "clip_norm ClipNorm",
            "max_norm",
            "be a number greater than 0. Got .* 1.0 is usual, inf switches it off",
            *NOT_POSITIVE,
        ),
    ),
    "clip_rate": (
        Formula(
            "clip_rate",
            lambda: {"lr": 0.1, "low": 0.2, "high": 0.3},
            like="lr",
            neutral=tuple({"lr": lr, "low": 0, "high": inf} for lr in (0.0, 5e-324, 1e-5, 0.1, 1e300)),
        ),
        Value("ClipRate", (Schedule,), ("ClipRate(0, inf)",)),
        *refused("clip_rate", "lr", AT_LEAST_0, -0.1, nan),
        *refused("clip_rate ClipRate", "low", f"{AT_LEAST_0} .* 0 sets no lower bound", -1.0, inf, True, "0"),
        *refused("clip_rate ClipRate", "high", f"{AT_LEAST_0} .* inf sets no upper bound", nan, -1.0, None),
        *(
            Refusal(
                by, {"low": 0.5, "high": 0.25}, "low must be at most high, 0.25. Got 0.5. Give the lower bound first"
            )
            for by in ("clip_rate", "ClipRate")
        ),
    ),
    "clip_value": (
        Formula("clip_value", lambda: {"grads": tree(), "bound": 0.1}, like="grads", neutral=({"bound": inf},)),
        Value("ClipValue", (GradientRule,), ("ClipValue(0.5)",)),
        *refused(
            "clip_value ClipValue",
            "bound",
            "be a number greater than 0. Got .* 0.01 is a first try, inf switches it off",
            *NOT_POSITIVE,
        ),
    ),
    "clip_weights": (
        Formula(
            "clip_weights",
            lambda: {"params": tree(0), "bound": 0.1, "origin": tree(1)},
            like="params",
            neutral=({"bound": inf}, {"bound": inf, "origin": None}),
            more=({"origin": None}, {"origin": {}}),
        ),
        Value("ClipWeights", (Project,), ("ClipWeights(0.001)", "ClipWeights(inf, 'zero', ('*.weight', '*.bias'))")),
        *refused(
            "clip_weights ClipWeights",
            "bound",
            "be a number greater than 0. Got .* 0.001 is a first try, inf switches it off",
            *NOT_POSITIVE,
        ),
        *refused("ClipWeights", "around", "be one of 'origin', 'zero'. Got", "0", "", None),
        Refusal(
            "clip_weights",
            {"params": {"w": torch.ones(3)}, "origin": {"w": torch.ones(1)}},
            r"origin of w must have its parameter's shape. Got \(1,\) beside",
        ),
    ),
    "contrastive": (
        Formula(
            "contrastive",
            lambda: {"vectors": draw(10, 6), "labels": torch.arange(10) % 4, "temperature": 0.3},
            like="vectors",
            scalar=True,
            devices=("cpu",),
        ),
        Loss("SupervisedContrastive", {"weight": 0.5}),
        *(
            Refusal(
                "contrastive",
                {"vectors": torch.zeros(vectors), "labels": labels},
                f"labels must be whole numbers of shape .* Got .*{got}",
            )
            for vectors, labels, got in (
                ((3,), torch.zeros(3).long(), r"\(3,\) beside \(3,\)"),
                ((3, 2), torch.zeros(2).long(), r"\(2,\) beside \(3, 2\)"),
                ((3, 2), torch.zeros(3), "torch.float32"),
                ((0, 2), torch.zeros(0).long(), r"\(0,\) beside \(0, 2\)"),
            )
        ),
        *refused(
            "contrastive SupervisedContrastive",
            "temperature",
            "be a number greater than 0. Got .* 0.3 is usual",
            *(0, -1.0, inf, nan, "2", True),
        ),
        *refused("SupervisedContrastive", "weight", FROM_0_TO_1, -0.1, 1.1, nan, "1", True),
    ),
    "contextual_calibration": (
        Formula(
            "contextual_calibration",
            lambda: {"log_probs": draw(8, 5), "prior": draw(3, 5, seed=1)},
            like="log_probs",
        ),
        *(
            Refusal(
                "contextual_calibration",
                {"log_probs": torch.zeros(shape), "prior": torch.zeros(prior)},
                "log_probs and prior must have the same labels. Got",
            )
            for shape, prior in (((3,), (1, 3)), ((2, 3), (3,)), ((2, 3), (1, 2)), ((2, 3), (0, 3)))
        ),
    ),
    "cross_entropy": (
        Formula(
            "cross_entropy",
            lambda: {
                "logits": LOGITS.clone(),
                "labels": LABELS.clone(),
                "weight": draw(5, dtype=torch.double).abs(),
                "smoothing": 0.1,
            },
            like="logits",
            scalar=True,
            cast=("logits",),
            devices=("cpu",),
        ),
        *bad_labels("cross_entropy", "logits"),
        *bad_class_weights("cross_entropy"),
        *refused("cross_entropy", "smoothing", FROM_0_TO_1, -0.1, 1.1, nan, "0.1", True),
    ),
    "cubic_sparsity": (
        Formula("cubic_sparsity", lambda: {"step": 1, "steps": 10, "final": 0.5, "begin": 0.1, "end": 0.7}),
        *bad_ramp("cubic_sparsity"),
        *refused("cubic_sparsity", "step", "be a whole number of at least 0. Got", -1, 1.5),
        *refused("cubic_sparsity", "steps", "be a whole number of at least 1. Got", 0),
        *refused("cubic_sparsity", "final", FROM_0_TO_1, 1.5, None),
    ),
    "decay": (
        Formula(
            "decay",
            lambda: {"lr": 0.1, "gamma": 0.5, "steps": 3},
            like="lr",
            neutral=({"gamma": 1, "steps": 1000}, {"steps": 0}, {"lr": 0}),
        ),
        Value("Decay", (Schedule,), ("Decay(1e-05, 'step')", "Decay(2, 'epoch')")),
        *refused("decay", "lr", AT_LEAST_0, -0.1, inf),
        *refused("decay", "gamma", "be a number greater than 0. Got .* 0.9 per epoch is usual", 0, -0.9),
        *refused("decay", "steps", "be a whole number of at least 0. Got .* Count the steps from 0", -1, 1.5),
        *refused("Decay", "gamma", "be a number greater than 0. Got", 0, -1.0, inf, nan, "0.9", True),
        *refused("Decay", "per", "be one of 'epoch', 'step'. Got", "batch", "", None),
    ),
    "distill": (
        Formula(
            "distill",
            lambda: {
                "student": draw(8, 5),
                "teacher": draw(8, 5, seed=1),
                "labels": torch.arange(8) % 5,
                "temperature": 2.0,
                "alpha": 0.5,
            },
            like="student",
            scalar=True,
            cast=("student",),
            devices=("cpu",),
        ),
        Loss("Distill", {"teacher": "minilm"}),
        *bad_labels("distill", "student", "teacher"),
        *(
            Refusal(
                "distill",
                {"student": torch.zeros(3, 2), "teacher": torch.zeros(shape), "labels": torch.zeros(3).long()},
                r"teacher must have the shape of student, \(N, C\). Got",
            )
            for shape in ((3, 3), (2, 2))
        ),
        *refused(
            "distill Distill",
            "temperature",
            "be a number greater than 0. Got .* 2.0 is usual",
            *(0, -1.0, inf, nan, "2", True),
        ),
        *refused(
            "distill Distill",
            "alpha",
            f"{FROM_0_TO_1} .* 0.5 is usual, 0 leaves the teacher out",
            *(-0.1, 1.1, nan, "1", True),
        ),
    ),
    "ema": (
        Formula(
            "ema",
            lambda: {"mean": tree(0), "params": tree(1), "decay": 0.5},
            like="params",
            neutral=({"decay": 0}, {"mean": {}}),
        ),
        Value("EMA", (Project,), ("EMA(0)", "EMA(decay=0.99)"), "EMA(decay=0.999)"),
        *refused("ema EMA", "decay", f"{FROM_0_TO_1} .* 0.999 is usual, 0 keeps the last weights", *NO_SHARE),
    ),
    "ewc": (
        Formula(
            "ewc",
            lambda: {"params": tree(0), "origin": tree(1), "fisher": tree(2, 0.1), "strength": 2.0},
            like="params",
            scalar=True,
            more=({"strength": 0},),
        ),
        Value("EWC", (Penalty,), ("EWC(2, 100)",)),
        *refused("ewc EWC", "strength", f"{AT_LEAST_0} .* 1 is a first try, 0 switches it off", -1, nan, inf),
        *refused("EWC", "samples", "be a whole number of at least 1. Got", 0),
    ),
    "fisher_information": (
        Formula(
            "fisher_information",
            lambda: {
                "model": nn.Linear(2, 2),
                "batches": [{"x": draw(3, 2), "labels": torch.tensor([0, 1, 1])}],
                "loss": lambda model, batch: nn.functional.cross_entropy(model(batch["x"]), batch["labels"]),
                "names": ["bias"],
                "samples": 3,
            },
        ),
        *refused("fisher_information", "samples", "be a whole number of at least 1. Got .* 128 is usual", *NO_COUNT),
    ),
    "focal": (
        Formula(
            "focal",
            lambda: {
                "logits": LOGITS.clone(),
                "labels": LABELS.clone(),
                "gamma": 2.0,
                "weight": draw(5, dtype=torch.double).abs(),
            },
            like="logits",
            scalar=True,
            cast=("logits",),
            devices=("cpu",),
        ),
        Loss("Focal"),
        *bad_labels("focal", "logits"),
        *bad_class_weights("focal"),
        Refusal(
            "focal",
            {"logits": torch.zeros(3, 1), "labels": torch.zeros(3).long(), "weight": None},
            r"logits must have at least two columns. Got \(3, 1\). Give one column",
        ),
        *refused(
            "focal Focal", "gamma", f"{AT_LEAST_0} .* 2.0 is usual, 0 is cross-entropy", *(-0.1, inf, nan, "2", True)
        ),
    ),
    "free_lb": (
        Formula(
            "free_lb",
            lambda: {"loss": lambda delta: delta.square().sum(), "start": draw(4, 2, 5), "step_size": 0.3},
            like="start",
            scalar=True,
            devices=("cpu",),
        ),
        Loss("FreeLB", text="FreeLB(steps=2, step_size=0.1, magnitude=0.0)"),
        *refused("free_lb FreeLB", "step_size", AT_LEAST_0, -0.1, inf, nan, "1", True),
        *refused("free_lb FreeLB", "steps", "be a whole number of at least 1. Got", 0, -1, 1.5, "2", True),
        *refused("free_lb", "start", r"have the shape \(N, ...\). Got \(3,\)", torch.zeros(3)),
        *refused("FreeLB", "magnitude", AT_LEAST_0, -1.0),
    ),
    "freeze": (
        Formula("freeze", lambda: {"names": ["layer.1.weight", "layer.10.weight"], "pattern": "layer.1.*"}),
        Value("Freeze", (Prepare,), ("Freeze(('a.*', 'b'))",)),
    ),
    "gradient_descent": (
        Formula(
            "gradient_descent",
            lambda: {"params": tree(0), "grads": tree(1), "lr": 0.1},
            like="params",
            neutral=({"lr": 0}, {"grads": {}}),
        ),
        *refused("gradient_descent", "lr", f"{AT_LEAST_0} .* plain descent", *NEGATIVE),
    ),
    "gradual_unfreezing": (
        Formula(
            "gradual_unfreezing",
            lambda: {"grads": tree(), "depths": {"weight": 0, "bias": 1, "scale": 2}, "groups": 3},
            like="grads",
            neutral=({"groups": 3},),
            shares=True,
        ),
        Value(
            "GradualUnfreezing",
            (GradientRule,),
            ("GradualUnfreezing(0)", "GradualUnfreezing(0.25)"),
            "GradualUnfreezing(epochs_per_layer=1.0)",
        ),
        *refused("GradualUnfreezing", "epochs_per_layer", AT_LEAST_0, -1, nan, inf, "1", None, True),
        *refused("gradual_unfreezing", "groups", "be a whole number of at least 0. Got", -1, 1.5, None, True),
        *refused("gradual_unfreezing", "depths", "hold every name of grads. Got none of bias", {"weight": 0}),
    ),
    "head_first": (
        Formula(
            "head_first",
            lambda: {"grads": tree(), "body": {"weight"}, "step": 1, "alone": 1},
            like="grads",
            neutral=({"alone": 0},),
            shares=True,
        ),
        Value("HeadFirst", (GradientRule,)),
        *refused("HeadFirst", "share", FROM_0_TO_1, -0.1, 1.1, nan, "half"),
    ),
    "interpolate": (
        Formula(
            "interpolate",
            lambda: {"origin": tree(0), "params": tree(1), "alpha": 0.5},
            like="params",
            neutral=({"alpha": 1}, {"origin": {}}),
            more=({"alpha": 0},),
        ),
        Value("Interpolate", (Finish,), ("Interpolate(1)", "Interpolate(alpha=0.25)"), "Interpolate(alpha=0.5)"),
        *refused("interpolate Interpolate", "alpha", f"{FROM_0_TO_1} .* 1 keeps the trained weights", *NO_SHARE),
    ),
    "l1_penalty": (
        Formula("l1_penalty", lambda: {"params": tree(), "strength": 0.7}),
        Value("L1Penalty", (Penalty,), ("L1Penalty(0, ('a.*', 'b'))",)),
        *refused(
            "l1_penalty L1Penalty", "strength", f"{AT_LEAST_0} .* 1e-4 is a first try, 0 switches it off", *NEGATIVE
        ),
    ),
    "l2_penalty": (
        Formula("l2_penalty", lambda: {"params": tree(), "strength": 0.7}),
        Value("L2Penalty", (Penalty,), ("L2Penalty(0, ('a.*', 'b'))",)),
        *refused("l2_penalty L2Penalty", "strength", f"{AT_LEAST_0} .* 0.01 is usual, 0 switches it off", *NEGATIVE),
    ),
    "l2_sp": (
        Formula(
            "l2_sp",
            lambda: {"params": tree(0), "origin": {"weight": tree(1)["weight"]}, "strength": 1.0, "head_strength": 1.0},
            more=({"strength": 0.0, "head_strength": 0.0},),
        ),
        Value("L2SP", (Penalty,)),
        *refused("l2_sp L2SP", "strength", AT_LEAST_0, -1, nan, inf, "a"),
        *refused("l2_sp L2SP", "head_strength", AT_LEAST_0, -1, nan, inf, "a"),
    ),
    "layerwise_decay": (
        Formula(
            "layerwise_decay",
            lambda: {"rates": {"a": 0.1, "b": 1 / 3}, "depths": {"a": 0, "b": 1}, "factor": 0.5},
            like="rates",
            neutral=({"factor": 1},),
        ),
        Value("LayerwiseDecay", (Schedule,), ("LayerwiseDecay(1)",), "LayerwiseDecay(factor=0.95)"),
        *refused(
            "layerwise_decay LayerwiseDecay",
            "factor",
            "be a number greater than 0 and at most 1. Got .* 0.95 is usual, 1 switches it off",
            *(0, -0.5, 1.1, nan, inf, "0.9", True),
        ),
        *(
            Refusal("layerwise_decay", {"rates": rates, "depths": depths}, message)
            for rates, depths, message in (
                ({"a": 1.0}, {"b": 0}, "depths must hold every name of rates. Got none of a. Take them from"),
                ({"a": -1.0}, {"a": 0}, "rate of a must be a number at least 0. Got -1.0"),
                ({"a": 1.0}, {"a": -1}, "depth of a must be a whole number of at least 0. Got -1"),
                ({"a": 1.0}, {"a": 0, "b": 0.5}, "depth of b must be a whole number of at least 0. Got 0.5"),
            )
        ),
    ),
    "lion": (
        Formula(
            "lion",
            lambda: {"params": tree(0), "grads": tree(1), "momentum": tree(2), "lr": 0.1, "weight_decay": 0.1},
            like="params",
            more=({"momentum": {}},),
        ),
        *refused("lion", "lr", AT_LEAST_0, *NEGATIVE),
        *refused("lion", "weight_decay", AT_LEAST_0, -0.1, inf, None),
        *(
            Refusal("lion", {"betas": betas}, "beta must be a number at least 0 and less than 1. Got")
            for betas in ((-0.1, 0), (0.9, 1.0))
        ),
    ),
    "lora": (
        Formula(
            "lora",
            lambda: {"weight": draw(6, 5), "a": draw(2, 5, seed=1), "b": draw(6, 2, seed=2), "alpha": 8.0},
            like="weight",
            neutral=({"b": torch.zeros(6, 2)},),
        ),
        Value("LoRA", (Prepare,), ("LoRA(8, 16.0, 0.0, 'query')",)),
        *refused("LoRA", "rank", "be a whole number of at least 1", 0),
        *refused("LoRA", "alpha", "be a number greater than 0", 0, nan),
        *refused("LoRA", "dropout", "be a number at least 0 and less than 1", 1.0),
        *refused("LoRA", "targets", r"name a module. Got .* Leave it out", (), ""),
        Refusal(
            "lora",
            {"weight": torch.ones(2, 3), "a": torch.ones(1, 3), "b": torch.ones(3, 1)},
            "a and b must multiply to the shape of weight",
        ),
    ),
    "magnitude_prune": (
        Formula(
            "magnitude_prune",
            lambda: {"params": tree(), "sparsity": 0.5},
            like="params",
            neutral=({"sparsity": 0},),
            devices=("cpu",),
        ),
        Value("MagnitudePrune", (Project,), ("MagnitudePrune(0, 'matrix', 0.0, 1.0, ('a.*', 'b'))",)),
        *refused(
            "magnitude_prune MagnitudePrune",
            "sparsity",
            f"{FROM_0_TO_1} .* 0.5 is a first try, 0 switches it off",
            *(-0.1, 1.01, nan, "0.5", None, True),
        ),
        *refused("magnitude_prune MagnitudePrune", "scope", "be one of 'global', 'matrix'. Got 'all'", "all"),
        *bad_ramp("MagnitudePrune"),
    ),
    "mean_squared_error": (
        Formula(
            "mean_squared_error",
            lambda: {"predictions": draw(9), "labels": draw(9, seed=1)},
            like="predictions",
            scalar=True,
        ),
        *(
            Refusal(
                "mean_squared_error",
                {"predictions": torch.zeros(predictions), "labels": torch.zeros(labels)},
                r"labels must have the shape \(N,\) of the predictions, N at least 1. Got .* beside",
            )
            for predictions, labels in (
                ((3, 1), (3,)),
                ((3,), (3, 1)),
                ((3, 1), (3, 1)),
                ((3,), (1,)),
                ((), ()),
                ((0,), (0,)),
            )
        ),
    ),
    "mixout": (
        Formula(
            "mixout",
            lambda: {"weight": draw(5, 8), "origin": draw(5, 8, seed=1), "probability": 0.5, "generator": seeded()},
            like="weight",
            neutral=({"probability": 0},),
        ),
        Value("Mixout", (Prepare,), ("Mixout(0.7, ('*.dense.weight', 'a'))", "Mixout(0, pattern='x.*')")),
        *refused(
            "mixout Mixout",
            "probability",
            "be a number at least 0 and less than 1. Got .* 0.9 is usual, 0 switches it off; with 1 noth",
            *(-0.1, 1, 1.5, nan, "0.9", None, True),
        ),
        *refused("mixout", "origin", r"have the shape of weight. Got \(5, 1\) beside \(5, 8\)", torch.ones(5, 1)),
    ),
    "movement_prune": (
        Formula(
            "movement_scores",
            lambda: {"scores": tree(0), "params": tree(1), "grads": tree(2)},
            like="scores",
            neutral=({"grads": {}},),
            devices=("cpu",),
        ),
        Formula(
            "movement_prune",
            lambda: {"params": tree(0), "scores": tree(1), "sparsity": 0.5},
            like="params",
            neutral=({"sparsity": 0},),
            devices=("cpu",),
        ),
        Value("MovementPrune", (Project,), ("MovementPrune(0, 'global', 0.0, 1.0, ('a.*', 'b'))",)),
        *refused(
            "movement_prune MovementPrune",
            "sparsity",
            f"{FROM_0_TO_1} .* 0.5 is a first try, 0 switches it off",
            *(-0.1, 1.01, nan, "0.5", None, True),
        ),
        *refused("movement_prune MovementPrune", "scope", "be one of 'matrix', 'global'. Got 'all'", "all"),
        *bad_ramp("MovementPrune"),
        *refused("movement_scores", "lr", "be a number greater than 0", 0),
    ),
    "neftune": (
        Formula(
            "neftune",
            lambda: {"embedded": draw(3, 7, 16), "alpha": 5.0, "generator": seeded()},
            like="embedded",
            neutral=({"alpha": 0},),
            more=({"generator": None},),
        ),
        Value("NEFTune", (Prepare,), ("NEFTune(0)", "NEFTune(alpha=15.0)"), "NEFTune(alpha=5.0)"),
        *refused("neftune NEFTune", "alpha", f"{AT_LEAST_0} .* 5 is usual, 0 switches it off", *NEGATIVE),
    ),
    "plateau": (
        Formula(
            "plateau",
            lambda: {"lr": 0.1, "losses": [1.0] * 50, "factor": 0.5, "patience": 0, "threshold": 0.0},
            like="lr",
            neutral=({"factor": 1}, {"losses": []}),
        ),
        Value("Plateau", (Schedule,), ("Plateau(0.5, 3, 0.01)",), "Plateau(factor=0.1, patience=1, threshold=0.0001)"),
        *refused("plateau", "lr", AT_LEAST_0, -0.1),
        *refused(
            "plateau Plateau",
            "factor",
            "be a number greater than 0 and at most 1. Got .* 0.1 is usual",
            *(0, 1.5, True),
        ),
        *refused("plateau Plateau", "patience", "be a whole number of at least 0. Got", -1, 1.0, 1.5),
        *refused("plateau Plateau", "threshold", f"{FROM_0_TO_1} .* 1e-4 is usual", -0.1, nan, 2.0, "0"),
    ),
    "prior_decay": (
        Formula(
            "prior_decay",
            lambda: {"params": tree(0), "origin": tree(1), "rates": like_tree(0.1), "strength": 0.5},
            like="params",
            neutral=({"strength": 0.0}, {"rates": like_tree(0.0), "strength": 1e9}),
        ),
        Value("PriorDecay", (Project,), ("PriorDecay(0)",)),
        *refused(
            "prior_decay PriorDecay", "strength", f"{AT_LEAST_0} .* 0.01 is a first try, 0 switches it off", *NEGATIVE
        ),
        *refused(
            "prior_decay",
            "origin",
            r"have the shapes of params. Got \(1, 3\) beside \(4, 3\) for weight",
            {"weight": torch.ones(1, 3)},
        ),
    ),
    "r_drop": (
        Formula(
            "r_drop",
            lambda: {"first": draw(8, 5), "second": draw(8, 5, seed=1), "labels": torch.arange(8) % 5, "alpha": 1.0},
            like="first",
            scalar=True,
            devices=("cpu",),
        ),
        Loss("RDrop"),
        *bad_labels("r_drop", "first", "second"),
        *(
            Refusal(
                "r_drop",
                {"first": torch.zeros(3, 2), "second": torch.zeros(shape), "labels": torch.zeros(3).long()},
                r"second must have the shape of first, \(N, C\). Got",
            )
            for shape in ((3, 3), (2, 2))
        ),
        *refused(
            "r_drop RDrop", "alpha", f"{AT_LEAST_0} .* 1.0 is usual, 0 switches it off", -0.1, inf, nan, "1", True
        ),
    ),
    "rec_adam": (
        Formula("annealing", lambda: {"step": 1, "steepness": 0.1, "midpoint": 1}),
        Formula(
            "rec_adam",
            lambda: {"params": tree(0), "origin": tree(1), "rates": like_tree(0.1), "pull": 5.0, "share": 0.5},
            like="params",
            more=({"rates": like_tree(9.0)},),
        ),
        Value(
            "RecAdam", (Project, Schedule), ("RecAdam()", "RecAdam(0)", "RecAdam(1.0, inf, 0)", "RecAdam(midpoint=100)")
        ),
        *refused("rec_adam RecAdam", "pull", f"{AT_LEAST_0} .* 5000 is usual, 0 switches it off", -1.0, inf),
        *refused(
            "annealing RecAdam",
            "steepness",
            "be a number greater than 0. Got .* 0.05 to 1 are usual; inf is a jump",
            *(0, nan),
        ),
        *refused("annealing RecAdam", "midpoint", "be a whole number of at least 0. Got .* It counts updates", -1, 0.5),
        *refused("rec_adam", "share", f"{FROM_0_TO_1} 1.5. It goes", 1.5),
        *refused("annealing", "step", "be a whole number of at least 1. Got 0. Count the updates", 0),
    ),
    "redraw": (
        Formula(
            "redraw",
            lambda: {"params": tree(), "std": 0.02, "generator": seeded(), "gains": ["scale"], "biases": ["bias"]},
            like="params",
        ),
        Value("Redraw", (Prepare,), ("Redraw('pooler.*')", "Redraw(('a.*', 'b'), 1)", "Redraw('*', std=0.5)")),
        Value("RedrawTop", (Prepare,), ("RedrawTop(2, 1)",)),
        *refused("redraw Redraw RedrawTop", "std", f"{AT_LEAST_0} .* 0.02 is usual", *NEGATIVE),
        *refused("RedrawTop", "layers", "be a whole number of at least 1. Got .* 1 or 2 of six", 0, -1, 1.5, "1", None),
    ),
    "reinit": (
        Formula(
            "reinit",
            lambda: {"params": tree(), "scale": 0.15, "generator": seeded()},
            like="params",
            neutral=({"scale": 0},),
        ),
        Value("Reinit", (Prepare,), ("Reinit(0, '*.weight')", "Reinit(scale=1.0, pattern=('a.*', 'b'))")),
        *refused("reinit Reinit", "scale", f"{AT_LEAST_0} .* 0.15 is usual, 0 switches it off", *NEGATIVE),
    ),
    "remove_layers": (
        Formula("layers_to_keep", lambda: {"layers": 6, "keep": 4}),
        Value("RemoveLayers", (Prepare,), ("RemoveLayers(2, 'even')",)),
    ),
    "remove_neurons": (
        Formula(
            "neuron_importance",
            lambda: {"into": draw(9, 5), "out": draw(4, 9), "grads": (draw(9, 5, seed=1), draw(4, 9, seed=1))},
            more=({"grads": None},),
        ),
        Formula("keep_neurons", lambda: {"importance": draw(9), "share": 0.5}),
        Value("RemoveNeurons", (Prepare,), ("RemoveNeurons(0)",)),
    ),
    "sam": (
        Formula(
            "sam",
            lambda: {"params": tree(0), "grads": tree(1), "rho": 0.1},
            like="params",
            neutral=({"rho": 0}, {"grads": tree(1, 0.0)}, {"grads": {}}),
        ),
        *refused("sam", "rho", f"{AT_LEAST_0} .* 0.05 is usual, 0 switches it off", *NEGATIVE),
    ),
    "sign_prune": (
        Formula(
            "sign_prune",
            lambda: {"params": tree(0), "grads": tree(1), "strength": 0.1},
            like="params",
            neutral=({"strength": 0}, {"grads": {}}),
        ),
        Value("SignPrune", (Project,), ("SignPrune(0)",)),
        *refused(
            "sign_prune SignPrune", "strength", f"{AT_LEAST_0} .* 1e-5 is a first try, 0 switches it off", *NEGATIVE
        ),
    ),
    "signum": (
        Formula(
            "signum",
            lambda: {"params": tree(0), "grads": tree(1), "momentum": tree(2), "lr": 0.1},
            like="params",
            more=({"momentum": {}},),
        ),
        *refused("signum", "lr", f"{AT_LEAST_0} .* 1e-5 is a first try", *NEGATIVE),
        *refused(
            "signum", "beta", "be a number at least 0 and less than 1. Got .* 0 is signSGD", *(-0.1, 1.0, nan, None)
        ),
    ),
    "slanted_triangular": (
        Formula(
            "slanted_triangular",
            lambda: {"lr": 0.1, "step": 2, "steps": 11, "cut": 0.3, "ratio": 32},
            like="lr",
            neutral=({"ratio": 1}, {"ratio": 1, "step": 9}, {"lr": 0}),
        ),
        Value(
            "SlantedTriangular", (Schedule,), ("SlantedTriangular(0.2, 10.0)",), "SlantedTriangular(cut=0.1, ratio=32)"
        ),
        *refused("slanted_triangular", "lr", AT_LEAST_0, -1.0),
        *refused("slanted_triangular", "steps", "be a whole number of at least 1. Got 0", 0),
        *refused("slanted_triangular", "step", "be a whole number of at least 0. Got .* below the 11 steps", -1),
        *refused("slanted_triangular", "step", "be less than steps, 11. Got 11", 11),
        *refused(
            "slanted_triangular SlantedTriangular", "cut", f"{FROM_0_TO_1} .* 0.1 is usual", *(-0.1, 1.1, nan, True)
        ),
        *refused(
            "slanted_triangular SlantedTriangular",
            "ratio",
            "be a number at least 1. Got .* 32 is usual, 1 switches it off",
            *(0.5, inf, 0, "32"),
        ),
    ),
    "smart": (
        Formula(
            "smart",
            lambda: {
                "scores": lambda delta: delta @ draw(5, 3, seed=2).to(delta),
                "clean": draw(4, 3),
                "noise": draw(4, 5, seed=1),
            },
            like="clean",
            scalar=True,
            devices=("cpu",),
        ),
        Loss("Smart", text="Smart(strength=1.0, radius=0.01, step=0.01, noise=0.001)"),
        *refused("smart Smart", "radius", AT_LEAST_0, -0.1, inf, nan, "1", True),
        *refused("smart Smart", "step", AT_LEAST_0, -0.1, inf, nan, "1", True),
        *refused("Smart", "strength", AT_LEAST_0, -1.0),
        *refused("Smart", "noise", "be a number greater than 0. Got 0", 0),
        *(
            Refusal(
                "smart",
                {"clean": torch.zeros(clean), "noise": torch.zeros(noise)},
                r"noise must have one entry for each row of clean.* Got \(",
            )
            for clean, noise in (
                ((2, 3), (3, 5)),
                ((3,), (3, 5)),
                ((3, 2), (3,)),
                ((0, 2), (0, 5)),
                ((2, 2, 2), (2, 5)),
            )
        ),
    ),
    "soft_threshold": (
        Formula(
            "soft_threshold",
            lambda: {"params": tree(), "strengths": 0.1},
            like="params",
            neutral=({"strengths": 0}, {"strengths": {}}),
            more=({"strengths": {"weight": 0.1, "scale": 0.0}},),
        ),
        Value("SoftThreshold", (Project,), ("SoftThreshold(0, ('a.*', 'b'))",)),
        *(
            Refusal("soft_threshold", {"strengths": strengths}, f"strength must {AT_LEAST_0} .* 0.01 is a first try")
            for bad in NEGATIVE
            for strengths in (bad, {"bias": bad})
        ),
        *refused("SoftThreshold", "strength", f"{AT_LEAST_0} .* 0.01 is a first try, 0 switches it off", *NEGATIVE),
    ),
    "soup": (
        Formula("uniform_soup", lambda: {"sets": [tree(seed) for seed in range(3)]}, more=({"sets": [tree(0)]},)),
        *refused("uniform_soup", "sets", "hold at least one set of parameters. Got none", []),
        *refused(
            "uniform_soup",
            "sets",
            "have the same names and shapes. Got bias in set 2. Average models of one architecture",
            [tree(0), {name: tensor for name, tensor in tree(1).items() if name != "bias"}],
            [tree(0), tree(1) | {"bias": torch.ones(1)}],  # torch would broadcast the one entry
        ),
        *refused(
            "uniform_soup",
            "sets",
            "have the same names and shapes. Got more in set 3",
            [tree(0), tree(1), tree(2) | {"more": torch.ones(1)}],
        ),
    ),
    "step_decay": (
        Formula(
            "step_decay",
            lambda: {"lr": 0.1, "gamma": 0.5, "epoch": 3, "every": 2},
            like="lr",
            neutral=({"gamma": 1}, {"epoch": 0}, {"epoch": 1}, {"lr": 0}),
        ),
        Value("StepDecay", (Schedule,), ("StepDecay(0.5, every=1)",)),
        *refused("step_decay", "lr", AT_LEAST_0, -0.1),
        *refused(
            "step_decay StepDecay",
            "gamma",
            "be a number greater than 0. Got .* 0.1 is usual, 1 switches it off",
            *(0, nan, -1.0, "0.9", True),
        ),
        *refused("step_decay", "epoch", "be a whole number of at least 0. Got .* Count the epochs from 0", -1, 1.5),
        *refused(
            "step_decay StepDecay",
            "every",
            "be a whole number of at least 1. Got .* 1 is a step after every epoch",
            0,
            1.0,
        ),
    ),
    "swa": (
        Formula(
            "swa", lambda: {"mean": tree(0), "params": tree(1), "count": 1}, like="params", neutral=({"count": 0},)
        ),
        Value("SWA", (Project,), ("SWA(0)", "SWA(0.5, every=10)"), "SWA(start_at=0.75, every=1)"),
        *refused("swa", "count", "be a whole number of at least 0. Got .* Count the sets", -1, 1.0, "1", None, True),
        *refused("SWA", "start_at", f"{FROM_0_TO_1} .* 0.75 is usual", -0.1, 1.1, nan, "0.5", None),
        *refused(
            "SWA",
            "every",
            "be a whole number of at least 1. Got .* 1 takes the weights after every update",
            0,
            -1,
            1.5,
            "1",
        ),
    ),
    "warmup": (
        Formula("warmup_linear", lambda: {"lr": 1.0, "step": 0, "steps": 5, "warmup_steps": 1}),
        Formula("warmup_cosine", lambda: {"lr": 1.0, "step": 0, "steps": 5, "warmup_steps": 1}),
        Value("WarmupLinear", (Schedule,), ("WarmupLinear(0.25)",), "WarmupLinear(warmup=0.1)"),
        Value("WarmupCosine", (Schedule,), ("WarmupCosine(0.25)",), "WarmupCosine(warmup=0.1)"),
        *refused("warmup_linear warmup_cosine", "lr", AT_LEAST_0, -1.0, nan),
        *(
            Refusal(by, {"steps": 0, "warmup_steps": 0}, "steps must be a whole number of at least 1. Got 0")
            for by in ("warmup_linear", "warmup_cosine")
        ),
        *refused(
            "warmup_linear warmup_cosine",
            "step",
            "be a whole number of at least 0. Got .* It lies below the 5 steps",
            *(-1, 1.0),
        ),
        *refused("warmup_linear warmup_cosine", "step", "be less than steps, 5. Got 5. Count the updates from 0", 5),
        *refused("warmup_linear warmup_cosine", "warmup_steps", "be a whole number of at least 0. Got -1", -1),
        *refused("warmup_linear warmup_cosine", "warmup_steps", "be less than steps, 5. Got 5", 5),
        *refused(
            "WarmupLinear WarmupCosine",
            "warmup",
            f"{FROM_0_TO_1} .* a tenth of the updates",
            *(-0.1, 1.1, 10, nan, "0.1", True),
        ),
    ),
    "weight_decay": (
        Formula(
            "weight_decay",
            lambda: {"params": tree(), "rates": like_tree(0.1), "strength": 0.5},
            like="params",
            neutral=({"strength": 0.0}, {"rates": like_tree(0.0)}, {"rates": {}}),
            more=({"rates": {"weight": 0.1, "scale": 0.0}},),
        ),
        Value("WeightDecay", (Project,), ("WeightDecay(0, ('a.*', 'b'))",)),
        *refused(
            "weight_decay WeightDecay", "strength", f"{AT_LEAST_0} .* 0.01 is usual, 0 switches it off", *NEGATIVE
        ),
        *(Refusal("weight_decay", {"rates": {"bias": bad}}, "lr must be a number at least 0. Got") for bad in NEGATIVE),
    ),
}
