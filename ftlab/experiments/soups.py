"""Soups: one model whose weights are the mean of several fine-tuned ones. It costs no more than one of them to use."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ftlab.errors import argument_error, note
from ftlab.evaluation.inference import evaluate
from ftlab.formulas.soup import uniform_soup
from ftlab.models.load import Pretrained
from ftlab.parameters import Tensors
from ftlab.training.run import Run

SCORES = {"classification": "accuracy", "multilabel": "f1_micro", "regression": "mse"}
"""The metric by which a greedy soup is chosen, by kind of task."""


def soup(runs: Sequence[Run | Pretrained]) -> Pretrained:
    """Average the weights of several models. See :func:`ftlab.formulas.soup.uniform_soup`.

    Args:
        runs: Finished runs, or models; at least one. They should come from one checkpoint and one new head.

    Returns:
        A model of its own, to be given to :func:`ftlab.evaluate`, :func:`ftlab.predict` or a further run.

    Raises:
        ArgumentError: If the models are not of one architecture and one task.
    """
    return _averaged(_checked("soup", runs))


def greedy_soup(runs: Sequence[Run], split: str = "validation") -> Pretrained:
    """Average the weights of those runs that do not make the mean worse on a held-out split.

    The runs are sorted by their score on the split, the best first. One after the other is added, and stays if the mean
    is then at least as good (accuracy; micro F1 for several labels; mean squared error in a regression; a score that is
    not defined is the worst). So the soup is never worse on that split than the best run; how good it is has to be
    measured on another.

    Args:
        runs: Finished runs on the same data, at least one.
        split: The split to choose by. It must not be the one that is reported.

    Returns:
        A model of its own, to be given to :func:`ftlab.evaluate`, :func:`ftlab.predict` or a further run.

    Raises:
        ArgumentError: If the runs are not of one architecture, one task and the same data, or have no such split.

    Source:
        Wortsman et al. 2022, "Model soups", arXiv 2203.05482 (greedy soup). Departure: a run stays where the mean is as
        good as before; the authors' code asks that it be better.
    """
    models = _checked("greedy_soup", runs)
    for run in runs:
        if not isinstance(run, Run):
            do = "Models alone have no data to be measured on; soup takes them"
            raise argument_error("greedy_soup", "runs", "be finished runs", type(run).__name__, do)
        if split not in run.data:
            raise argument_error("greedy_soup", "split", f"be one of {', '.join(run.data)}", repr(split), "Choose one")
        if run.facts["data_fingerprint"] != runs[0].facts["data_fingerprint"]:
            raise argument_error(
                "greedy_soup", "runs", "be on the same data", "other rows", "Fine-tune them on one data set"
            )
    rows, length = runs[0].data[split], runs[0].settings.max_length
    metric = SCORES[models[0].task.kind]
    sign = -1 if metric == "mse" else 1

    def score(model: Pretrained) -> float:
        found = sign * evaluate(model, rows, split=split, max_length=length, resamples=0)[metric]
        return -math.inf if math.isnan(found) else found

    alone = [score(model) for model in models]
    first, *others = sorted(range(len(models)), key=lambda index: -alone[index])  # equal scores keep their order
    chosen, best = [first], alone[first]
    for index in others:
        reached = score(_averaged([models[one] for one in (*chosen, index)]))
        if reached >= best:
            chosen, best = [*chosen, index], reached
    names = ", ".join(str(index + 1) for index in chosen)
    reached_by = f"{split} {metric} {abs(best):.4g}, the best run alone {abs(alone[first]):.4g}"
    note("greedy_soup", f"of {len(models)} runs these are in, by their place: {names}; {reached_by}.")
    return _averaged([models[index] for index in chosen])


def _checked(where: str, runs: Sequence[Run | Pretrained]) -> list[Pretrained]:
    """Return the models, or refuse those that cannot be averaged; mention what makes a mean poor."""
    if isinstance(runs, Run | Pretrained) or not len(runs):
        got = "none" if not isinstance(runs, Run | Pretrained) else "one alone"
        raise argument_error(where, "runs", "be a list of runs", got, "Write soup([first, second])")
    for one in runs:
        if not isinstance(one, Run | Pretrained):
            raise argument_error(
                where, "runs", "be finished runs or models", type(one).__name__, "Give what finetune returns"
            )
    models = [one.model if isinstance(one, Run) else one for one in runs]
    first = models[0]
    shapes = _shapes(first)
    for index, model in enumerate(models):
        if model.task != first.task:
            got = f"{_described(model)} in place {index + 1}, {_described(first)} in place 1"
            raise argument_error(where, "runs", "be of one task", got, "Average models that know the same labels")
        odd = sorted({*shapes.items()} ^ {*_shapes(model).items()})
        if odd:
            got = f"another {odd[0][0]} in place {index + 1}"
            raise argument_error(where, "runs", "be of one architecture", got, "Average models made of one checkpoint")
    if len({model.name for model in models}) > 1:
        note(where, "the models come from different checkpoints; the mean of such weights is rarely of use.")
    seeds = {one.settings.head_seed for one in runs if isinstance(one, Run) and one.model.fresh}
    if len(seeds) > 1:
        do = "give the runs one head seed, seed=(0, 1), seed=(0, 2)"
        note(where, f"the new heads were drawn from {len(seeds)} seeds, and their mean may be no head at all: {do}.")
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in first.net.modules()):
        note(where, "the running statistics of batch normalisation are those of the first model.")
    return models


def _averaged(models: Sequence[Pretrained]) -> Pretrained:
    """Return a model of its own with the mean of the weights; buffers are those of the first model."""
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


def _described(model: Pretrained) -> str:
    return f"{model.task.kind} of {', '.join(model.task.names[:6]) or 'a number'}"
