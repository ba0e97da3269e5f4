"""LoRA: train the update of a weight matrix as a product of two low-rank matrices."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_int, check_number
from ftlab.parameters import Pattern, freeze_params, is_conv1d, join_patterns, outside_base, unfreeze_params
from ftlab.rule import Memory, Now, Prepare, Rule

PROJECTIONS = (
    ("query", "value"),
    ("q_proj", "v_proj"),
    ("q_lin", "v_lin"),
    ("q", "v"),
    ("Wqkv",),
    ("query_key_value",),
)
"""Names of the query and value matrices in the models of ``transformers``, or of the matrix that holds both."""


def lora(weight: Tensor, a: Tensor, b: Tensor, alpha: float) -> Tensor:
    r"""Add the scaled product of two low-rank matrices to a matrix.

    .. math:: W = W_0 + \frac{\alpha}{r} B A

    ==============  ==========  ======================================
    symbol          code        meaning
    ==============  ==========  ======================================
    :math:`W_0`     ``weight``  the pretrained matrix, shape (out, in)
    :math:`A`       ``a``       shape (r, in), drawn at random
    :math:`B`       ``b``       shape (out, r), 0 at the start
    :math:`\alpha`  ``alpha``   the scale; r is the rank
    ==============  ==========  ======================================

    Args:
        weight: Shape (out, in).
        a: Shape (r, in).
        b: Shape (out, r). With 0 the result is ``weight`` exactly.
        alpha: Greater than 0.

    Returns:
        A new tensor of the shape of ``weight``. The difference has rank r at most.

    Raises:
        ArgumentError: If the shapes do not fit, or ``alpha`` is not greater than 0.

    Source:
        Hu et al. 2022, "LoRA", arXiv 2106.09685. Departure: none in the formula. :class:`LoRA` draws A from a
        uniform distribution, as ``peft`` does.

    Example:
        >>> lora(torch.zeros(2, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [3.0]]), 2.0)
        tensor([[ 2.,  4.],
                [ 6., 12.]])
    """
    check_number("lora", "alpha", alpha, "8 is usual", above=0)
    rank = a.shape[0]
    if weight.shape != (b.shape[0], a.shape[1]) or b.shape[1] != rank:
        got = f"{tuple(b.shape)} times {tuple(a.shape)} beside {tuple(weight.shape)}"
        raise argument_error("lora", "a and b", "multiply to the shape of weight", got, "Give (r, in) and (out, r)")
    return weight + alpha / rank * (b @ a)


@final
@dataclass(frozen=True)
class LoRA(Prepare):
    """Train LoRA factors on chosen linear modules, and the head; freeze everything else. See :func:`lora`.

    The factors are those of ``peft``. The head is what is outside the base model, and what was not in the checkpoint; the
    head of a language model, one matrix over its vocabulary, is frozen like the base model.
    At the end the product is added to the matrices, so the saved model is an ordinary one. ``run.save_adapter(folder)``
    saves the factors and the head in ``peft``'s format, see :func:`ftlab.models.adapters.save_adapter`.

    Args:
        rank: At least 1; 8 is the default of ``peft``.
        alpha: The scale, greater than 0; 8 is the default of ``peft``.
        dropout: Probability of dropout on the input of the factors, at least 0 and less than 1.
        targets: Ends of the names of linear modules inside the base model. By default those that ``peft`` chooses.
    """

    freezes: ClassVar[bool] = True
    example: ClassVar[str] = "LoRA(rank=4)"
    neutral: ClassVar[str] = "The matrices themselves are frozen, whatever the rank is."
    needs_origin: ClassVar[bool] = True

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    targets: Pattern | None = None

    def __post_init__(self) -> None:
        check_int("LoRA", "rank", self.rank, "8 is usual", at_least=1)
        check_number("LoRA", "alpha", self.alpha, "8 is usual", above=0)
        check_number("LoRA", "dropout", self.dropout, "0 is usual", at_least=0, below=1)
        if self.targets is not None and not self.targets:
            raise argument_error(
                "LoRA", "targets", "name a module", repr(self.targets), "Leave it out for the usual ones"
            )

    @property
    def equation(self) -> str:
        return f"W = W₀ + {self.alpha / self.rank:g}·B·A,  rank {self.rank}"

    @property
    def description(self) -> str:
        where = f"the modules {join_patterns(self.targets)}" if self.targets else "the usual attention modules"
        return f"train an update of rank {self.rank} to {where}, and the head; freeze everything else"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return [
            "LoRA needs a higher learning rate than full fine-tuning: its authors' scripts for GLUE use 4e-4 to 5e-4."
        ]

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        from peft import inject_adapter_in_model

        body: Any = getattr(model, "base_model", model)
        params = dict(model.named_parameters())
        trained = {id(param) for param in params.values() if param.requires_grad}
        outside = outside_base(model, params)
        new = [name for name in params if now.origin and name not in now.origin]
        vocabulary = {id(param) for param in _output_embeddings(model)}
        head = {id(params[name]) for name in (*outside, *new)} - vocabulary
        config = self.config(body, _chosen(body, self.targets or _usual(model)))
        vars(model).pop("lora_factors", None)  # of an earlier run
        with torch.random.fork_rng([]):
            torch.manual_seed(now.generator.initial_seed())
            inject_adapter_in_model(config, body)
        vars(body).pop("peft_config")  # peft's record of the adapter, which would disturb a second LoRA
        for name, param in model.named_parameters():
            param.requires_grad_("lora_" in name or id(param) in trained)  # peft has frozen the whole body
            if "lora_" not in name and id(param) not in head:
                freeze_params([param])
        return model

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        from peft.tuners.lora import LoraLayer

        for name, module in list(model.named_modules()):
            if isinstance(module, LoraLayer):
                factors = module.lora_A["default"].weight.detach(), module.lora_B["default"].weight.detach()
                vars(model).setdefault("lora_factors", {})[name] = factors
                module.merge()
                parent, _, own = name.rpartition(".")
                setattr(model.get_submodule(parent), own, module.get_base_layer())
        unfreeze_params(model)
        return model

    def config(self, body: nn.Module, modules: Sequence[str]) -> Any:
        """Return the ``peft`` configuration of an adapter on modules of the base model."""
        from peft import LoraConfig

        transposed = any(is_conv1d(body.get_submodule(name)) for name in modules)
        return LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(modules),
            fan_in_fan_out=transposed,
        )


def _output_embeddings(model: Any) -> list[nn.Parameter]:
    """Return the parameters of a language model's head; none of any other model."""
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    return list(head.parameters()) if isinstance(head, nn.Module) else []


