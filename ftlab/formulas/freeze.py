"""Freeze: parameters that keep their pretrained values."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from ftlab.parameters import Pattern, freeze_params, join_patterns, select, unfreeze_params
from ftlab.rule import Memory, Now, Prepare


def freeze(names: Iterable[str], pattern: Pattern) -> list[str]:
    r"""Choose the parameters that keep their values; all others are trained.

    .. math:: \theta_i \leftarrow \theta_i - \alpha\,[i \notin F]\,\nabla_i J

    ============  ===============  =====================================
    symbol        code             meaning
    ============  ===============  =====================================
    :math:`i`     ``names``        every parameter's name
    :math:`F`     ``pattern``      which are frozen
    ============  ===============  =====================================

    Args:
        names: The names of all parameters.
        pattern: With stars, or several such; one that matches nothing is refused. ``()`` freezes nothing.

    Returns:
        The names that are frozen, in their order.

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
    """What matches the pattern is not trained; afterwards it may be again. See :func:`freeze`.

    A fast engine computes frozen layers below everything that is trained once for each text, and without dropout.
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
        return f"keep {join_patterns(self.pattern) or 'nothing'} as it is at the start"

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        params = dict(model.named_parameters())
        freeze_params(params[name] for name in freeze(params, self.pattern))
        return model

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        unfreeze_params(model)
        return model
