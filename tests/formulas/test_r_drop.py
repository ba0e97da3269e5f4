"""R-Drop: by hand, against torch and SciPy, its laws, and the published code whose strength grows with the batch."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, rel_entr, softmax
from torch.nn.functional import cross_entropy as torch_cross_entropy, kl_div

from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.formulas.r_drop import r_drop
from ftlab.losses.classification import CrossEntropy, RDrop

FIRST = torch.tensor([[1.0, 3.0]], dtype=torch.double).log()  # softmax gives (1/4, 3/4)
SECOND = torch.tensor([[3.0, 1.0]], dtype=torch.double).log()  # softmax gives (3/4, 1/4)
LABEL = torch.tensor([0])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    first, second = (2 * torch.randn(8, 5, generator=generator, dtype=torch.double) for _ in range(2))
    return first, second, torch.randint(5, (8,), generator=generator)


def test_loss_worked_by_hand():
    # cross-entropy: (1.386294 + 0.287682)/2 = 0.836988
    assert r_drop(FIRST, SECOND, LABEL, 0.0).item() == pytest.approx(0.836988, abs=1e-6)
    # KL(p‖q) = 1/4·log(1/3) + 3/4·log 3 = 0.549306 = KL(q‖p): 0.836988 + 2·0.549306 = 1.935600
    assert r_drop(FIRST, SECOND, LABEL, 2.0).item() == pytest.approx(1.935600, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, 5.0])
def test_loss_equals_that_made_of_torchs_parts(batch, alpha):
    first, second, labels = batch
    p, q = first.log_softmax(1), second.log_softmax(1)
    both = kl_div(q, p, reduction="batchmean", log_target=True) + kl_div(p, q, reduction="batchmean", log_target=True)
    entropy = 0.5 * (torch_cross_entropy(first, labels) + torch_cross_entropy(second, labels))
    expected = entropy + alpha * 0.5 * both
    torch.testing.assert_close(r_drop(first, second, labels, alpha), expected, rtol=1e-12, atol=0)


def test_loss_equals_the_definition_written_out_with_scipy(batch):
    first, second, labels = (tensor.numpy() for tensor in batch)
    total = 0.0
    for z, other, label in zip(first, second, labels, strict=True):
        p, q = softmax(z), softmax(other)
        total -= 0.5 * (log_softmax(z)[label] + log_softmax(other)[label])
        total += 0.7 * 0.5 * (rel_entr(p, q).sum() + rel_entr(q, p).sum())
    assert r_drop(*batch, 0.7).item() == pytest.approx(total / 8, rel=1e-12)


def test_equal_passes_give_cross_entropy_bit_for_bit_whatever_alpha(batch):
    first, _, labels = batch
    for alpha in (0.0, 1.0, 100.0):
        for dtype in (torch.float32, torch.float64):
            one = first.to(dtype)
            assert torch.equal(r_drop(one, one.clone(), labels, alpha), cross_entropy(one, labels))


def test_a_batch_twice_as_large_has_the_same_strength_unlike_in_the_published_code(batch):
    def published(first, second, labels, alpha):
        # as in the authors' README: half the sum over the whole batch of both divergences, beside means of the entropies
        p, q = first.log_softmax(1), second.log_softmax(1)
        both = kl_div(p, q.exp(), reduction="sum") + kl_div(q, p.exp(), reduction="sum")
        entropy = torch_cross_entropy(first, labels) + torch_cross_entropy(second, labels)
        return entropy / 2 + alpha * both / 2

    twice = [torch.cat([tensor, tensor]) for tensor in batch]
    torch.testing.assert_close(r_drop(*twice, 1.0), r_drop(*batch, 1.0), rtol=1e-12, atol=0)
    entropy = r_drop(*batch, 0.0)
    strength = [(published(*some, 1.0) - entropy) / (r_drop(*some, 1.0) - entropy) for some in (batch, twice)]
    assert [one.item() for one in strength] == pytest.approx([8.0, 16.0], rel=1e-10)  # it is α times the batch's size


def test_the_passes_may_change_places_and_disagreement_is_never_negative(batch):
    first, second, labels = batch
    assert torch.equal(r_drop(first, second, labels, 1.0), r_drop(second, first, labels, 1.0))
    for seed in range(50):
        near = first + 1e-7 * torch.randn(8, 5, generator=torch.Generator().manual_seed(seed))
        assert r_drop(first, near, labels, 1e6) >= r_drop(first, near, labels, 0.0)


def test_adding_a_constant_to_a_row_of_logits_changes_nothing(batch):
    first, second, labels = batch
    moved = second + torch.arange(8.0).double()[:, None]
    expected = r_drop(first, second, labels, 1.0)
    torch.testing.assert_close(r_drop(first, moved, labels, 1.0), expected, rtol=1e-12, atol=0)


def test_gradient_is_that_of_finite_differences_through_both_passes(batch):
    first, second, labels = batch
    assert torch.autograd.gradcheck(
        lambda p, q: r_drop(p, q, labels, 0.7), (first.requires_grad_(), second.requires_grad_())
    )


def test_the_loss_of_a_model_is_the_formula_of_two_passes_with_different_dropout(batch):
    model = torch.nn.Sequential()
    model.append(torch.nn.Dropout(0.5))
    model.append(torch.nn.Linear(5, 5))
    rows = {"input": batch[0].float(), "labels": batch[2]}
    torch.manual_seed(1)
    loss = RDrop(2.0)(model, rows)
    torch.manual_seed(1)
    first, second = model(rows["input"]), model(rows["input"])
    assert not torch.equal(first, second)
    assert torch.equal(loss, r_drop(first, second, rows["labels"], 2.0))
    assert torch.equal(RDrop(2.0)(model.eval(), rows), CrossEntropy()(model, rows))  # no dropout: the passes are equal
    assert np.isfinite(loss.item())
    assert repr(RDrop()) == "RDrop(alpha=1.0)"


MUTANTS = (
    ("(p - q)).sum() / 2", "(p - q)).sum()"),
    ("(entropy + alpha * divergence) / len(labels)", "entropy / len(labels) + alpha * divergence"),
    ("(true * q).sum()) / 2", "(true * q).sum())"),
    ("((p.exp() - q.exp()) * (p - q))", "(p.exp() * (p - q))"),
    ("-((true * p).sum() + (true * q).sum())", "-((true * p).sum() + (true * p).sum())"),
    ('    check_labels("r_drop", first, labels)\n', ""),
)
