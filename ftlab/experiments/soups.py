"""Model soups: one model with the mean weights of several fine-tuned models, at the inference cost of one."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ftlab.errors import argument_error, note
from ftlab.evaluation.inference import evaluate
from ftlab.evaluation.metrics import MAIN_METRIC
from ftlab.formulas.soup import uniform_soup
from ftlab.models.load import Pretrained
from ftlab.parameters import Tensors
from ftlab.training.run import Run

SOUP_METRIC = MAIN_METRIC | {"regression": "mse"}
"""The metric of a greedy soup. Pearson ignores scale and offset, which averaging weights can change; the error does not."""


def soup(runs: Sequence[Run | Pretrained]) -> Pretrained:
    """Average the weights of several models. See :func:`ftlab.formulas.soup.uniform_soup`.

    Args:
        runs: Finished runs or models, at least one. They should share the checkpoint and the initial head.

    Returns:
        A new model, for :func:`ftlab.evaluate`, :func:`ftlab.predict` or another run.

    Raises:
        ArgumentError: If the models differ in architecture or task.
    """
    return _average(_check_models("soup", runs))


def greedy_soup(runs: Sequence[Run], split: str = "validation") -> Pretrained:
    """Average the weights of those runs that do not make the mean worse on a held-out split.

    The runs are sorted by their score on the split, best first. Each is added in turn, and kept if the score of the mean
    does not drop. The score is accuracy, micro F1 for multilabel tasks, or mean squared error for regressions; an
    undefined score is the worst. On this split the soup is never worse than the best run, so report it on another.

    Args:
        runs: Finished runs on the same data, at least one.
        split: The split for the selection, not the one to report.

    Returns:
        A new model, for :func:`ftlab.evaluate`, :func:`ftlab.predict` or another run.

    Raises:
        ArgumentError: If the runs differ in architecture, task or data, or have no such split.

    Source:
        Wortsman et al. 2022, "Model soups", arXiv 2203.05482 (greedy soup). Departure: a run is kept if the score stays
        the same; the authors' code requires an improvement.
    """
    models = _check_models("greedy_soup", runs)
    for run in runs:
        if not isinstance(run, Run):
            do = "A model alone has no data to evaluate on; use soup for models"
            raise argument_error("greedy_soup", "runs", "be finished runs", type(run).__name__, do)
        if split not in run.data:
            raise argument_error("greedy_soup", "split", f"be one of {', '.join(run.data)}", repr(split), "Choose one")
        if run.facts["data_fingerprint"] != runs[0].facts["data_fingerprint"]:
            raise argument_error(
                "greedy_soup", "runs", "be on the same data", "other rows", "Fine-tune them on one data set"
            )
    rows, length = runs[0].data[split], runs[0].settings.max_length
    metric = SOUP_METRIC[models[0].task.kind]
    sign = -1 if metric == "mse" else 1

    def score(model: Pretrained) -> float:
        value = sign * evaluate(model, rows, split=split, max_length=length, resamples=0)[metric]
        return -math.inf if math.isnan(value) else value

    scores = [score(model) for model in models]
    first, *rest = sorted(range(len(models)), key=lambda index: -scores[index])  # equal scores keep their order
    kept, best = [first], scores[first]
    for index in rest:
        mixed = score(_average([models[member] for member in (*kept, index)]))
        if mixed >= best:
            kept, best = [*kept, index], mixed
    numbers = ", ".join(str(index + 1) for index in kept)
    result = f"{split} {metric} {abs(best):.4g}, best single run {abs(scores[first]):.4g}"
    note("greedy_soup", f"averaged {len(kept)} of {len(models)} runs, numbers {numbers}; {result}.")
    return _average([models[index] for index in kept])


def _check_models(where: str, runs: Sequence[Run | Pretrained]) -> list[Pretrained]:
    """Return the models; refuse models that cannot be averaged, and note what makes an average poor."""
    if isinstance(runs, Run | Pretrained) or not len(runs):
        got = "none" if not isinstance(runs, Run | Pretrained) else "one alone"
        raise argument_error(where, "runs", "be a list of runs", got, "Write soup([first, second])")
    for run in runs:
        if not isinstance(run, Run | Pretrained):
            do = "Give what finetune returns"
            raise argument_error(where, "runs", "be finished runs or models", type(run).__name__, do)
    models = [run.model if isinstance(run, Run) else run for run in runs]
    first = models[0]
    shapes = _shapes(first)
    for index, model in enumerate(models):
        if model.task != first.task:
            got = f"{_describe(model)} in model {index + 1}, {_describe(first)} in model 1"
            raise argument_error(where, "runs", "be of one task", got, "Average models with the same labels")
        different = sorted({*shapes.items()} ^ {*_shapes(model).items()})
        if different:
            got = f"a different {different[0][0]} in model {index + 1}"
            raise argument_error(where, "runs", "be of one architecture", got, "Average models from one checkpoint")
    if len({model.name for model in models}) > 1:
        note(where, "the models come from different checkpoints; the mean of such weights is rarely useful.")
    seeds = {run.settings.head_seed for run in runs if isinstance(run, Run) and run.model.fresh}
    if len(seeds) > 1:
        do = "use one head seed for all runs: seed=(0, 1), seed=(0, 2)"
        note(where, f"the new heads were initialised from {len(seeds)} seeds, and their mean may be useless; {do}.")
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in first.net.modules()):
        note(where, "the running statistics of batch normalisation are taken from the first model.")
    return models


def _average(models: Sequence[Pretrained]) -> Pretrained:
    """Return a new model with the mean of the weights; buffers are taken from the first model."""
    net = copy.deepcopy(models[0].net)
    params = dict(net.named_parameters())
    device = next(net.parameters()).device
    sets: list[Tensors] = [
        {name: param.detach().to(device) for name, param in model.net.named_parameters()} for model in models
    ]
    with torch.no_grad():
        for name, tensor in uniform_soup(sets).items():
            params[name].copy_(tensor)
    return replace(models[0], net=net, name=f"soup of {len(models)} of {Path(models[0].name).name}")


def _shapes(model: Pretrained) -> dict[str, tuple[int, ...]]:
    return {name: tuple(param.shape) for name, param in model.net.named_parameters()}


def _describe(model: Pretrained) -> str:
    return f"{model.task.kind} of {', '.join(model.task.names[:6]) or 'a number'}"
