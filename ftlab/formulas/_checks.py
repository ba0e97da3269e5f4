"""What several formulas check of their arguments."""

from typing import Any

from ftlab.errors import argument_error


def check_labels(where: str, logits: Any, labels: Any) -> None:
    """Refuse labels that are not one class for each row of logits.

    >>> import torch
    >>> check_labels("focal", torch.zeros(2, 3), torch.tensor([0, 2]))
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or str(labels.dtype) != "torch.int64":
        must = "be whole numbers (int64) of shape (N,) beside logits of shape (N, C)"
        got = f"{labels.dtype} {tuple(labels.shape)} beside {tuple(logits.shape)}"
        do = "One label a row of logits; several labels at once are the job of binary_cross_entropy"
        raise argument_error(where, "labels", must, got, do)
    if len(labels) == 0:
        raise argument_error(where, "labels", "hold at least one sample", "none", "Leave empty batches out")
    low, high = span(labels)
    if low < 0 or high >= logits.shape[1]:
        do = "The model needs as many classes as the data has"
        raise argument_error(where, "labels", f"lie from 0 to {logits.shape[1] - 1}", f"{low} to {high}", do)


def span(labels: Any) -> tuple[Any, Any]:
    """Return the least and the greatest label.

    Labels on a GPU may carry the tensor on the CPU that they were copied from as ``host_copy``. That one is read, since
    reading from the GPU would wait for it.

    >>> import torch
    >>> span(torch.tensor([3, 1]))
    (1, 3)
    """
    low, high = getattr(labels, "host_copy", labels).aminmax()
    return low.item(), high.item()


def check_weights(where: str, logits: Any, weight: Any) -> None:
    """Refuse class weights that are not one number for each column of logits; ``None`` is no weights.

    >>> check_weights("focal", None, None)
    """
    if weight is not None and weight.shape != logits.shape[1:]:
        must = f"have one number a class, shape ({logits.shape[1]},)"
        raise argument_error(where, "weight", must, f"shape {tuple(weight.shape)}", "Give a weight for each class")
