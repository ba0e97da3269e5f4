"""A contrastive loss on the input vectors of the classification head."""

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

    The contrastive loss compares the samples of a batch with each other, so batches need several samples per label. With gradient
    accumulation only the samples of a micro-batch are compared.
    """

    weight: float = 0.5
    """The contrastive loss's share, from 0 to 1; cross-entropy has the rest."""
    temperature: float = 0.3
    """Greater than 0; the lower it is, the more the nearest neighbours count."""

    def __post_init__(self) -> None:
        do = "0.5 is even, 0 is cross-entropy"
        check_number("SupervisedContrastive", "weight", self.weight, do, at_least=0, at_most=1)
        check_number("SupervisedContrastive", "temperature", self.temperature, "0.3 is usual", above=0)

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        logits, vectors = logits_and_vectors(model, batch)
        entropy = cross_entropy(logits, batch["labels"])
        with torch.autocast(vectors.device.type, enabled=False):  # bf16 would round the cosines
            contrast = contrastive(vectors, batch["labels"], self.temperature)
        return (1 - self.weight) * entropy + self.weight * contrast


def logits_and_vectors(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Run the model; return its logits and, for each sample, the input vector of its head, both in fp32.

    The head is the child module that runs last. If its input has a vector for every token, the sample's vector is that
    of the token whose scores the model returns (GPT type), or of the first token if the head pools (RoBERTa type).
    """
    last: list[tuple[Tensor, Tensor]] = []

    def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            last[:] = [(inputs[0], output)]

    hooks = [module.register_forward_hook(record) for module in model.children()]
    try:
        logits = logits_of(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not last:
        do = "Its last part must map a tensor to a tensor, as a classification head does"
        raise argument_error("SupervisedContrastive", "model", "have a head", type(model).__name__, do)
    vectors, scores = last[0]
    if vectors.ndim == scores.ndim == 3:
        return logits, vectors[torch.arange(len(vectors)), _scored_token(scores.float(), logits)].float()
    return logits, (vectors[:, 0] if vectors.ndim == 3 else vectors.flatten(1)).float()


def _scored_token(token_scores: Tensor, logits: Tensor) -> Tensor:
    """Return the index of each sample's token whose scores are the sample's logits."""
    same = (token_scores == logits[:, None]).all(dim=2)
    if not same.any(dim=1).all() and logits.isfinite().all():
        do = "This model combines its tokens after the head; use another loss"
        raise argument_error(
            "SupervisedContrastive", "model", "take its scores from one token", "none that has them", do
        )
    return same.int().argmax(dim=1)
