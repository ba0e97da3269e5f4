"""A fine-tuning laboratory: every formula is code you can run, every claim an experiment with a verdict.

>>> import ftlab
>>> data = ftlab.load_data("reviews")
>>> model = ftlab.load_model("minilm", data)
>>> data["train"] = data["train"].select(range(64))  # a taste, to be quick
>>> run = ftlab.finetune(model, data, epochs=1, progress=False)
>>> answer = run.predict(["a quiet little gem"])[0]
>>> answer["label"] in ("negative", "positive")
True
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftlab.comparing import compare
    from ftlab.data import load_data, load_pairs
    from ftlab.errors import Diverged, Interrupted, Misused, Refused
    from ftlab.formulas import (
        EMA,
        EWC,
        L2SP,
        SWA,
        ChildTuningD,
        ChildTuningF,
        ClipNorm,
        ClipRate,
        ClipValue,
        ClipWeights,
        Decay,
        Freeze,
        HeadFirst,
        Interpolate,
        LayerwiseDecay,
        LoRA,
        MagnitudePrune,
        Mixout,
        MovementPrune,
        NEFTune,
        Plateau,
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
    )
    from ftlab.health import doctor
    from ftlab.inference import embed, evaluate, predict
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
    from ftlab.models import load_model
    from ftlab.procedure import finetune
    from ftlab.range_test import find_rate
    from ftlab.recipe import explain, parse
    from ftlab.rule import Finish, GradientRule, Penalty, Prepare, Project, Schedule
    from ftlab.soups import greedy_soup, soup
    from ftlab.training import begin, finish, step
    from ftlab.trying import trial

__version__ = "0.1.0"

# In the order in which a reader meets them. Nothing is imported before it is asked for.
_HOME = {
    "load_data": "data",
    "load_pairs": "data",
    "load_model": "models",
    "finetune": "procedure",
    "evaluate": "inference",
    "predict": "inference",
    "embed": "inference",
    "begin": "training",
    "step": "training",
    "finish": "training",
    "explain": "recipe",
    "parse": "recipe",
    "Reinit": "formulas",
    "Redraw": "formulas",
    "ClipNorm": "formulas",
    "Decay": "formulas",
    "WarmupLinear": "formulas",
    "WarmupCosine": "formulas",
    "SignPrune": "formulas",
    "ChildTuningD": "formulas",
    "ChildTuningF": "formulas",
    "ClipRate": "formulas",
    "ClipValue": "formulas",
    "ClipWeights": "formulas",
    "EMA": "formulas",
    "EWC": "formulas",
    "Freeze": "formulas",
    "HeadFirst": "formulas",
    "Interpolate": "formulas",
    "L2SP": "formulas",
    "LayerwiseDecay": "formulas",
    "LoRA": "formulas",
    "MagnitudePrune": "formulas",
    "Mixout": "formulas",
    "MovementPrune": "formulas",
    "NEFTune": "formulas",
    "RemoveNeurons": "formulas",
    "Plateau": "formulas",
    "RecAdam": "formulas",
    "RedrawTop": "formulas",
    "RemoveLayers": "formulas",
    "SlantedTriangular": "formulas",
    "SoftThreshold": "formulas",
    "StepDecay": "formulas",
    "SWA": "formulas",
    "CrossEntropy": "losses",
    "BinaryCrossEntropy": "losses",
    "MeanSquaredError": "losses",
    "Focal": "losses",
    "RDrop": "losses",
    "Distill": "losses",
    "SupervisedContrastive": "losses",
    "Smart": "losses",
    "FreeLB": "losses",
    "compare": "comparing",
    "trial": "trying",
    "find_rate": "range_test",
    "soup": "soups",
    "greedy_soup": "soups",
    "Prepare": "rule",
    "Penalty": "rule",
    "GradientRule": "rule",
    "Schedule": "rule",
    "Project": "rule",
    "Finish": "rule",
    "doctor": "health",
    "Refused": "errors",
    "Misused": "errors",
    "Diverged": "errors",
    "Interrupted": "errors",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ftlab' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ftlab.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
