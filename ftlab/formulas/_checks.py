"""Checks of arguments that several formulas share."""

from typing import Any

from ftlab.errors import argument_error


def check_labels(where: str, logits: Any, labels: Any) -> None:
    """Refuse labels that are not one class for each row of logits.

    >>> import torch
    >>> check_labels("focal", torch.zeros(2, 3), torch.tensor([0, 2]))
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or str(labels.dtype) != "torch.int64":
        must = "be whole numbers (int64) of shape (N,) for logits of shape (N, C)"
        got = f"{labels.dtype} {tuple(labels.shape)} beside {tuple(logits.shape)}"
        do = "Give one label for each row; use binary_cross_entropy for several labels per sample"
        raise argument_error(where, "labels", must, got, do)
    if len(labels) == 0:
        raise argument_error(where, "labels", "hold at least one sample", "none", "Leave empty batches out")
    low, high = span(labels)
    if low < 0 or high >= logits.shape[1]:
        do = "The model needs as many classes as the data"
        raise argument_error(where, "labels", f"lie from 0 to {logits.shape[1] - 1}", f"{low} to {high}", do)


def span(labels: Any) -> tuple[Any, Any]:
    """Return the smallest and the largest label.

    If labels on a GPU have the attribute ``host_copy``, the CPU tensor that they were copied from, that copy is read:
    reading from the GPU would force a synchronisation.

    >>> import torch
    >>> span(torch.tensor([3, 1]))
    (1, 3)
    """
    low, high = getattr(labels, "host_copy", labels).aminmax()
    return low.item(), high.item()


def check_weights(where: str, logits: Any, weight: Any) -> None:
    """Refuse class weights that are not one number for each column of logits; ``None`` means no weights.

    >>> check_weights("focal", None, None)
    """
    if weight is not None and weight.shape != logits.shape[1:]:
        must = f"have one number per class, shape ({logits.shape[1]},)"
        raise argument_error(where, "weight", must, f"shape {tuple(weight.shape)}", "Give a weight for each class")
