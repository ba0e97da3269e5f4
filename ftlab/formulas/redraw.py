"""Redraw: re-initialise chosen layers. The second reading of the article's formula (3)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from ftlab.errors import argument_error, check_int, check_number
from ftlab.parameters import Pattern, Tensors, depths, roles, select
from ftlab.rule import Now, Prepare


def redraw(
    params: Tensors,
    std: float,
    generator: torch.Generator,
    *,
    gains: Collection[str] = (),
    biases: Collection[str] = (),
) -> Tensors:
    r"""Re-initialise parameters with normally distributed values.

    .. math:: \theta_{new} = \epsilon, \qquad \epsilon \sim \mathcal{N}(0, \sigma^2)

    ==============  ==========  =======================
    symbol          code        meaning
    ==============  ==========  =======================
    :math:`\theta`  ``params``  the parameters, by name
    :math:`\sigma`  ``std``     the standard deviation
    ==============  ==========  =======================

    Args:
        params: Tensors by name.
        std: At least 0; 0.02 is that of BERT's initialisation, 0 sets the weights to 0.
        generator: On the CPU. The same state gives the same weights on every device.
        gains: Names to set to 1: the weights of normalisation layers.
        biases: Names to set to 0.

    Returns:
        New tensors of the same names, shapes, dtypes and devices. The inputs are not modified.

    Raises:
        ArgumentError: If ``std`` is not a number of at least 0.

    Source:
        Zhang et al. 2021, "Revisiting Few-sample BERT Fine-tuning", arXiv 2006.05987 (Re-init).
        Departure: none. The normal distribution is not truncated, as in the authors' code.

    Example:
        >>> redraw({"bias": torch.ones(2)}, 0.02, torch.Generator(), biases=["bias"])
        {'bias': tensor([0., 0.])}
    """
    check_number("redraw", "std", std, "0.02 is usual", at_least=0)
    new = {}
    for name, param in params.items():
        if name in gains:
            new[name] = torch.ones_like(param)
        elif name in biases:
            new[name] = torch.zeros_like(param)
        else:
            new[name] = (torch.randn(param.shape, generator=generator) * std).to(param)
    return new


def redraw_in(model: nn.Module, names: Collection[str], std: float, generator: torch.Generator) -> None:
    """Re-initialise parameters of a model in place: weights normal, gains 1, biases 0."""
    params = {name: param for name, param in model.named_parameters() if name in names}
    role = roles(model)
    new = redraw(
        {name: param.detach() for name, param in params.items()},
        std,
        generator,
        gains=[name for name in params if role[name] == "gain"],
        biases=[name for name in params if role[name] == "bias"],
    )
    with torch.no_grad():
        for name, param in params.items():
            param.copy_(new[name])


@final
@dataclass(frozen=True)
class Redraw(Prepare):
    """Re-initialise the parameters that match a pattern. See :func:`redraw`."""

    example: ClassVar[str] = "Redraw('*.layer.1.*')"
    neutral: ClassVar[str] = "A re-initialised layer is never the layer that was loaded."
    changes_start: ClassVar[bool] = True

    pattern: Pattern
    std: float = 0.02

    def __post_init__(self) -> None:
        check_number("Redraw", "std", self.std, "0.02 is usual", at_least=0)

    @property
    def equation(self) -> str:
        return f"θ₀[{self.pattern}] ← ε,  ε ~ N(0, {self.std:g}²)"

    @property
    def description(self) -> str:
        return f"re-initialise {self.pattern}: normal with standard deviation {self.std:g}, gains 1, biases 0"

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        names = select([name for name, _ in model.named_parameters()], self.pattern)
        redraw_in(model, names, self.std, now.generator)
        return model


@final
@dataclass(frozen=True)
class RedrawTop(Prepare):
    """Re-initialise the top layers, and the pooler if there is one. See :func:`redraw`.

    The layers are counted from the top, see :func:`~ftlab.parameters.depths`. The head is unchanged: a new one is
    random anyway, a loaded one is kept.
    """

    example: ClassVar[str] = "RedrawTop(1)"
    neutral: ClassVar[str] = "A re-initialised layer is never the layer that was loaded."
    changes_start: ClassVar[bool] = True

    layers: int = 1
    std: float = 0.02

    def __post_init__(self) -> None:
        check_int("RedrawTop", "layers", self.layers, "1 or 2 of six layers is a first try", at_least=1)
        check_number("RedrawTop", "std", self.std, "0.02 is usual", at_least=0)

    @property
    def equation(self) -> str:
        return f"θ₀[top {self.layers}, pooler] ← ε,  ε ~ N(0, {self.std:g}²)"

    @property
    def description(self) -> str:
        what = "top layer" if self.layers == 1 else f"top {self.layers} layers"
        return (
            f"re-initialise the {what} and the pooler: normal with standard deviation {self.std:g}, gains 1, biases 0"
        )

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        depth = depths(model)
        head = max(depth.values())  # the layers have the depths 1, 2, ... below it
        if self.layers >= head:
            do = "Use Redraw('*') to train from scratch"
            raise argument_error(
                "RedrawTop", "layers", f"be at most {head - 1}, the number of layers of the model", str(self.layers), do
            )
        names = [
            name
            for name, index in depth.items()
            if head - self.layers <= index < head or (index == head and "pooler" in name.split("."))
        ]
        redraw_in(model, names, self.std, now.generator)
        return model
