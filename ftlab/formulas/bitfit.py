"""BitFit: train only the biases and the head."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from ftlab.errors import argument_error
from ftlab.parameters import freeze_params, head_names, roles as roles_of, unfreeze_params
from ftlab.rule import Memory, Now, Prepare, Rule


def bitfit(roles: Mapping[str, str], head: Collection[str] = ()) -> list[str]:
    r"""Return the names of the parameters to train: the biases and the whole head.

    .. math:: \theta_i \leftarrow \theta_i - \alpha\,[i \in B \cup H]\,\nabla_i J

    =========  =========  =============================================
    symbol     code       meaning
    =========  =========  =============================================
    :math:`i`  ``roles``  the names of all parameters, with their roles
    :math:`B`             the biases
    :math:`H`  ``head``   the parameters of the head
    =========  =========  =============================================

    Args:
        roles: ``weight``, ``bias`` or ``gain`` by name, from :func:`ftlab.parameters.roles`.
        head: Names to train whatever their role is.

    Returns:
        The names to train, in the order of ``roles``.

    Raises:
        Nothing.

    Source:
        Ben Zaken, Goldberg and Ravfogel 2022, "BitFit", arXiv 2106.10199. Departure: none. The biases of
        normalisation layers are trained too, their gains are not.

    Example:
        >>> bitfit({"layer.weight": "weight", "layer.bias": "bias", "head.weight": "weight"}, ["head.weight"])
        ['layer.bias', 'head.weight']
    """
    return [name for name, role in roles.items() if role == "bias" or name in head]


@final
@dataclass(frozen=True)
class BitFit(Prepare):
    """Train biases and head and freeze everything else; the end of the run unfreezes it. See :func:`bitfit`.

    The head is what was not in the checkpoint, or, if everything was in it, what is outside the base model. A model such
    as Llama that has neither is refused.
    """

    freezes: ClassVar[bool] = True
    example: ClassVar[str] = "BitFit()"
    neutral: ClassVar[str] = "The weights are frozen, so it never trains what the empty recipe trains."
    needs_origin: ClassVar[bool] = True

    @property
    def equation(self) -> str:
        return "θ = θ₀ except the biases and the head"

    @property
    def description(self) -> str:
        return "train only the biases and the head, and freeze everything else"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        return ["BitFit trains few parameters, and usually needs a higher learning rate than full fine-tuning."]

    def prepare(self, model: nn.Module, now: Now) -> nn.Module:
        params = dict(model.named_parameters())
        head, role = head_names(model, params, now.origin), roles_of(model)
        chosen = bitfit({name: role[name] for name in params}, head)
        if not chosen:
            do = "Use LoRA, which adds parameters of its own"
            raise argument_error("BitFit", "model", "have biases or a head", f"none in {type(model).__name__}", do)
        freeze_params(params[name] for name in params.keys() - set(chosen))
        return model

    def finish(self, model: nn.Module, memory: Memory) -> nn.Module:
        unfreeze_params(model)
        return model
