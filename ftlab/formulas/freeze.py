"""Freeze: keep parameters at their pretrained values."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from ftlab.parameters import Pattern, freeze_params, join_patterns, select, unfreeze_params
from ftlab.rule import Memory, Now, Prepare


def freeze(names: Iterable[str], pattern: Pattern) -> list[str]:
    r"""Return the names of the parameters to freeze; all others are trained.

    .. math:: \theta_i \leftarrow \theta_i - \alpha\,[i \notin F]\,\nabla_i J

    =========  ===========  ===========================
    symbol     code         meaning
    =========  ===========  ===========================
    :math:`i`  ``names``    the names of all parameters
    :math:`F`  ``pattern``  the names to freeze
    =========  ===========  ===========================

    Args:
        names: The names of all parameters.
        pattern: One pattern or several, in which ``*`` matches any characters. ``()`` freezes nothing.

    Returns:
        The names to freeze, in the order of ``names``.

    Raises:
        ArgumentError: If a pattern matches no name.

    Source:
        Howard and Ruder 2018, "ULMFiT", arXiv 1801.06146, for the practice. Departure: none.

    Example:
        >>> freeze(["embeddings.weight", "head.weight"], "embeddings.*")
        ['embeddings.weight']
    """
    return select(names, pattern) if pattern else []


@final
@dataclass(frozen=True)
class Freeze(Prepare):
    """Freeze what matches a pattern; the end of the run unfreezes it. See :func:`freeze`.

    The fast engine computes frozen layers below all trained parameters once for each text, and without dropout.
    """

    freezes: ClassVar[bool] = True
    example: ClassVar[str] = "Freeze('*.embeddings.*')"
    neutral: ClassVar[str] = "Freeze(())"

    pattern: Pattern

    @property
    def equation(self) -> str:
        return f"θ[{join_patterns(self.pattern)}] = θ₀" if self.pattern else "θ = θ"

    @property
    def description(self) -> str:
        return f"freeze {join_patterns(self.pattern) or 'nothing'}"

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        params = dict(model.named_parameters())
        freeze_params(params[name] for name in freeze(params, self.pattern))
        return model

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        unfreeze_params(model)
        return model
