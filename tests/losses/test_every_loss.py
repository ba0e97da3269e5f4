"""What holds for every loss inside training: whole and in parts, in bf16, resumed, at its neutral value."""

import tempfile
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
)

import ftlab
from ftlab.experiments import tiny_run
from ftlab.losses.adversarial import FreeLB, Smart
from ftlab.losses.classification import CrossEntropy, Focal, RDrop
from ftlab.losses.contrastive import SupervisedContrastive
from ftlab.losses.distill import Distill
from ftlab.training import checkpoint
from tests.losses.models import (
    begun,
    every_loss,
    first_step,
    still,
    teacher,
)
from tests.tiny import tiny_gpt2


@pytest.mark.parametrize(
    "loss",
    [CrossEntropy(), Focal(2.0), RDrop(1.0), Distill(teacher()), FreeLB(3), Smart(0.0)],
    ids=lambda loss: type(loss).__name__,
)
def test_two_parts_are_the_whole_batch_for_a_loss_that_is_a_mean(loss):
    (whole, grads), (parts, others) = first_step(loss, change=still), first_step(loss, 2, change=still)
    assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-6)
    for name, grad in grads.items():
        torch.testing.assert_close(others[name], grad, rtol=1e-4, atol=1e-6)


@every_loss
def test_the_fast_engine_gives_nearly_the_same_loss_and_a_gradient_for_every_parameter(loss):
    (slow, grads), (fast, others) = first_step(loss, change=still), first_step(loss, engine="fast", change=still)
    assert fast["loss"] == pytest.approx(slow["loss"], abs=0.02)
    assert grads.keys() == others.keys() == begun(loss).params.keys()
    one, other = (torch.cat([grad.flatten() for grad in some.values()]) for some in (grads, others))
    assert torch.cosine_similarity(one, other, dim=0) > 0.98


@every_loss
def test_stopped_saved_and_resumed_training_ends_with_the_same_weights_bit_for_bit(loss):
    whole = begun(loss)
    tiny_run.go_on(whole, 6)
    first = begun(loss)
    tiny_run.go_on(first, 3)
    with tempfile.TemporaryDirectory() as folder:
        saved = checkpoint.save(first, Path(folder))
        second = begun(loss)
        checkpoint.restore(second, saved)
    tiny_run.go_on(second, 6)
    assert tiny_run.same(tiny_run.weights(second), tiny_run.weights(whole))
    assert not tiny_run.same(tiny_run.weights(whole), tiny_run.weights(begun(loss)))


@every_loss
def test_a_loss_leaves_no_hook_no_gradient_and_no_trace_in_the_model(loss):
    net, rows = tiny_run.model().train(), tiny_run.batch(0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    value = loss(net, rows)
    assert value.ndim == 0
    assert value.requires_grad
    assert tiny_run.same(before, net.state_dict())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert all(param.grad is None for param in net.parameters())
    assert net.training


@every_loss
def test_a_loss_can_be_measured_without_gradients_and_works_with_a_frozen_embedding(loss):
    net = still(tiny_run.model())
    torch.manual_seed(0)
    expected = loss(net, tiny_run.batch(0))
    for param in net.get_input_embeddings().parameters():
        param.requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        assert torch.equal(loss(net, tiny_run.batch(0)), expected)
    torch.manual_seed(0)
    loss(net, tiny_run.batch(0)).backward()
    assert net.get_input_embeddings().weight.grad is None
    assert net.classifier.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "loss",
    [Focal(0.0), SupervisedContrastive(0.0), Smart(0.0), FreeLB(1), FreeLB(3, 0.0), Distill(teacher(), alpha=0.0)],
)
def test_the_neutral_form_is_cross_entropy_bit_for_bit_dropout_and_all(loss):
    (ours, grads), (plain, others) = first_step(loss), first_step(CrossEntropy())
    near = isinstance(loss, FreeLB) and loss.steps > 1  # the mean of three equal losses is rounded
    assert ours["loss"] == (pytest.approx(plain["loss"], rel=1e-6) if near else plain["loss"])
    for name, grad in others.items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-4 if near else 0, atol=1e-7 if near else 0)


@pytest.mark.parametrize("loss", [Smart(), FreeLB(), SupervisedContrastive(), RDrop(), Focal()], ids=repr)
def test_a_gpt_can_be_fine_tuned_with_every_loss(loss, tmp_path_factory, small):
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    run = ftlab.finetune(str(tiny_gpt2(folder)), small, epochs=1, accumulate=2, loss=loss, progress=False)
    assert run.facts["arguments"]["loss"] == repr(loss)
    assert all(param.isfinite().all() for param in run.model.net.parameters())
    assert isinstance(run.model.net, AutoModelForSequenceClassification._model_mapping[GPT2Config])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@every_loss
def test_on_a_gpu_the_loss_is_that_of_the_processor(loss):
    rows = tiny_run.batch(0)
    values = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        net = still(tiny_run.model()).to(device)
        value = loss(net, {name: tensor.to(device) for name, tensor in rows.items()})
        value.backward()
        values.append(value.item())
    assert values[0] == pytest.approx(values[1], abs=1e-2 if isinstance(loss, Smart | FreeLB) else 1e-4)
