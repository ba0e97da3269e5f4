"""The formulas, one file each: the pure function first, then the rule built on it."""

from ftlab.formulas.adamw import Moments, adamw
from ftlab.formulas.binary_cross_entropy import binary_cross_entropy
from ftlab.formulas.clip_norm import ClipNorm, clip_norm
from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.formulas.decay import Decay, decay
from ftlab.formulas.gradient_descent import gradient_descent
from ftlab.formulas.mean_squared_error import mean_squared_error
from ftlab.formulas.redraw import Redraw, redraw
from ftlab.formulas.reinit import Reinit, reinit
from ftlab.formulas.sign_prune import SignPrune, sign_prune
from ftlab.formulas.warmup import WarmupCosine, WarmupLinear, warmup_cosine, warmup_linear

__all__ = [
    "ClipNorm",
    "Decay",
    "Moments",
    "Redraw",
    "Reinit",
    "SignPrune",
    "WarmupCosine",
    "WarmupLinear",
    "adamw",
    "binary_cross_entropy",
    "clip_norm",
    "cross_entropy",
    "decay",
    "gradient_descent",
    "mean_squared_error",
    "redraw",
    "reinit",
    "sign_prune",
    "warmup_cosine",
    "warmup_linear",
]
