"""Mixout: in each pass, use the pretrained weights for a random share of a layer's inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_number
from ftlab.parameters import Pattern, is_conv1d, join_patterns, select
from ftlab.rule import Memory, Now, Prepare, Rule


def mixout(weight: Tensor, origin: Tensor, probability: float, generator: torch.Generator | None = None) -> Tensor:
    r"""Replace random columns of a matrix by the pretrained ones, keeping the expected matrix unchanged.

    .. math:: \tilde W = \frac{M\odot W + (1-M)\odot W_0 - p\,W_0}{1-p}
              = W_0 + \frac{M\odot(W-W_0)}{1-p}, \qquad M_j \sim \mathrm{Bernoulli}(1-p)

    ===========  ===============  ===============================================
    symbol       code             meaning
    ===========  ===============  ===============================================
    :math:`W`    ``weight``       a matrix of shape (outputs, inputs)
    :math:`W_0`  ``origin``       the same matrix as loaded
    :math:`p`    ``probability``  probability that a column is the pretrained one
    :math:`M`                     1 where the column is kept; one draw per input
    ===========  ===============  ===============================================

    One number is drawn per column, that is per input neuron, for all outputs. With :math:`W_0 = 0` this is dropout on
    the inputs of the layer. The second form is computed: where W equals W₀ it gives W₀ without rounding error.
    The gradient by W is :math:`M\odot\nabla_{\tilde W}/(1-p)`.

    Args:
        weight: Shape (outputs, inputs), or one dimension, with one draw per entry.
        origin: Of the same shape.
        probability: At least 0 and less than 1; 0 changes nothing, 0.9 is the largest value in the paper.
        generator: On the CPU. By default torch's own, which training seeds in each step.

    Returns:
        A new tensor like ``weight``, differentiable.

    Raises:
        ArgumentError: If ``probability`` is outside its range, or the shapes differ.

    Source:
        Lee, Cho and Kang 2020, "Mixout", arXiv 1909.11299; one draw per column as in the authors' code. Departure:
        none in the formula. The backward pass of the authors' code lacks the division by 1 - p; autograd has it.

    Example:
        With p = 1/2 each column is the pretrained one, or twice as far from it as before.

        >>> mixed = mixout(torch.tensor([[3.0, 3.0]]), torch.ones(1, 2), 0.5, torch.Generator().manual_seed(0))
        >>> mixed
        tensor([[1., 5.]])
    """
    _check("mixout", probability)
    if weight.shape != origin.shape:
        got = f"{tuple(origin.shape)} beside {tuple(weight.shape)}"
        raise argument_error("mixout", "origin", "have the shape of weight", got, "Give the weights as loaded")
    if probability == 0:
        return weight.clone()
    kept = (torch.rand(weight.shape[-1], generator=generator) >= probability).to(weight)
    return torch.addcmul(origin, kept / (1 - probability), weight - origin)


def _check(where: str, probability: float) -> None:
    do = "0.9 is usual, 0 switches it off; with 1 nothing is trained"
    check_number(where, "probability", probability, do, at_least=0, below=1)


class _Mixed:
    """Replaces the ``forward`` of a linear module: in training mode the module uses a mixed weight.

    The fast engine does not call the modules of a layer, and uses :meth:`weight_of_pass` instead.
    """

    def __init__(self, module: nn.Module, origin: Tensor, probability: float) -> None:
        self.module, self.origin, self.probability = module, origin, probability
        self.transposed = is_conv1d(module)

    def weight_of_pass(self) -> Tensor:
        """Return the weight for one pass: redrawn in each call in training mode."""
        module: Any = self.module
        if not module.training:
            return module.weight  # type: ignore[no-any-return]
        weight, origin = (tensor.T if self.transposed else tensor for tensor in (module.weight, self.origin))
        mixed = mixout(weight, origin, self.probability)
        return mixed.T if self.transposed else mixed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        module: Any = self.module
        module.__dict__["weight"] = self.weight_of_pass()  # hides the parameter of that name
        try:
            return type(module).forward(module, *args, **kwargs)
        finally:
            del module.__dict__["weight"]


@final
@dataclass(frozen=True)
class Mixout(Prepare):
    """Apply mixout to the weights of linear modules in training mode. See :func:`mixout`.

    Each micro-batch has its own draw. Only trained weights with a θ₀ are mixed: no new head, biases, embeddings or
    normalisation layers. The model's own dropout stays on; the paper replaces it by mixout.
    """

    example: ClassVar[str] = "Mixout(0.9)"
    neutral: ClassVar[str] = "Mixout(0.0)"
    needs_origin: ClassVar[bool] = True

    probability: float = 0.9
    pattern: Pattern = "*"

    def __post_init__(self) -> None:
        _check("Mixout", self.probability)

    @property
    def equation(self) -> str:
        return f"W̃ = W₀ + M⊙(W − W₀)/{1 - self.probability:g},  M ~ Bernoulli({1 - self.probability:g})"

    @property
    def description(self) -> str:
        what = (
            "every linear module" if self.pattern == "*" else f"the linear modules among {join_patterns(self.pattern)}"
        )
        return f"use the loaded weights of {what} for {self.probability:.0%} of its inputs, drawn in each pass"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        sentences = []
        if sum(isinstance(rule, Mixout) for rule in recipe) > 1:
            sentences.append("If two Mixout rules match the same module, only the later one acts.")
        if self.probability > 0:
            sentences.append("Mixout leaves the model's own dropout on; the paper replaces it by mixout.")
        return sentences

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        params = dict(model.named_parameters())
        chosen = select(params, self.pattern)
        origins = {id(params[name]): now.origin[name] for name in chosen if name in now.origin}
        linear: list[Any] = [module for module in model.modules() if type(module) is nn.Linear or is_conv1d(module)]
        mixed = [module for module in linear if id(module.weight) in origins]
        if not mixed:
            do = "Choose loaded weights of linear modules, such as '*.dense.weight'"
            raise argument_error(
                "Mixout", f"pattern {self.pattern!r}", "match a loaded matrix", f"none of {len(chosen)}", do
            )
        for module in mixed:
            if self.probability > 0 and module.weight.requires_grad:
                module.forward = _Mixed(module, origins[id(module.weight)], self.probability)
        return model

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        for module in model.modules():
            if isinstance(module.__dict__.get("forward"), _Mixed):
                del module.__dict__["forward"]
        return model
