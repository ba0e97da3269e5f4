"""Gradient descent: the plain update. The article's formula (2)."""

import torch  # noqa: F401  (for the examples)

from ftlab.errors import check_number
from ftlab.parameters import Tensors


def gradient_descent(params: Tensors, grads: Tensors, lr: float) -> Tensors:
    r"""Move every parameter against its gradient, by the learning rate times the gradient.

    .. math:: \theta_{new} = \theta_{old} - \alpha\,\nabla J(\theta_{old})

    ================  ==========  =================================
    symbol            code        meaning
    ================  ==========  =================================
    :math:`\theta`    ``params``  the parameters, by name
    :math:`\nabla J`  ``grads``   the gradient of the loss, by name
    :math:`\alpha`    ``lr``      the learning rate
    ================  ==========  =================================

    On a quadratic loss with largest curvature L it converges for a learning rate below 2/L, without overshooting up to
    1/L, and diverges above 2/L.

    Args:
        params: Tensors by name, any shapes. A name without a gradient is unchanged.
        grads: Tensors by name, each of its parameter's shape.
        lr: At least 0; 0 changes nothing.

    Returns:
        New tensors under the same names. The inputs are not modified.

    Raises:
        ArgumentError: If ``lr`` is not a number of at least 0.

    Source:
        The article, section 3.1, formula (2). Departure: none. It is ``torch.optim.SGD`` without momentum. The default
        optimizer is AdamW, whose differences are listed in :func:`ftlab.formulas.adamw.adamw`.

    Example:
        >>> gradient_descent({"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([10.0, -10.0])}, 0.1)
        {'w': tensor([0., 3.])}
    """
    check_number("gradient_descent", "lr", lr, "0.1 is a first try for plain descent", at_least=0)
    return {name: param - lr * grads[name] if name in grads else param.clone() for name, param in params.items()}
