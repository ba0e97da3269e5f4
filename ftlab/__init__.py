"""A fine-tuning laboratory: every formula is code you can run, every claim an experiment with a verdict.

>>> import ftlab
>>> data = ftlab.load_data("reviews")
>>> model = ftlab.load_model("minilm", data)
>>> data["train"], data["test"] = data["train"].select(range(64)), data["test"].select(range(50))  # a taste
>>> run = ftlab.finetune(model, data, epochs=1, progress=False)
>>> answer = run.predict(["a quiet little gem"])[0]
>>> answer["label"] in ("negative", "positive")
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
    from ftlab.exercises import check
    from ftlab.experiments.compare import compare
    from ftlab.experiments.lr_range import find_rate
    from ftlab.experiments.soups import greedy_soup, soup
    from ftlab.experiments.trial import trial
    from ftlab.formulas import (
        EMA,
        EWC,
        L2SP,
        SWA,
        BitFit,
        ChildTuningD,
        ChildTuningF,
        ClipNorm,
        ClipRate,
        ClipValue,
        ClipWeights,
        Decay,
        Freeze,
        GradualUnfreezing,
        HeadFirst,
        Interpolate,
        L1Penalty,
        L2Penalty,
        LayerwiseDecay,
        LoRA,
        MagnitudePrune,
        Mixout,
        MovementPrune,
        NEFTune,
        Plateau,
        PriorDecay,
        RecAdam,
        Redraw,
        RedrawTop,
        Reinit,
        RemoveLayers,
        RemoveNeurons,
        SignPrune,
        SlantedTriangular,
        SoftThreshold,
        StepDecay,
        WarmupCosine,
        WarmupLinear,
        WeightDecay,
    )
    from ftlab.losses import (
        BinaryCrossEntropy,
        CrossEntropy,
        Distill,
        Focal,
        FreeLB,
        MeanSquaredError,
        RDrop,
        Smart,
        SupervisedContrastive,
    )
    from ftlab.models.load import load_model
    from ftlab.recipes.parse import explain, parse
    from ftlab.rule import Finish, GradientRule, Penalty, Prepare, Project, Schedule
    from ftlab.training.finetune import finetune
    from ftlab.training.loop import begin, finish, step
    from ftlab.training.sam import SAM

__version__ = "0.1.0"

# In the order in which a reader meets them. Nothing is imported before it is asked for.
_MODULES = {
    "data.load": "load_data load_pairs",
    "models.load": "load_model",
    "training.finetune": "finetune",
    "evaluation.inference": "evaluate predict embed",
    "evaluation.behaviour": "check_behaviour check_similarity",
    "training.loop": "begin step finish",
    "recipes.parse": "explain parse",
    "formulas": """
        Reinit Redraw RedrawTop NEFTune Mixout LoRA BitFit Freeze HeadFirst GradualUnfreezing
        L1Penalty L2Penalty L2SP EWC ClipNorm ClipValue ChildTuningF ChildTuningD
        Decay StepDecay WarmupLinear WarmupCosine SlantedTriangular Plateau LayerwiseDecay ClipRate
        SignPrune SoftThreshold MagnitudePrune MovementPrune RemoveNeurons RemoveLayers ClipWeights
        WeightDecay PriorDecay RecAdam Interpolate EMA SWA
    """,
    "training.sam": "SAM",
    "losses": """
        CrossEntropy BinaryCrossEntropy MeanSquaredError Focal RDrop Distill SupervisedContrastive Smart FreeLB
    """,
    "experiments.compare": "compare",
    "experiments.trial": "trial",
    "experiments.lr_range": "find_rate",
    "experiments.soups": "soup greedy_soup",
    "display.formula_card": "formula",
    "rule": "Prepare Penalty GradientRule Schedule Project Finish",
    "display.explorer": "explore slider",
    "exercises": "check",
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
