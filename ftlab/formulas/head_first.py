"""Head first: train only the head, then everything (LP-FT)."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch  # noqa: F401  (for the examples)
from torch import nn

from ftlab.errors import argument_error, check_number
from ftlab.parameters import Tensors, head_names
from ftlab.rule import GradientRule, Memory, Now, Prepare, Project, Rule


def head_first(grads: Tensors, body: Collection[str], step: int, alone: int) -> Tensors:
    r"""Drop the gradients of the pretrained body in the first updates, so that only the head is trained.

    .. math:: g_i \leftarrow \begin{cases} \text{none} & i \in B,\; t < k \\ g_i & \text{else} \end{cases}

    =========  =========  =======================================
    symbol     code       meaning
    =========  =========  =======================================
    :math:`g`  ``grads``  the gradients, by name
    :math:`B`  ``body``   the names of the pretrained parameters
    :math:`t`  ``step``   updates made so far, 0 at the first one
    :math:`k`  ``alone``  the number of updates of the head alone
    =========  =========  =======================================

    Args:
        grads: Tensors by name.
        body: The names that are not updated at first.
        step: At least 0.
        alone: At least 0; 0 updates everything from the start.

    Returns:
        The gradients to use, unchanged. A name that is left out is not updated at all: no decay, no moments.

    Raises:
        Nothing.

    Source:
        Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features", arXiv 2202.10054 (LP-FT).
        Departure: the head is trained for a share of the run instead of to convergence, and with dropout.

    Example:
        >>> grads = {"body": torch.ones(1), "head": torch.ones(1)}
        >>> list(head_first(grads, {"body"}, step=0, alone=1)), list(head_first(grads, {"body"}, step=1, alone=1))
        (['head'], ['body', 'head'])
    """
    return {name: grad for name, grad in grads.items() if step >= alone or name not in body}


@final
@dataclass(frozen=True)
class HeadFirst(GradientRule):
    """Train only the head for a share of the run, then everything. See :func:`head_first`.

    The head is what was not in the checkpoint, or, if everything was in it, what is outside the base model. The
    matrices that LoRA adds belong to the body.
    """

    freezes: ClassVar[bool] = True
    example: ClassVar[str] = "HeadFirst(0.3)"
    neutral: ClassVar[str] = "HeadFirst(0.0)"
    needs_origin: ClassVar[bool] = True

    share: float = 0.3

    def __post_init__(self) -> None:
        check_number("HeadFirst", "share", self.share, "0.3 is a first try, 0 switches it off", at_least=0, at_most=1)

    @property
    def equation(self) -> str:
        return f"g[body] ← none while t < {self.share:g}·T"

    @property
    def description(self) -> str:
        return f"train only the head for the first {self.share:.0%} of the updates, then everything"

    def cautions(self, recipe: Sequence[Rule]) -> list[str]:
        sentences = []
        sparse = [rule for rule in recipe if isinstance(rule, Prepare) and rule.freezes and rule.needs_origin]
        if sparse and self.share:  # rules that train the head and a few parameters of the body
            names = " and ".join(type(rule).__name__ for rule in sparse)
            sentences.append(f"HeadFirst also delays what {names} trains outside the head.")
        moving = [type(rule).__name__ for rule in recipe if isinstance(rule, Project) and not rule.needs_origin]
        if moving and self.share:
            sentences.append(f"{' and '.join(moving)} may move the body that HeadFirst still freezes.")
        if self.share == 1:
            sentences.append("HeadFirst(1.0) never trains the body: it is a linear probe.")
        return sentences

    def start(self, model: nn.Module, batches: Any, loss: Any, now: Now) -> Memory:
        """Remember the names of the head."""
        head = head_names(model, [name for name in now.params if ".lora_" not in name], now.origin)
        if not head and self.share:
            do = "Leave HeadFirst out, or use a model with a trainable head"
            raise argument_error("HeadFirst", "model", "have a head", f"none in {type(model).__name__}", do)
        return head

    def shape(self, grads: Tensors, memory: Memory, now: Now) -> tuple[Tensors, Memory]:
        alone = math.ceil(round(self.share * now.steps, 9))  # 0.07 · 100 is a little more than 7
        return head_first(grads, now.params.keys() - set(memory), now.step, alone), memory
