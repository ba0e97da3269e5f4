"""A fine-tuning laboratory: every formula is code you can run, every claim an experiment with a verdict.

>>> import ftlab
>>> data = ftlab.load_data("reviews")
>>> model = ftlab.load_model("minilm", data)
>>> data["train"], data["test"] = data["train"].select(range(64)), data["test"].select(range(50))  # to be quick
>>> run = ftlab.finetune(model, data, epochs=1, progress=False)
>>> prediction = run.predict(["a quiet little gem"])[0]
>>> prediction["label"] in ("negative", "positive")
True
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftlab.data.load import load_data, load_pairs
    from ftlab.diagnostics import doctor
    from ftlab.display.explorer import explore, slider
    from ftlab.display.formula_card import formula
    from ftlab.errors import ArgumentError, DivergenceError, InputError, InterruptionError
    from ftlab.evaluation.behaviour import check_behaviour, check_similarity
    from ftlab.evaluation.inference import embed, evaluate, predict
    from ftlab.evaluation.zero_shot import zero_shot
    from ftlab.exercises.checking import check
    from ftlab.experiments.compare import compare
    from ftlab.experiments.lr_range import find_lr
    from ftlab.experiments.soups import greedy_soup, soup
    from ftlab.experiments.trial import trial
    from ftlab.formulas.bitfit import BitFit
    from ftlab.formulas.child_tuning import ChildTuningD, ChildTuningF
    from ftlab.formulas.clip_norm import ClipNorm
    from ftlab.formulas.clip_rate import ClipRate
    from ftlab.formulas.clip_value import ClipValue
    from ftlab.formulas.clip_weights import ClipWeights
    from ftlab.formulas.decay import Decay
    from ftlab.formulas.ema import EMA
    from ftlab.formulas.ewc import EWC
    from ftlab.formulas.freeze import Freeze
    from ftlab.formulas.gradual_unfreezing import GradualUnfreezing
    from ftlab.formulas.head_first import HeadFirst
    from ftlab.formulas.interpolate import Interpolate
    from ftlab.formulas.l1_penalty import L1Penalty
    from ftlab.formulas.l2_penalty import L2Penalty
    from ftlab.formulas.l2_sp import L2SP
    from ftlab.formulas.layerwise_decay import LayerwiseDecay
    from ftlab.formulas.lora import LoRA
    from ftlab.formulas.magnitude_prune import MagnitudePrune
    from ftlab.formulas.mixout import Mixout
    from ftlab.formulas.movement_prune import MovementPrune
    from ftlab.formulas.neftune import NEFTune
    from ftlab.formulas.plateau import Plateau
    from ftlab.formulas.prior_decay import PriorDecay
    from ftlab.formulas.rec_adam import RecAdam
    from ftlab.formulas.redraw import Redraw, RedrawTop
    from ftlab.formulas.reinit import Reinit
    from ftlab.formulas.remove_layers import RemoveLayers
    from ftlab.formulas.remove_neurons import RemoveNeurons
    from ftlab.formulas.sign_prune import SignPrune
    from ftlab.formulas.slanted_triangular import SlantedTriangular
    from ftlab.formulas.soft_threshold import SoftThreshold
    from ftlab.formulas.step_decay import StepDecay
    from ftlab.formulas.swa import SWA
    from ftlab.formulas.warmup import WarmupCosine, WarmupLinear
    from ftlab.formulas.weight_decay import WeightDecay
    from ftlab.losses.adversarial import FreeLB, Smart
    from ftlab.losses.classification import BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError, RDrop
    from ftlab.losses.contrastive import SupervisedContrastive
    from ftlab.losses.distill import Distill
    from ftlab.models.load import load_model
    from ftlab.recipes.explain import explain
    from ftlab.recipes.parse import parse
    from ftlab.rule import Finish, GradientRule, Penalty, Prepare, Project, Schedule
    from ftlab.training.finetune import finetune
    from ftlab.training.loop import begin, finish, step
    from ftlab.training.sam import SAM

__version__ = "0.1.0"

# Public names by module, in the order in which a reader meets them. Each module is imported on first use.
_MODULES = {
    "data.load": "load_data load_pairs",
    "models.load": "load_model",
    "training.finetune": "finetune",
    "evaluation.inference": "evaluate predict embed",
    "evaluation.behaviour": "check_behaviour check_similarity",
    "evaluation.zero_shot": "zero_shot",
    "training.loop": "begin step finish",
    "recipes.explain": "explain",
    "recipes.parse": "parse",
    "formulas.reinit": "Reinit",
    "formulas.redraw": "Redraw RedrawTop",
    "formulas.neftune": "NEFTune",
    "formulas.mixout": "Mixout",
    "formulas.lora": "LoRA",
    "formulas.bitfit": "BitFit",
    "formulas.freeze": "Freeze",
    "formulas.head_first": "HeadFirst",
    "formulas.gradual_unfreezing": "GradualUnfreezing",
    "formulas.l1_penalty": "L1Penalty",
    "formulas.l2_penalty": "L2Penalty",
    "formulas.l2_sp": "L2SP",
    "formulas.ewc": "EWC",
    "formulas.clip_norm": "ClipNorm",
    "formulas.clip_value": "ClipValue",
    "formulas.child_tuning": "ChildTuningF ChildTuningD",
    "formulas.decay": "Decay",
    "formulas.step_decay": "StepDecay",
    "formulas.warmup": "WarmupLinear WarmupCosine",
    "formulas.slanted_triangular": "SlantedTriangular",
    "formulas.plateau": "Plateau",
    "formulas.layerwise_decay": "LayerwiseDecay",
    "formulas.clip_rate": "ClipRate",
    "formulas.sign_prune": "SignPrune",
    "formulas.soft_threshold": "SoftThreshold",
    "formulas.magnitude_prune": "MagnitudePrune",
    "formulas.movement_prune": "MovementPrune",
    "formulas.remove_neurons": "RemoveNeurons",
    "formulas.remove_layers": "RemoveLayers",
    "formulas.clip_weights": "ClipWeights",
    "formulas.weight_decay": "WeightDecay",
    "formulas.prior_decay": "PriorDecay",
    "formulas.rec_adam": "RecAdam",
    "formulas.interpolate": "Interpolate",
    "formulas.ema": "EMA",
    "formulas.swa": "SWA",
    "training.sam": "SAM",
    "losses.classification": "CrossEntropy BinaryCrossEntropy MeanSquaredError Focal RDrop",
    "losses.distill": "Distill",
    "losses.contrastive": "SupervisedContrastive",
    "losses.adversarial": "Smart FreeLB",
    "experiments.compare": "compare",
    "experiments.trial": "trial",
    "experiments.lr_range": "find_lr",
    "experiments.soups": "soup greedy_soup",
    "display.formula_card": "formula",
    "rule": "Prepare Penalty GradientRule Schedule Project Finish",
    "display.explorer": "explore slider",
    "exercises.checking": "check",
    "diagnostics": "doctor",
    "errors": "InputError ArgumentError DivergenceError InterruptionError",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ftlab' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ftlab.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
