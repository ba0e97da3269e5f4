"""Soup: the mean of the weights of several fine-tuned models, used by :mod:`ftlab.experiments.soups`."""

from collections.abc import Sequence

import torch

from ftlab.errors import argument_error
from ftlab.parameters import Tensors


def uniform_soup(sets: Sequence[Tensors]) -> Tensors:
    r"""Return the mean of several sets of parameters, name by name.

    .. math:: \bar\theta = \frac{1}{k}\sum_{i=1}^{k}\theta_i

    ================  ========  =====================================
    symbol            code      meaning
    ================  ========  =====================================
    :math:`\theta_i`  ``sets``  the parameters of each model, by name
    :math:`k`                   the number of models
    ================  ========  =====================================

    Args:
        sets: At least one set; all have the same names, and the same shape for each name.

    Returns:
        New tensors under the names of the first set. The mean of a single set is that set, bit for bit. The inputs are
        not modified.

    Raises:
        ArgumentError: If there is no set, or names or shapes differ.

    Source:
        Wortsman et al. 2022, "Model soups", arXiv 2203.05482 (uniform soup). Departure: none.

    Example:
        >>> uniform_soup([{"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, 6.0])}])
        {'w': tensor([2., 4.])}
    """
    if not sets:
        raise argument_error(
            "uniform_soup", "sets", "hold at least one set of parameters", "none", "Give the models to average"
        )
    for index, params in enumerate(sets):
        odd = sorted(params.keys() ^ sets[0].keys())
        odd = odd or [name for name in params if params[name].shape != sets[0][name].shape]
        if odd:
            do = "Average models of one architecture with the same labels"
            raise argument_error(
                "uniform_soup", "sets", "have the same names and shapes", f"{odd[0]} in set {index + 1}", do
            )
    return {name: torch.stack([params[name] for params in sets]).mean(0) for name in sets[0]}
