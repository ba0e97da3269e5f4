"""NEFTune: add uniform noise to the embedded tokens during training."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_number
from ftlab.rule import Memory, Now, Prepare


def neftune(embedded: Tensor, alpha: float, generator: torch.Generator | None = None) -> Tensor:
    r"""Add uniform noise to embedded texts, with an expected norm that does not depend on their length and width.

    .. math:: X \leftarrow X + \frac{\alpha}{\sqrt{L\,d}}\;\epsilon, \qquad \epsilon \sim U(-1, 1)

    ================  ============  =================================================
    symbol            code          meaning
    ================  ============  =================================================
    :math:`X`         ``embedded``  the embeddings, shape (texts, tokens, width)
    :math:`L, d`                    number of tokens of a text, width of an embedding
    :math:`\alpha`    ``alpha``     the strength; the noise of a text has norm α/√3
    :math:`\epsilon`                one draw per entry
    ================  ============  =================================================

    Args:
        embedded: Shape (..., L, d).
        alpha: At least 0; 0 changes nothing, the paper uses 5 to 15.
        generator: On the CPU. By default torch's own of the tensor's device, which training seeds in each step.

    Returns:
        A new tensor like ``embedded``, differentiable.

    Raises:
        ArgumentError: If ``alpha`` is not a number of at least 0.

    Source:
        Jain et al. 2023, "NEFTune: Noisy Embeddings Improve Instruction Finetuning", arXiv 2310.05914.
        Departure: L includes the padding, as in ``transformers``, so short texts of a batch get less noise.

    Example:
        Four tokens of width 4 and α = 4 give noise within ±1.

        >>> noisy = neftune(torch.zeros(1, 4, 4), 4.0, torch.Generator().manual_seed(0))
        >>> bool(noisy.abs().max() <= 1), bool(noisy.abs().max() > 0.5)
        (True, True)
    """
    _check("neftune", alpha)
    if alpha == 0:
        return embedded.clone()
    drawn_on = embedded.device if generator is None else generator.device
    noise = 2 * torch.rand(embedded.shape, generator=generator, device=drawn_on).to(embedded) - 1
    return embedded + alpha / math.sqrt(embedded.shape[-2] * embedded.shape[-1]) * noise


def _check(where: str, alpha: float) -> None:
    check_number(where, "alpha", alpha, "5 is usual, 0 switches it off", at_least=0)


class _Noise:
    """A forward hook that adds noise to an embedding in training mode."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def __call__(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return neftune(output, self.alpha) if module.training else output


@final
@dataclass(frozen=True)
class NEFTune(Prepare):
    """Add noise to the output of the word embedding during training. See :func:`neftune`."""

    example: ClassVar[str] = "NEFTune(5.0)"
    neutral: ClassVar[str] = "NEFTune(0.0)"

    alpha: float = 5.0

    def __post_init__(self) -> None:
        _check("NEFTune", self.alpha)

    @property
    def equation(self) -> str:
        return f"X ← X + {self.alpha:g}/√(L·d)·ε,  ε ~ U(±1)"

    @property
    def description(self) -> str:
        return f"add uniform noise of strength {self.alpha:g} to the embedded tokens during training"

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        try:
            embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
        except (AttributeError, NotImplementedError):
            embedding = None
        if not isinstance(embedding, nn.Embedding):
            do = "Use it with a text model of transformers"
            raise argument_error("NEFTune", "model", "have a word embedding", type(model).__name__, do)
        self.finish(model, None)  # removes the hook of an interrupted run
        if self.alpha > 0:
            embedding.register_forward_hook(_Noise(self.alpha))
        return model

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        for module in model.modules():
            for key, hook in list(module._forward_hooks.items()):
                if isinstance(hook, _Noise):
                    del module._forward_hooks[key]
        return model
