"""Mean squared error: the loss of regression. The article names it in its third step."""

import torch  # noqa: F401  (for the examples)
from torch import Tensor

from ftlab.errors import argument_error


def mean_squared_error(predictions: Tensor, labels: Tensor) -> Tensor:
    r"""Return the mean of the squared differences between predictions and true values.

    .. math:: J = \frac{1}{N}\sum_{i=1}^{N}(\hat{y}_i - y_i)^2

    ===============  ===============  =================================
    symbol           code             meaning
    ===============  ===============  =================================
    :math:`\hat{y}`  ``predictions``  the predicted values
    :math:`y`        ``labels``       the true values, in the same unit
    ===============  ===============  =================================

    Args:
        predictions: Shape (N,).
        labels: Shape (N,), float.

    Returns:
        A scalar, at least 0, in the squared unit of the labels; 0 only if every prediction is exact.

    Raises:
        ArgumentError: If the shapes differ. Shapes (N, 1) and (N,) would silently broadcast to (N, N).

    Source:
        The article, section 3.2, step 3. Departure: none.

    Example:
        >>> mean_squared_error(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
        tensor(2.)
    """
    if predictions.ndim != 1 or predictions.shape != labels.shape or not labels.numel():
        raise argument_error(
            "mean_squared_error",
            "labels",
            "have the shape (N,) of the predictions, N at least 1",
            f"{tuple(labels.shape)} beside {tuple(predictions.shape)}",
            "Squeeze a column of predictions to a row first",
        )
    return (predictions - labels).square().mean()
