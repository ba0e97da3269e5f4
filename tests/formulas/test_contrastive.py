"""The supervised contrastive loss: by hand, against a double loop from the paper, and its laws."""

import math

import numpy as np
import pytest
import torch

from ftlab.formulas.contrastive import contrastive


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(10, 6, generator=generator, dtype=torch.double)
    return vectors, torch.tensor([0, 1, 2, 0, 1, 0, 3, 1, 4, 0])  # 2, 3 and 4 stand alone


def written_out(vectors, labels, temperature):
    """The loss of Khosla et al. with the sum outside the logarithm, as loops, over the anchors that have a positive."""
    rows = [row / math.sqrt(float(row @ row)) for row in vectors.numpy()]
    losses = []
    for i, anchor in enumerate(rows):
        others = [a for a in range(len(rows)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        below = sum(math.exp(float(anchor @ rows[a]) / temperature) for a in others)
        if positives:
            parts = [math.log(math.exp(float(anchor @ rows[p]) / temperature) / below) for p in positives]
            losses.append(-sum(parts) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def test_loss_worked_by_hand():
    # directions right, right, up with labels 0, 0, 1: both rights draw each other with e/(e + 1): -log = 0.313262
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.double)
    assert contrastive(vectors, torch.tensor([0, 0, 1]), 1.0).item() == pytest.approx(0.313262, abs=1e-6)
    # labels 0, 1, 0: the first draws the third with 1/(e + 1), 1.313262; the third the first with 1/2, 0.693147
    assert contrastive(vectors, torch.tensor([0, 1, 0]), 1.0).item() == pytest.approx(1.003204, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 1.0, 10.0])
def test_loss_equals_the_double_loop_of_the_paper(batch, temperature):
    vectors, labels = batch
    expected = written_out(vectors, labels, temperature)
    assert contrastive(vectors, labels, temperature).item() == pytest.approx(expected, rel=1e-10)


def test_loss_equals_the_double_loop_with_two_labels_of_any_sizes():
    generator = torch.Generator().manual_seed(1)
    for size in (2, 3, 7, 16):
        vectors = torch.randn(size, 4, generator=generator, dtype=torch.double)
        labels = torch.randint(2, (size,), generator=generator)
        expected = written_out(vectors, labels, 0.5)
        assert contrastive(vectors, labels, 0.5).item() == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_with_one_positive_each_it_is_the_cross_entropy_of_choosing_the_partner():
    vectors = torch.randn(8, 6, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    z = torch.nn.functional.normalize(vectors)
    chances = (z @ z.T / 0.3).fill_diagonal_(-math.inf)
    partner = torch.arange(8).roll(4)
    expected = torch.nn.functional.cross_entropy(chances, partner)
    torch.testing.assert_close(contrastive(vectors, torch.arange(8) % 4, 0.3), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_samples_that_all_stand_alone_give_0_with_a_gradient_of_0(size):
    vectors = torch.randn(size, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = contrastive(vectors, torch.arange(size), 0.3)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(vectors.grad, torch.zeros(size, 4))


def test_one_that_stands_alone_is_no_nan_as_it_is_where_the_sum_is_divided_by_its_positives(batch):
    vectors, labels = batch
    z = torch.nn.functional.normalize(vectors)
    same = (labels[:, None] == labels).double().fill_diagonal_(0)
    logs = (z @ z.T / 0.3).fill_diagonal_(-math.inf).log_softmax(1).fill_diagonal_(0)
    plain = -(same * logs).sum(1) / same.sum(1)  # as in the published code: 0/0 for an anchor without a positive
    assert plain.isnan().tolist() == [label in (2, 3, 4) for label in labels]
    ours = contrastive(vectors, labels, 0.3)
    torch.testing.assert_close(ours, plain[~plain.isnan()].mean(), rtol=1e-12, atol=0)


def test_one_that_stands_alone_is_no_anchor_but_is_still_to_be_kept_away(batch):
    vectors, labels = batch
    vectors.requires_grad_()
    contrastive(vectors, labels, 0.3).backward()
    assert (vectors.grad[[2, 6, 8]].norm(dim=1) > 1e-3).all()


def test_only_directions_and_equality_of_labels_count(batch):
    vectors, labels = batch
    expected = contrastive(vectors, labels, 0.3)
    longer = vectors * torch.linspace(0.1, 9, 10, dtype=torch.double)[:, None]
    turned = vectors @ torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)).double()).Q
    mixed = torch.randperm(10, generator=torch.Generator().manual_seed(4))
    for other in (longer, turned):
        torch.testing.assert_close(contrastive(other, labels, 0.3), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(contrastive(vectors[mixed], labels[mixed], 0.3), expected, rtol=1e-12, atol=0)
    assert torch.equal(contrastive(vectors, 7 - labels, 0.3), expected)


def test_equal_vectors_give_the_log_of_the_number_of_others_and_good_clusters_nearly_0():
    labels = torch.arange(6) % 2
    assert contrastive(torch.ones(6, 3), labels, 0.3).item() == pytest.approx(math.log(5), rel=1e-6)
    apart = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])[labels]
    tight = contrastive(apart, labels, 0.1).item()
    assert tight == pytest.approx(math.log(2), rel=1e-6)  # two positives share the chance: log 2 is the least there is
    assert contrastive(apart, torch.arange(6) // 3, 0.1).item() > 10  # labels that cut across the clusters


def test_a_vector_of_length_0_gives_finite_numbers():
    vectors = torch.zeros(4, 3).requires_grad_()
    loss = contrastive(vectors, torch.tensor([0, 0, 1, 1]), 0.3)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)
    assert vectors.grad.isfinite().all()


def test_gradient_is_that_of_finite_differences(batch):
    vectors, labels = batch
    assert torch.autograd.gradcheck(lambda v: contrastive(v, labels, 0.5), vectors.requires_grad_())


def test_numbers_stay_finite_at_a_temperature_so_small_that_exponentials_overflow(batch):
    vectors, labels = batch
    loss = contrastive(vectors.float().requires_grad_(), labels, 1e-4)
    assert np.isfinite(loss.item())


MUTANTS = (
    ("torch.nn.functional.normalize(vectors, dim=1)", "vectors"),
    (".masked_fill(itself, -math.inf)", ""),
    ("(labels[:, None] == labels) & ~itself", "labels[:, None] == labels"),
    ("/ (count > 0).sum().clamp(min=1)", "/ len(labels)"),
    (".sum(dim=1) / count.clamp(min=1)", ".sum(dim=1)"),
    ("count.clamp(min=1)", "count"),
    ("(count > 0).sum().clamp(min=1)", "(count > 0).sum()"),
)
