"""Distillation: by hand, against torch and SciPy, its laws, and two scalings that are often got wrong."""

import math

import pytest
import torch
from scipy.special import rel_entr, softmax
from torch.nn.functional import cross_entropy as torch_cross_entropy, kl_div

from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.formulas.distill import distill

TEACHER = torch.tensor([[9.0, 1.0]], dtype=torch.double).log()  # (9/10, 1/10), and (3/4, 1/4) at a temperature of 2
STUDENT = torch.zeros(1, 2, dtype=torch.double)
LABEL = torch.tensor([0])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (2 * torch.randn(8, 5, generator=generator, dtype=torch.double) for _ in range(2))
    return student, teacher, torch.randint(5, (8,), generator=generator)


def test_loss_worked_by_hand():
    # T = 2: 3/4·log(3/2) + 1/4·log(1/2) = 0.130812; times 2² = 0.523248
    assert distill(STUDENT, TEACHER, LABEL, 2.0, 1.0).item() == pytest.approx(0.523248, abs=1e-6)
    # a quarter of it, and three quarters of log 2: 0.130812 + 0.519860 = 0.650672
    assert distill(STUDENT, TEACHER, LABEL, 2.0, 0.25).item() == pytest.approx(0.650672, abs=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_loss_equals_that_made_of_torchs_parts(batch, temperature, alpha):
    student, teacher, labels = batch
    soft = kl_div((student / temperature).log_softmax(1), (teacher / temperature).softmax(1), reduction="batchmean")
    expected = (1 - alpha) * torch_cross_entropy(student, labels) + alpha * temperature**2 * soft
    torch.testing.assert_close(distill(*batch, temperature, alpha), expected, rtol=1e-11, atol=0)


def test_loss_equals_the_definition_written_out_with_scipy(batch):
    student, teacher, labels = (tensor.numpy() for tensor in batch)
    total = 0.0
    for s, t, label in zip(student, teacher, labels, strict=True):
        total += -0.6 * math.log(softmax(s)[label]) + 0.4 * 9 * rel_entr(softmax(t / 3), softmax(s / 3)).sum()
    assert distill(*batch, 3.0, 0.4).item() == pytest.approx(total / 8, rel=1e-12)


def test_torchs_mean_would_divide_by_the_number_of_classes_as_well(batch):
    student, teacher, labels = batch
    with pytest.warns(UserWarning, match="divides the total loss by both the batch size and the support size"):
        mean = kl_div(student.log_softmax(1), teacher.softmax(1), reduction="mean")
    torch.testing.assert_close(distill(student, teacher, labels, 1.0, 1.0), 5 * mean, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_the_teacher_it_is_cross_entropy_bit_for_bit(batch, dtype):
    student, teacher, labels = batch
    student = student.to(dtype)
    assert torch.equal(distill(student, teacher, labels, 3.0, 0.0), cross_entropy(student, labels))


def test_a_student_that_equals_its_teacher_has_0_and_any_other_has_more(batch):
    student, teacher, labels = batch
    assert distill(teacher, teacher.clone(), labels, 2.0, 1.0) == 0
    assert distill(teacher + 3, teacher, labels, 2.0, 1.0).item() == pytest.approx(0, abs=1e-14)
    assert distill(student, teacher, labels, 2.0, 1.0) > 0.1


def test_at_a_great_temperature_it_becomes_half_the_mean_squared_distance_of_the_centred_logits(batch):
    student, teacher, labels = batch  # Hinton et al.: for logits of mean 0 the gradient is (s - t)/C
    apart = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    expected = apart.square().mean(1).mean() / 2
    assert distill(student, teacher, labels, 1e4, 1.0).item() == pytest.approx(expected.item(), rel=1e-3)


def test_the_gradient_keeps_its_size_when_the_temperature_grows(batch):
    student, teacher, labels = batch
    sizes = []
    for temperature in (20.0, 80.0):
        student.grad = None
        distill(student.requires_grad_(), teacher, labels, temperature, 1.0).backward()
        sizes.append(student.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)  # without T² it would be 16 times smaller


def test_no_gradient_goes_into_the_teacher_and_nothing_given_is_changed(batch):
    student, teacher, labels = (tensor.clone() for tensor in batch)
    teacher.requires_grad_()
    distill(student.requires_grad_(), teacher, labels, 2.0, 0.5).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0
    assert all(torch.equal(one, other) for one, other in zip(batch, (student, teacher, labels), strict=True))


def test_the_two_parts_change_places_with_alpha(batch):
    both = distill(*batch, 2.0, 0.25)
    expected = 0.75 * distill(*batch, 2.0, 0.0) + 0.25 * distill(*batch, 2.0, 1.0)
    torch.testing.assert_close(both, expected, rtol=1e-12, atol=0)


def test_gradient_is_that_of_finite_differences(batch):
    student, teacher, labels = batch
    assert torch.autograd.gradcheck(lambda s: distill(s, teacher, labels, 2.0, 0.3), student.requires_grad_())


MUTANTS = (
    ("temperature**2 * divergence", "divergence"),
    ("target.exp() * (target - logs)", "logs.exp() * (logs - target)"),
    ("logs = (student / temperature)", "logs = student"),
    ("(1 - alpha) * entropy", "entropy"),
    ("teacher.detach().to(student)", "teacher.to(student)"),
    ("divergence) / len(labels)", "divergence / student.shape[1]) / len(labels)"),
    ('    check_labels("distill", student, labels)\n', ""),
)
