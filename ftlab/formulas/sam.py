"""SAM: look for the gradient uphill, where the loss is greatest nearby, and go down from here by that one."""

import torch  # noqa: F401  (for the examples)

from ftlab.errors import check_number
from ftlab.parameters import Tensors, joint_norm


def sam(params: Tensors, grads: Tensors, rho: float) -> Tensors:
    r"""Move all parameters together a fixed distance up the slope, to where the gradient is to be taken.

    .. math:: \hat{\theta} = \theta + \rho\,\frac{\nabla J(\theta)}{\lVert\nabla J(\theta)\rVert_2 + 10^{-12}},
              \qquad \theta_{new} = \theta - \alpha\,\mathrm{opt}\big(\nabla J(\hat{\theta})\big)

    ====================  ============  ====================================================
    symbol                code          meaning
    ====================  ============  ====================================================
    :math:`\theta`        ``params``    the parameters, by name
    :math:`\nabla J`      ``grads``     the loss's gradient there, by name
    :math:`\rho`          ``rho``       how far to look, in the parameters' unit
    ====================  ============  ====================================================

    It minimises the greatest loss within ρ of θ, to first order: sharp minima, which rise at once, are left for flat
    ones. An update costs two passes. The step itself is :class:`ftlab.training.sam.SAM`.

    Args:
        params: Tensors by name. A name without a gradient stays as it is.
        grads: Tensors by name, each of its parameter's shape.
        rho: At least 0; 0 changes nothing.

    Returns:
        New tensors under the same names, :math:`\hat{\theta}`; what came in is not changed.

    Raises:
        ArgumentError: If ``rho`` is not a number of at least 0.

    Source:
        Foret et al. 2021, "Sharpness-Aware Minimization for Efficiently Improving Generalization", arXiv 2010.01412,
        with the Euclidean length. Departure: 1e-12 is added to it, so that a gradient of 0 moves nothing.

    Example:
        The gradient's length is 5, so the step is its fifth.

        >>> sam({"w": torch.tensor([1.0, 1.0])}, {"w": torch.tensor([3.0, -4.0])}, 1.0)
        {'w': tensor([1.6000, 0.2000])}
    """
    check_number("sam", "rho", rho, "0.05 is usual, 0 switches it off", at_least=0)
    factor = rho / (joint_norm({name: grads[name] for name in params if name in grads}) + 1e-12)
    return {
        name: param + factor.to(param) * grads[name] if name in grads else param.clone()
        for name, param in params.items()
    }
