"""Fisher information: how sensitive the model's predictions are to each parameter, as EWC and Child-Tuning-D use it."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.errors import argument_error, check_int
from ftlab.parameters import Tensors, eval_mode
from ftlab.rule import microbatches


def fisher_information(
    model: nn.Module, batches: Iterable[Any], loss: Any, names: Iterable[str], samples: int
) -> Tensors:
    r"""Return the diagonal of the empirical Fisher information, the mean of the squared gradients of single samples.

    .. math:: F_i = \frac{1}{n}\sum_{j=1}^{n}\left(\frac{\partial \ell(x_j, y_j; \theta)}{\partial\theta_i}\right)^2,
              \qquad \ell = -\log p_\theta(y_j|x_j)

    ================  ===========  ===============================================
    symbol            code         meaning
    ================  ===========  ===============================================
    :math:`F`                      the Fisher information of each entry, by name
    :math:`\theta`    ``model``    the parameters at which it is measured
    :math:`x_j, y_j`  ``batches``  the inputs and the label of sample j
    :math:`\ell`      ``loss``     the loss of one sample; cross-entropy is -log p
    :math:`i`         ``names``    the parameters that are measured
    :math:`n`         ``samples``  the number of samples
    ================  ===========  ===============================================

    The square is taken sample by sample. The squared gradient of a batch's mean loss is another quantity, which tends
    to 0 at a minimum as the batch grows. The model runs in evaluation mode, without dropout.

    Args:
        model: Its parameters, their gradients and its training mode are left as they were.
        batches: Dictionaries of tensors with ``labels``, or lists of such dictionaries (micro-batches).
        loss: ``loss(model, batch)``, the mean loss of a batch.
        names: Names of trainable parameters. With none, no pass is computed.
        samples: At least 1. The first rows are used, and all rows where there are fewer.

    Returns:
        Tensors of the parameters' shapes by name, in single precision, at least 0. A parameter that the loss does not
        depend on has 0, and so has every parameter where ``batches`` holds no row.

    Raises:
        ArgumentError: If ``samples`` is not a whole number of at least 1, or a name is not that of a trainable
            parameter.

    Source:
        Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting", arXiv 1612.00796, uses the diagonal. Departure:
        the labels are those of the data, which makes it the empirical Fisher information; the Fisher information itself
        draws the labels from the model's predictions (Kunstner, Balles and Hennig 2019, arXiv 1905.12558).

    Example:
        A model with the scores (0, 0): p = 1/2 for both classes. The gradient by the bias is p minus the true class,
        which is -1/2 or 1/2 in each sample, so its square is 1/4. The mean gradient over both samples is 0.

        >>> net = nn.Linear(1, 2)
        >>> with torch.no_grad():
        ...     _ = net.weight.zero_(), net.bias.zero_()
        >>> def loss(model, batch):
        ...     return nn.functional.cross_entropy(model(batch["x"]), batch["labels"])
        >>> batch = {"x": torch.tensor([[1.0], [2.0]]), "labels": torch.tensor([0, 1])}
        >>> fisher_information(net, [batch], loss, ["bias"], samples=2)
        {'bias': tensor([0.2500, 0.2500])}
    """
    check_int("fisher_information", "samples", samples, "128 is usual", at_least=1)
    params = dict(model.named_parameters())
    names = list(names)
    if bad := [name for name in names if name not in params or not params[name].requires_grad]:
        do = "Take them from model.named_parameters()"
        raise argument_error("fisher_information", "names", "be trainable parameters of the model", repr(bad[0]), do)
    if not names:
        return {}
    chosen = {name: params[name] for name in names}
    device = next(iter(params.values())).device
    sums = {name: torch.zeros_like(param, dtype=torch.float32) for name, param in chosen.items()}
    count = 0
    with eval_mode(model):
        for row in _rows(batches, samples):
            value: Tensor = loss(model, {name: tensor.to(device) for name, tensor in row.items()})
            grads = torch.autograd.grad(value, list(chosen.values()), allow_unused=True)
            for total, grad in zip(sums.values(), grads, strict=True):
                if grad is not None:
                    total.add_(grad.float().square())
            count += 1
    return {name: total / max(1, count) for name, total in sums.items()}


def _rows(batches: Iterable[Any], samples: int) -> Iterator[dict[str, Tensor]]:
    """Yield the first rows of the batches, each as a batch of one row."""
    left = samples
    for part in microbatches(batches):
        for row in range(len(part["labels"])):
            if not left:
                return
            left -= 1
            yield {name: tensor[row : row + 1] for name, tensor in part.items()}
