"""LoRA: the update of a matrix as a product of two thin ones, trained in its place."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import check_number, check_whole, misused
from ftlab.rule import Memory, Now, Prepare, Rule


def lora(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    r"""Add to a matrix the product of two thin matrices, scaled.

    .. math:: W = W_0 + \frac{\alpha}{r} B A

    ==================  ============  =============================================
    symbol              code          meaning
    ==================  ============  =============================================
    :math:`W_0`         ``weight``    the pretrained matrix, shape (out, in)
    :math:`A`           ``a``         shape (r, in), drawn at random
    :math:`B`           ``b``         shape (out, r), 0 at the start
    :math:`\alpha`      ``alpha``     the scale; r is the rank
    ==================  ============  =============================================

    Args:
        weight: Shape (out, in).
        a: Shape (r, in).
        b: Shape (out, r); with 0 the result is ``weight`` exactly.
        alpha: Greater than 0.

    Returns:
        A new tensor of the shape of ``weight``; it differs from it by a matrix of rank r at most.

    Raises:
        Misused: If the shapes do not fit, or ``alpha`` is not greater than 0.

    Source:
        Hu et al. 2022, "LoRA", arXiv 2106.09685, equation (3) with the scale of section 4.1. Departure: none.

    Example:
        >>> lora(torch.zeros(2, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [3.0]]), 2.0)
        tensor([[ 2.,  4.],
                [ 6., 12.]])
    """
    check_number("lora", "alpha", alpha, "8 is usual", above=0)
    rank = a.shape[0]
    if weight.shape != (b.shape[0], a.shape[1]) or b.shape[1] != rank:
        got = f"{tuple(b.shape)} times {tuple(a.shape)} beside {tuple(weight.shape)}"
        raise misused("lora", "a and b", "multiply to the shape of weight", got, "Give (r, in) and (out, r)")
    return weight + alpha / rank * (b @ a)


@final
@dataclass(frozen=True)
class LoRA(Prepare):
    """LoRA by ``peft`` on chosen linear modules; the head is trained as it is, everything else is frozen. See :func:`lora`.

    The head is what stands outside the base model; what was not in the checkpoint is trained wherever it is. At the end
    the product is added to the matrices, so that what is saved is an ordinary model.
    """

    example: ClassVar[str] = "LoRA(rank=4)"
    neutral: ClassVar[str] = "The matrices themselves are frozen, whatever the rank."
    needs_origin: ClassVar[bool] = True

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_whole("LoRA", "rank", self.rank, "8 is usual", at_least=1)
        check_number("LoRA", "alpha", self.alpha, "8 is usual", above=0)
        check_number("LoRA", "dropout", self.dropout, "0 is usual", at_least=0, at_most=0.99)

    @property
    def equation(self) -> str:
        return f"W = W₀ + {self.alpha / self.rank:g}·B·A,  rank {self.rank}"

    @property
    def sentence(self) -> str:
        where = f"the modules {', '.join(self.targets)}" if self.targets else "the attention's usual modules"
        return f"train, in place of {where}, an addition of rank {self.rank}, and the head; freeze everything else"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["LoRA is usually trained with a rate of 1e-4 to 1e-3, ten times that of full fine-tuning."]

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        from peft import LoraConfig, inject_adapter_in_model

        targets = list(self.targets) if self.targets else _usual(model)
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=targets)
        body: Any = getattr(model, "base_model", model)
        config.fan_in_fan_out = any(type(one).__name__ == "Conv1D" for one in body.modules())  # GPT-2's (in, out)
        trainable = {id(param): param.requires_grad for param in model.parameters()}
        new = {id(param) for name, param in model.named_parameters() if now.origin and name not in now.origin}
        with torch.random.fork_rng([]):
            torch.manual_seed(now.generator.initial_seed())
            try:
                inject_adapter_in_model(config, body)
            except ValueError as error:
                do = "Name modules of the model, such as ('query', 'value')"
                raise misused("LoRA", "targets", "be linear modules of the model", str(targets), do) from error
        for name, param in model.named_parameters():
            param.was_trainable = trainable.get(id(param), False)  # type: ignore[attr-defined]
            in_body = (body is model or name.startswith(f"{model.base_model_prefix}.")) and id(param) not in new
            param.requires_grad_("lora_" in name or (param.was_trainable and not in_body))  # type: ignore[attr-defined]
        return model

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        from peft.tuners.lora import LoraLayer

        for name, module in list(model.named_modules()):
            if isinstance(module, LoraLayer):
                module.merge()
                parent, _, own = name.rpartition(".")
                setattr(model.get_submodule(parent), own, module.get_base_layer())
        for param in model.parameters():
            param.requires_grad_(getattr(param, "was_trainable", param.requires_grad))
        vars(getattr(model, "base_model", model)).pop("peft_config", None)
        return model


def _usual(model: Any) -> list[str]:
    """Return the modules that peft chooses for a kind of model."""
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as USUAL

    kind = getattr(getattr(model, "config", None), "model_type", "")
    if kind not in USUAL:
        do = "Say which, as in LoRA(targets=('query', 'value'))"
        raise misused("LoRA", "targets", f"be given for a model of type {kind!r}", "None", do)
    return list(USUAL[kind])
