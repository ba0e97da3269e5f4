"""Contextual calibration: divide a language model's label probabilities by what it gives them for a text that says nothing."""

from torch import Tensor

from ftlab.errors import argument_error


def contextual_calibration(log_probs: Tensor, prior: Tensor) -> Tensor:
    r"""Correct the probabilities of label words for the model's own preference among them.

    .. math:: q_c = \frac{p_c / \bar p_c}{\sum_k p_k / \bar p_k}

    ==================  ==============  ================================================================
    symbol              code            meaning
    ==================  ==============  ================================================================
    :math:`p_c`         ``log_probs``   the probability of label c's word after the prompt with the text
    :math:`\bar p_c`    ``prior``       its mean probability after the prompt with a text without content
    :math:`q_c`                         the corrected probability; the result holds its logarithm
    ==================  ==============  ================================================================

    Args:
        log_probs: Logarithms of probabilities, or logits, shape (texts, labels). A constant added to a row changes nothing.
        prior: Logarithms as well, shape (contents, labels): a row for each text without content.

    Returns:
        Logarithms of probabilities that sum to 1 in each row, shape (texts, labels). A uniform prior leaves them as they
        are, and the corrected prior itself is uniform.

    Raises:
        ArgumentError: If the numbers of labels differ, or there is no row of the prior.

    Source:
        Zhao, Wallace, Feng, Klein and Singh 2021, "Calibrate Before Use", arXiv 2102.09690, section 5. Departure: none;
        W = diag(p̄)⁻¹ and b = 0, as in its classification experiments.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[0.8, 0.2]]).log()  # for a text
        >>> prior = torch.tensor([[0.9, 0.1]]).log()  # for "N/A"
        >>> contextual_calibration(log_probs, prior).exp()
        tensor([[0.3077, 0.6923]])
    """
    if log_probs.ndim != 2 or prior.ndim != 2 or log_probs.shape[1] != prior.shape[1] or not len(prior):
        got = f"{tuple(log_probs.shape)} and {tuple(prior.shape)}"
        do = "Give (texts, labels) and (contents, labels)"
        raise argument_error("contextual_calibration", "log_probs and prior", "have the same labels", got, do)
    mean = prior.log_softmax(1).logsumexp(0)  # of the probabilities; the number of rows cancels
    return (log_probs - mean).log_softmax(1)
