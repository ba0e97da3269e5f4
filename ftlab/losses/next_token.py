"""The loss of a language model: the cross-entropy of each target token, given all tokens before it."""

from dataclasses import dataclass

from torch import Tensor, nn

from ftlab.data.batches import Batch
from ftlab.data.conversations import IGNORE
from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.losses.logits import TARGETS


@dataclass(frozen=True)
class NextToken:
    """The mean cross-entropy over the target tokens of a batch. See :func:`ftlab.formulas.cross_entropy.cross_entropy`.

    Position t predicts token t + 1. Tokens whose label is -100 are no targets: prompts and padding.
    """

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        logits, targets = target_logits(model, batch)
        return cross_entropy(logits, targets)


def target_logits(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return a row of logits for each target of a batch, shape (targets, vocabulary), and the targets."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    is_target = batch["labels"][:, 1:] != IGNORE
    wanted = nn.functional.pad(is_target, (0, 1))
    before = TARGETS.set(wanted)
    try:
        logits = model(**inputs, use_cache=False).logits
    finally:
        TARGETS.reset(before)
    chosen = logits[wanted] if logits.shape[:2] == wanted.shape else logits[0]
    return chosen.float(), batch["labels"][:, 1:][is_target]
