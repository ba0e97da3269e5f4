"""Reinit: add random noise to the pretrained parameters. The article's formula (3)."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from ftlab.errors import check_number
from ftlab.parameters import Pattern, Tensors, select
from ftlab.rule import Now, Prepare


def reinit(params: Tensors, scale: float, generator: torch.Generator) -> Tensors:
    r"""Add uniform noise to each tensor, in proportion to the standard deviation of its entries.

    .. math:: \theta_{new} = \theta_{old} + \epsilon, \qquad
              \epsilon \sim U\!\left(-\tfrac{\lambda}{2}, \tfrac{\lambda}{2}\right)\cdot \mathrm{std}(\theta_{old})

    ================  ==========  ==========================================================
    symbol            code        meaning
    ================  ==========  ==========================================================
    :math:`\theta`    ``params``  the parameters, by name
    :math:`\lambda`   ``scale``   width of the noise, in standard deviations of the tensor
    :math:`\epsilon`              the noise; its standard deviation is λ/√12 of the tensor's
    ================  ==========  ==========================================================

    Args:
        params: Tensors by name. A tensor of one entry, or of equal entries, is unchanged: its standard deviation is 0.
        scale: At least 0; 0 changes nothing. With 0.15 the standard deviation of the noise is 4.3 % of the tensor's.
        generator: On the CPU. The same state gives the same noise on every device.

    Returns:
        New tensors of the same names, shapes, dtypes and devices. The inputs are not modified.

    Raises:
        ArgumentError: If ``scale`` is not a number of at least 0.

    Source:
        The article, section 3.3, formula (3), which does not define the distribution of ε; Wu et al. 2022, "NoisyTune",
        arXiv 2202.12024, does. Departure: a tensor of one entry, for which torch's std is NaN, is unchanged.

    Example:
        >>> noisy = reinit({"w": torch.tensor([-1.0, 1.0])}, 0.0, torch.Generator())
        >>> noisy["w"]
        tensor([-1.,  1.])
    """
    check_number("reinit", "scale", scale, "0.15 is usual, 0 switches it off", at_least=0)
    new = {}
    for name, param in params.items():
        noise = torch.rand(param.shape, generator=generator).to(param) - 0.5
        std = param.std() if param.numel() > 1 else param.new_zeros(())
        new[name] = param + scale * std * noise
    return new


@final
@dataclass(frozen=True)
class Reinit(Prepare):
    """Add noise to all parameters, or to those that match a pattern: formula (3). See :func:`reinit`.

    A new head is included. Rules that use θ₀ get it as loaded, without the noise.
    """

    example: ClassVar[str] = "Reinit(0.15)"
    neutral: ClassVar[str] = "Reinit(0.0)"
    changes_start: ClassVar[bool] = True

    scale: float
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        check_number("Reinit", "scale", self.scale, "0.15 is usual, 0 switches it off", at_least=0)

    @property
    def equation(self) -> str:
        return f"θ₀ ← θ₀ + ε,  ε ~ U(±{self.scale / 2:g})·std(θ₀)"

    @property
    def description(self) -> str:
        what = "every parameter" if self.pattern == "*" else f"the parameters {self.pattern}"
        return f"add noise to {what}: uniform, within ±{self.scale / 2:g} of the tensor's standard deviation"

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        params = dict(model.named_parameters())
        chosen = {name: params[name].detach() for name in select(params, self.pattern)}
        with torch.no_grad():
            for name, noisy in reinit(chosen, self.scale, now.generator).items():
                params[name].copy_(noisy)
        return model
