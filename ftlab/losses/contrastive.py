"""The loss that also looks at the vectors which the classification head is given."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.data.batches import Batch
from ftlab.errors import argument_error, check_number
from ftlab.formulas.contrastive import contrastive
from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.losses.logits import logits_of


@dataclass(frozen=True)
class SupervisedContrastive:
    """Cross-entropy mixed with the supervised contrastive loss. See :func:`ftlab.formulas.contrastive.contrastive`.

    ``weight`` is the contrastive loss's share. It compares the samples of a batch with each other, so it needs batches
    with several samples a label, and an accumulated batch is compared part by part.
    """

    weight: float = 0.5
    temperature: float = 0.3

    def __post_init__(self) -> None:
        do = "0.5 is even, 0 is cross-entropy"
        check_number("SupervisedContrastive", "weight", self.weight, do, at_least=0, at_most=1)
        check_number("SupervisedContrastive", "temperature", self.temperature, "0.3 is usual", above=0)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        logits, vectors = logits_and_vectors(model, batch)
        entropy = cross_entropy(logits, batch["labels"])
        with torch.autocast(vectors.device.type, enabled=False):  # bf16 would round the cosines
            likeness = contrastive(vectors, batch["labels"], self.temperature)
        return (1 - self.weight) * entropy + self.weight * likeness


def logits_and_vectors(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Run the model; return its scores and, for each sample, the vector that its head made them of, both in fp32.

    The head is the part of the model that runs last. Where it is given every token, the vector is the one whose scores
    the model took (GPT type), or the first one where the head itself chooses (RoBERTa type).
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(part: nn.Module, given: tuple[Any, ...], made: Any) -> None:
        if given and isinstance(given[0], Tensor) and isinstance(made, Tensor):
            seen[:] = [(given[0], made)]

    hooks = [part.register_forward_hook(keep) for part in model.children()]
    try:
        logits = logits_of(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        do = "Its last part must take and give a tensor, as a classification head does"
        raise argument_error("SupervisedContrastive", "model", "have a head", type(model).__name__, do)
    given, made = seen[0]
    if given.ndim == made.ndim == 3:
        return logits, given[torch.arange(len(given)), _taken(made.float(), logits)].float()
    return logits, (given[:, 0] if given.ndim == 3 else given.flatten(1)).float()


def _taken(made: Tensor, logits: Tensor) -> Tensor:
    """Return for each sample which token's scores became the sample's."""
    same = (made == logits[:, None]).all(dim=2)
    if not same.any(dim=1).all() and logits.isfinite().all():
        do = "Such a model mixes its tokens after the head; use another loss"
        raise argument_error(
            "SupervisedContrastive", "model", "take its scores from one token", "none that has them", do
        )
    return same.int().argmax(dim=1)
