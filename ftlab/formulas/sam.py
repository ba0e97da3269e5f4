"""SAM: sharpness-aware minimisation, a step with the gradient at a nearby point of higher loss."""

import torch  # noqa: F401  (for the examples)

from ftlab.errors import check_number
from ftlab.parameters import Tensors, joint_norm


def sam(params: Tensors, grads: Tensors, rho: float) -> Tensors:
    r"""Move all parameters a fixed distance along the gradient, to the point at which SAM takes the gradient.

    .. math:: \hat{\theta} = \theta + \rho\,\frac{\nabla J(\theta)}{\lVert\nabla J(\theta)\rVert_2 + 10^{-12}},
              \qquad \theta_{new} = \theta - \alpha\,\mathrm{opt}\big(\nabla J(\hat{\theta})\big)

    ================  ==========  ===========================================
    symbol            code        meaning
    ================  ==========  ===========================================
    :math:`\theta`    ``params``  the parameters, by name
    :math:`\nabla J`  ``grads``   the gradient of the loss at θ, by name
    :math:`\rho`      ``rho``     the distance, in the unit of the parameters
    ================  ==========  ===========================================

    To first order it minimises the largest loss within the distance ρ of θ, which favours flat minima over sharp ones.
    An update costs two forward and backward passes. The step itself is :class:`ftlab.training.sam.SAM`.

    Args:
        params: Tensors by name. A name without a gradient is unchanged.
        grads: Tensors by name, each of its parameter's shape.
        rho: At least 0; 0 changes nothing.

    Returns:
        New tensors under the same names, :math:`\hat{\theta}`. The inputs are not modified.

    Raises:
        ArgumentError: If ``rho`` is not a number of at least 0.

    Source:
        Foret et al. 2021, "Sharpness-Aware Minimization for Efficiently Improving Generalization", arXiv 2010.01412,
        with the Euclidean norm. Departure: 1e-12 is added to the norm, so that a gradient of 0 moves nothing.

    Example:
        The norm of the gradient is 5, so the step is one fifth of the gradient.

        >>> sam({"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([3.0, -4.0])}, 1.0)
        {'w': tensor([1.6000, 0.2000])}
    """
    check_number("sam", "rho", rho, "0.05 is usual, 0 switches it off", at_least=0)
    factor = rho / (joint_norm({name: grads[name] for name in params if name in grads}) + 1e-12)
    return {
        name: param + factor.to(param) * grads[name] if name in grads else param.clone()
        for name, param in params.items()
    }