def _chosen(body: nn.Module, targets: Pattern) -> list[str]:
    """Return the names of the linear modules whose names end in a target; each target must have one."""
    ends = [f".{target}" for target in ((targets,) if isinstance(targets, str) else targets)]
    matching = {name: module for name, module in body.named_modules() if f".{name}".endswith(tuple(ends))}
    linear = [name for name, module in matching.items() if isinstance(module, nn.Linear) or is_conv1d(module)]
    if len(linear) < len(matching) or not all(any(f".{name}".endswith(end) for name in linear) for end in ends):
        do = "Name modules inside the base model, such as ('query', 'value'), each in one LoRA only"
        raise argument_error("LoRA", "targets", "be linear modules of the model", join_patterns(targets), do)
    return linear


def _usual(model: Any) -> tuple[str, ...]:
    """Return the modules that peft chooses for a type of model; else its query and value matrices, by their usual names."""
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as USUAL

    kind = getattr(getattr(model, "config", None), "model_type", "")
    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for names in (tuple(USUAL.get(kind, ())), *PROJECTIONS):
        if names and all(name in linear or kind in USUAL for name in names):
            return names
    do = f"Name some of {', '.join(sorted(linear)[:8]) or 'its linear modules'}, as in LoRA(targets=('query', 'value'))"
    raise argument_error("LoRA", "targets", f"be given for a model of type {kind!r}", "None", do)
