"""The formulas, one file each: the pure function first, then the rule built on it."""

from ftlab.formulas.adabound import adabound
from ftlab.formulas.adamw import Moments, adamw
from ftlab.formulas.binary_cross_entropy import binary_cross_entropy
from ftlab.formulas.bitfit import BitFit, bitfit
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
from ftlab.formulas.ewc import EWC, ewc
from ftlab.formulas.focal import focal
from ftlab.formulas.free_lb import free_lb
from ftlab.formulas.freeze import Freeze, freeze
from ftlab.formulas.gradient_descent import gradient_descent
from ftlab.formulas.gradual_unfreezing import GradualUnfreezing, gradual_unfreezing
from ftlab.formulas.head_first import HeadFirst, head_first
from ftlab.formulas.interpolate import Interpolate, interpolate
from ftlab.formulas.l1_penalty import L1Penalty, l1_penalty
from ftlab.formulas.l2_penalty import L2Penalty, l2_penalty
from ftlab.formulas.l2_sp import L2SP, l2_sp
from ftlab.formulas.layerwise_decay import LayerwiseDecay, layerwise_decay
from ftlab.formulas.lion import lion
from ftlab.formulas.lora import LoRA, lora
from ftlab.formulas.magnitude_prune import MagnitudePrune, cubic_sparsity, magnitude_prune
from ftlab.formulas.mean_squared_error import mean_squared_error
from ftlab.formulas.mixout import Mixout, mixout
from ftlab.formulas.movement_prune import MovementPrune, movement_prune, movement_scores
from ftlab.formulas.neftune import NEFTune, neftune
from ftlab.formulas.neuron_importance import RemoveNeurons, keep_neurons, neuron_importance
from ftlab.formulas.plateau import Plateau, plateau
from ftlab.formulas.prior_decay import PriorDecay, prior_decay
from ftlab.formulas.r_drop import r_drop
from ftlab.formulas.rec_adam import RecAdam, annealing, rec_adam
from ftlab.formulas.redraw import Redraw, RedrawTop, redraw
from ftlab.formulas.reinit import Reinit, reinit
from ftlab.formulas.remove_layers import RemoveLayers, remove_layers
from ftlab.formulas.sam import sam
from ftlab.formulas.sign_prune import SignPrune, sign_prune
from ftlab.formulas.signum import signum
from ftlab.formulas.slanted_triangular import SlantedTriangular, slanted_triangular
from ftlab.formulas.smart import smart
from ftlab.formulas.soft_threshold import SoftThreshold, soft_threshold
from ftlab.formulas.soup import mean_of
from ftlab.formulas.step_decay import StepDecay, step_decay
from ftlab.formulas.swa import SWA, swa
from ftlab.formulas.warmup import WarmupCosine, WarmupLinear, warmup_cosine, warmup_linear
from ftlab.formulas.weight_decay import WeightDecay, weight_decay

__all__ = [
    "EMA",
    "EWC",
    "L2SP",
    "SWA",
    "BitFit",
    "ChildTuningD",
    "ChildTuningF",
    "ClipNorm",
    "ClipRate",
    "ClipValue",
    "ClipWeights",
    "Decay",
    "Freeze",
    "GradualUnfreezing",
    "HeadFirst",
    "Interpolate",
    "L1Penalty",
    "L2Penalty",
    "LayerwiseDecay",
    "LoRA",
    "MagnitudePrune",
    "Mixout",
    "Moments",
    "MovementPrune",
    "NEFTune",
    "Plateau",
    "PriorDecay",
    "RecAdam",
    "Redraw",
    "RedrawTop",
    "Reinit",
    "RemoveLayers",
    "RemoveNeurons",
    "SignPrune",
    "SlantedTriangular",
    "SoftThreshold",
    "StepDecay",
    "WarmupCosine",
    "WarmupLinear",
    "WeightDecay",
    "adabound",
    "adamw",
    "annealing",
    "binary_cross_entropy",
    "bitfit",
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
    "ewc",
    "focal",
    "free_lb",
    "freeze",
    "gradient_descent",
    "gradual_unfreezing",
    "head_first",
    "interpolate",
    "keep_neurons",
    "l1_penalty",
    "l2_penalty",
    "l2_sp",
    "layerwise_decay",
    "lion",
    "lora",
    "magnitude_prune",
    "mean_of",
    "mean_squared_error",
    "mixout",
    "movement_prune",
    "movement_scores",
    "neftune",
    "neuron_importance",
    "plateau",
    "prior_decay",
    "r_drop",
    "rec_adam",
    "redraw",
    "reinit",
    "remove_layers",
    "sam",
    "sign_prune",
    "signum",
    "slanted_triangular",
    "smart",
    "soft_threshold",
    "step_decay",
    "swa",
    "warmup_cosine",
    "warmup_linear",
    "weight_decay",
]
