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
    from ftlab.behaviour import check_behaviour, check_similarity
    from ftlab.comparing import compare
    from ftlab.data import load_data, load_pairs
    from ftlab.docstrings import formula
    from ftlab.errors import Diverged, Interrupted, Misused, Refused
    from ftlab.exercises import check
    from ftlab.explorer import explore, slider
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
    from ftlab.steps import SAM
    from ftlab.training import begin, finish, step
    from ftlab.trying import trial

__version__ = "0.1.0"

# In the order in which a reader meets them. Nothing is imported before it is asked for.
_MODULES = {
    "data": "load_data load_pairs",
    "models": "load_model",
    "procedure": "finetune",
    "inference": "evaluate predict embed",
    "behaviour": "check_behaviour check_similarity",
    "training": "begin step finish",
    "recipe": "explain parse",
    "formulas": """
        Reinit Redraw RedrawTop NEFTune Mixout LoRA BitFit Freeze HeadFirst GradualUnfreezing
        L1Penalty L2Penalty L2SP EWC ClipNorm ClipValue ChildTuningF ChildTuningD
        Decay StepDecay WarmupLinear WarmupCosine SlantedTriangular Plateau LayerwiseDecay ClipRate
        SignPrune SoftThreshold MagnitudePrune MovementPrune RemoveNeurons RemoveLayers ClipWeights
        WeightDecay PriorDecay RecAdam Interpolate EMA SWA
    """,
    "steps": "SAM",
    "losses": """
        CrossEntropy BinaryCrossEntropy MeanSquaredError Focal RDrop Distill SupervisedContrastive Smart FreeLB
    """,
    "comparing": "compare",
    "trying": "trial",
    "range_test": "find_rate",
    "soups": "soup greedy_soup",
    "docstrings": "formula",
    "rule": "Prepare Penalty GradientRule Schedule Project Finish",
    "explorer": "explore slider",
    "exercises": "check",
    "health": "doctor",
    "errors": "Refused Misused Diverged Interrupted",
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
