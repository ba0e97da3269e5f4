"""Soup: the plain mean of the weights of several fine-tuned models. :mod:`ftlab.experiments.soups` cooks models with it."""

from collections.abc import Sequence

import torch

from ftlab.errors import argument_error
from ftlab.parameters import Tensors


def uniform_soup(sets: Sequence[Tensors]) -> Tensors:
    r"""Take the mean of several sets of parameters, name by name.

    .. math:: \bar\theta = \frac{1}{k}\sum_{i=1}^{k}\theta_i

    =====================  ==========  =============================================
    symbol                 code        meaning
    =====================  ==========  =============================================
    :math:`\theta_i`       ``sets``    the parameters of each model, by name
    :math:`k`                          how many there are
    =====================  ==========  =============================================

    Args:
        sets: At least one; all with the same names, and the same shape under a name.

    Returns:
        New tensors under the names of the first set; one set alone comes back bit for bit. What came in is not changed.

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
    for index, one in enumerate(sets):
        odd = sorted(one.keys() ^ sets[0].keys())
        odd = odd or [name for name in one if one[name].shape != sets[0][name].shape]
        if odd:
            do = "Average models of one architecture with the same labels"
            raise argument_error(
                "uniform_soup", "sets", "have the same names and shapes", f"{odd[0]} in set {index + 1}", do
            )
    return {name: torch.stack([one[name] for one in sets]).mean(0) for name in sets[0]}
