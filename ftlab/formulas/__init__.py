"""The formulas, one file each: the pure function first, then the rule built on it."""

from ftlab.formulas.adamw import Moments, adamw
from ftlab.formulas.binary_cross_entropy import binary_cross_entropy
from ftlab.formulas.child_tuning import ChildTuningD, ChildTuningF, child_network, child_tuning
from ftlab.formulas.clip_norm import ClipNorm, clip_norm
from ftlab.formulas.clip_rate import ClipRate, clip_rate
from ftlab.formulas.clip_value import ClipValue, clip_value
from ftlab.formulas.clip_weights import ClipWeights, clip_weights
from ftlab.formulas.contrastive import contrastive
from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.formulas.decay import Decay, decay
from ftlab.formulas.distill import distill
from ftlab.formulas.ema import EMA, ema
from ftlab.formulas.focal import focal
from ftlab.formulas.free_lb import free_lb
from ftlab.formulas.gradient_descent import gradient_descent
from ftlab.formulas.interpolate import Interpolate, interpolate
from ftlab.formulas.layerwise_decay import LayerwiseDecay, layerwise_decay
from ftlab.formulas.magnitude_prune import MagnitudePrune, cubic_sparsity, magnitude_prune
from ftlab.formulas.mean_squared_error import mean_squared_error
from ftlab.formulas.mixout import Mixout, mixout
from ftlab.formulas.movement_prune import MovementPrune, movement_prune, movement_scores
from ftlab.formulas.neftune import NEFTune, neftune
from ftlab.formulas.plateau import Plateau, plateau
from ftlab.formulas.r_drop import r_drop
from ftlab.formulas.rec_adam import RecAdam, annealing, rec_adam
from ftlab.formulas.redraw import Redraw, RedrawTop, redraw
from ftlab.formulas.reinit import Reinit, reinit
from ftlab.formulas.sign_prune import SignPrune, sign_prune
from ftlab.formulas.slanted_triangular import SlantedTriangular, slanted_triangular
from ftlab.formulas.smart import smart
from ftlab.formulas.soft_threshold import SoftThreshold, soft_threshold
from ftlab.formulas.soup import mean_of
from ftlab.formulas.step_decay import StepDecay, step_decay
from ftlab.formulas.swa import SWA, swa
from ftlab.formulas.warmup import WarmupCosine, WarmupLinear, warmup_cosine, warmup_linear

__all__ = [
    "ChildTuningD",
    "ChildTuningF",
    "ClipNorm",
    "ClipRate",
    "ClipValue",
    "ClipWeights",
    "Decay",
    "EMA",
    "Interpolate",
    "LayerwiseDecay",
    "MagnitudePrune",
    "Mixout",
    "Moments",
    "MovementPrune",
    "NEFTune",
    "Plateau",
    "RecAdam",
    "Redraw",
    "RedrawTop",
    "Reinit",
    "SWA",
    "SignPrune",
    "SlantedTriangular",
    "SoftThreshold",
    "StepDecay",
    "WarmupCosine",
    "WarmupLinear",
    "adamw",
    "annealing",
    "binary_cross_entropy",
    "child_network",
    "child_tuning",
    "clip_norm",
    "clip_rate",
    "clip_value",
    "clip_weights",
    "contrastive",
    "cross_entropy",
    "cubic_sparsity",
    "decay",
    "distill",
    "ema",
    "focal",
    "free_lb",
    "gradient_descent",
    "interpolate",
    "layerwise_decay",
    "magnitude_prune",
    "mean_of",
    "mean_squared_error",
    "mixout",
    "movement_prune",
    "movement_scores",
    "neftune",
    "plateau",
    "r_drop",
    "rec_adam",
    "redraw",
    "reinit",
    "sign_prune",
    "slanted_triangular",
    "smart",
    "soft_threshold",
    "step_decay",
    "swa",
    "warmup_cosine",
    "warmup_linear",
]
