"""What a GPU does otherwise, tested without one: a tape stands in for its recorder, plain products for its kernel."""

from contextlib import nullcontext
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from transformers import BertConfig, BertForSequenceClassification

import ftlab
from ftlab.engines.fast import cuda_graphs, flash
from ftlab.engines.fast.cuda_graphs import Recordings, replay
from ftlab.engines.fast.engine import Fast, Session
from ftlab.engines.fast.packed_batch import TENSORS, PackedBatch, packed_batch_of, remember_packed_batch
from ftlab.engines.fast.packing import packed_passes
from ftlab.engines.fast.transfer import host_copy, item_async, remember_host_copy, tensor_to_device, to_device
from ftlab.errors import ArgumentError
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.losses.classification import BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError, RDrop
from tests.engines.fast.models import LENGTHS, SIZES, assert_equal, batch, made, padded_further, scores_and_gradients

META = torch.device("meta")


class Tape(TorchDispatchMode):
    """Keeps every operation of a run, and does them again in order, on the same tensors: no line of Python runs anew.

    So do CUDA graphs. What the second tape reads of the first one's is where the first one's replay left it.
    """

    def __init__(self, made):
        super().__init__()
        self.made, self.calls, self.replays = made, [], 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        self.replays += 1
        with torch.no_grad():
            for func, args, kwargs, out in self.calls:
                args, kwargs = tree_map_only(torch.Tensor, lambda one: self.made.get(id(one), one), (args, kwargs))
                anew = func(*args, **kwargs)
                for old, new in zip(tree_leaves(out), tree_leaves(anew), strict=True):
                    if isinstance(old, torch.Tensor):
                        self.made[id(old)] = new


class Tapes:
    """Stands in for the recorder of a GPU."""

    def __init__(self):
        self.made, self.tapes = {}, []

    def warm(self, run):
        run()

    def record(self, run):
        tape = Tape(self.made)
        with tape:
            run()
        self.tapes.append(tape)
        return tape.replay


class Again(Tapes):
    """Runs what it recorded, instead of replaying it."""

    def record(self, run):
        return run


class Broken(Tapes):
    """Cannot record."""

    def record(self, run):
        raise RuntimeError("operation not permitted when stream is capturing")


def recording(engine, net, recorder):
    """Let an engine record the passes of a model, as it does in a session on a GPU."""
    recordings = Recordings(list(net.modules()), recorder)
    engine._sessions[net] = Session(recordings=recordings)
    return recordings


def trained(net, batches, recorder=None, loss=None, updates=12):
    """Return the losses, the weights, and what was recorded if anything was to be."""
    state = ftlab.begin(net, batches, [ClipNorm(1.0)], epochs=9, lr=1e-3, engine="fast-fp32", loss=loss)
    recordings = recorder and recording(state.engine, net, recorder)
    losses = [ftlab.step(state, batches[number % len(batches)])["loss"] for number in range(updates)]
    return losses, [param.detach().clone() for param in net.parameters()], recordings


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "electra"])
def test_replayed_passes_train_as_the_ordinary_ones_do(kind):
    batches = [
        batch(made(kind), lengths, number) for number, lengths in enumerate(["ragged", "even", "ragged", "full"])
    ]
    expected, weights, _ = trained(made(kind, dropout=0.0), batches)
    tapes = Tapes()
    losses, others, kept = trained(made(kind, dropout=0.0), batches, tapes)
    assert losses == pytest.approx(expected, abs=1e-6)
    for weight, other in zip(weights, others, strict=True):
        torch.testing.assert_close(other, weight, rtol=1e-3, atol=1e-5)
    assert not kept.refused
    assert len(kept.by_shape) == 3  # "ragged" twice
    assert [tape.replays for tape in tapes.tapes] == [1 + 4, 1 + 4, 1 + 2, 1 + 2, 1 + 2, 1 + 2]  # once each as a trial


def test_batches_of_another_width_share_a_recording_and_parts_add_up():
    def rows(number, width):
        one = batch(made("bert"), "ragged", number)
        return {name: tensor[:, :width] if tensor.ndim == 2 else tensor for name, tensor in one.items()}

    narrow = rows(1, 7)
    narrow["attention_mask"][0, 5:] = 1  # as many tokens in the row
    wide = padded_further(made("bert"), rows(4, 8), 30)
    batches = [[rows(0, 8), narrow], [narrow, rows(2, 8)], [rows(3, 8)], [wide]]
    expected, *_ = trained(made("bert", dropout=0.0), batches)
    losses, _, kept = trained(made("bert", dropout=0.0), batches, Tapes())
    assert losses == pytest.approx(expected, abs=1e-6)
    assert len(kept.by_shape) == 1


def test_the_gradients_are_nobody_elses():
    net, rows, engine = made("bert", dropout=0.0), batch(made("bert")), Fast(bf16=False)
    recording(engine, net, Tapes())
    grads = []
    for _ in range(3):
        net.zero_grad()
        engine.backward(net, CrossEntropy(), rows, 1.0)
        grads.append([param.grad for param in net.parameters() if param.grad is not None])
        with torch.no_grad():
            torch._foreach_add_(list(net.parameters()), 0.01)  # in place, so that the recording stays
    assert not any(torch.equal(first, second) for first, second in zip(grads[1], grads[2], strict=True) if first.any())


def test_draws_are_those_of_the_ordinary_pass_where_the_run_itself_is_done_again():
    batches = [batch(made("bert"), number=number) for number in range(2)]
    expected, *_ = trained(made("bert", dropout=0.3), batches)
    losses, _, kept = trained(made("bert", dropout=0.3), batches, Again())
    assert losses == pytest.approx(expected, abs=1e-6)
    assert len(kept.by_shape) == 1


def test_what_comes_out_otherwise_than_the_ordinary_pass_is_not_used():
    batches = [batch(made("bert"), number=number) for number in range(2)]
    expected, *_ = trained(made("bert", dropout=0.3), batches)
    losses, _, kept = trained(made("bert", dropout=0.3), batches, Tapes())  # masks of the host, drawn once
    assert kept.refused
    assert losses == pytest.approx(expected, abs=1e-6)


def test_what_cannot_be_recorded_runs_as_it_is_and_says_why(monkeypatch, caplog):
    batches = [batch(made("bert"), number=number) for number in range(2)]
    expected, *_ = trained(made("bert"), batches)
    losses, _, kept = trained(made("bert"), batches, Broken())
    assert "operation not permitted" in kept.refused
    assert caplog.text.count("passes are not recorded as CUDA graphs: RuntimeError: operation not permitted") == 1
    assert losses == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("wrong", range(4))
def test_a_gradient_that_is_wrong_anywhere_is_noticed(wrong):
    class Wrong(Tapes):
        def record(self, run):
            replay = super().record(run)
            if len(self.tapes) % 2:
                return replay

            def and_spoil():
                replay()
                grads = list(recordings.grads.values())
                grads[wrong * len(grads) // 4].zero_()

            return and_spoil

    net = made("bert", dropout=0.0)
    batches = [batch(net, number=number) for number in range(2)]
    state = ftlab.begin(net, batches, engine="fast-fp32")
    recordings = recording(state.engine, net, Wrong())
    for number in range(4):
        ftlab.step(state, batches[number % 2])
    assert recordings.refused.startswith("ArithmeticError")


@pytest.mark.parametrize("loss", [Focal(), BinaryCrossEntropy(), MeanSquaredError()])
def test_other_losses_of_one_pass_are_replayed_too(loss):
    def rows(number):
        one = batch(made("bert"), number=number)
        if isinstance(loss, BinaryCrossEntropy):
            one["labels"] = torch.nn.functional.one_hot(one["labels"], 2).float()
        return one

    def net():
        found = made("bert", dropout=0.0)
        if isinstance(loss, MeanSquaredError):
            found.classifier, found.config.num_labels = nn.Linear(found.config.hidden_size, 1), 1
            torch.nn.init.constant_(found.classifier.weight, 0.1)
        return found

    batches = [rows(number) for number in range(3)]
    if isinstance(loss, MeanSquaredError):
        batches = [one | {"labels": one["labels"].float()} for one in batches]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected, *_ = trained(net(), batches, loss=loss)
        torch.manual_seed(0)
        losses, _, kept = trained(net(), batches, Tapes(), loss=loss)
    assert losses == pytest.approx(expected, abs=1e-6)
    assert kept.by_shape


def test_a_recording_is_made_anew_when_what_it_depends_on_changes():
    net, rows, tapes, engine = made("bert", dropout=0.0), batch(made("bert")), Tapes(), Fast(bf16=False)

    def passes(count):
        for _ in range(count):
            net.zero_grad()
            loss = engine.backward(net, CrossEntropy(), rows, 1.0)
        return loss, {name: param.grad for name, param in net.named_parameters() if param.grad is not None}

    kept = recording(engine, net, tapes)
    passes(3)
    assert len(tapes.tapes) == 2
    frozen = next(iter(net.base_model.encoder.layer[1].parameters())).requires_grad_(False)
    _, grads = passes(3)
    assert len(tapes.tapes) == 4
    assert frozen.grad is None
    net.classifier.weight.data = net.classifier.weight.data * 2
    loss, _ = passes(3)
    assert len(tapes.tapes) == 6
    assert not kept.refused
    assert len(grads) == sum(1 for _ in net.parameters()) - 1
    assert loss == pytest.approx(float(CrossEntropy()(net, rows).detach()), abs=1e-5)


def test_hooks_other_losses_and_large_batches_are_not_recorded(monkeypatch):
    net, rows, engine = made("bert", dropout=0.0), batch(made("bert")), Fast(bf16=False)
    kept = recording(engine, net, Tapes())

    def attempt(loss, rows=rows):
        return replay(kept, net, loss, rows, 1.0, partial(engine.forward, net))

    with engine.forward(net, rows):
        CrossEntropy()(net, rows)
    for _ in range(3):
        assert attempt(RDrop()) is None
        assert attempt(CrossEntropy(weight=(1.0, 2.0))) is None
        assert attempt(BinaryCrossEntropy(), rows | {"labels": torch.full((6, 2), 2.0)}) is None
    hook = net.classifier.register_forward_hook(lambda *_: None)
    for _ in range(3):
        assert attempt(CrossEntropy()) is None
    hook.remove()
    with monkeypatch.context() as patch:
        patch.setattr(cuda_graphs, "TOKENS", 40)
        for _ in range(3):
            assert attempt(CrossEntropy()) is None
    assert not kept.seen
    assert attempt(CrossEntropy()) is None
    assert attempt(CrossEntropy()) is not None
    wrong = rows | {"labels": rows["labels"] + 5}
    assert attempt(CrossEntropy(), wrong) is None
    with pytest.raises(ArgumentError, match="labels must lie from 0 to"):
        engine.backward(net, CrossEntropy(), wrong, 1.0)


def test_recordings_and_frozen_outputs_end_with_the_session():
    net, rows, engine = made("bert"), batch(made("bert")), Fast(bf16=False)
    with engine.session(net):
        session = engine.session_of(net)
        assert session.recordings is None  # not on a GPU
        with engine.forward(net, rows):
            CrossEntropy()(net, rows)
        assert engine.session_of(net) is session
    assert engine.session_of(net) is not session
    assert engine.session_of(net) is engine.session_of(net)


def plain_kernel(query, key, value, bounds, others, *_):
    """Stand in for the kernel, one text after another."""
    made = []
    for start, end in pairwise(bounds.tolist()):
        q, k, v = (one[start:end].transpose(0, 1) for one in (query, key, value))
        made.append(((q @ k.transpose(1, 2) * q.shape[-1] ** -0.5).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(made), *SENTINELS, torch.zeros(1)


SENTINELS = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0])


def plain_kernel_backward(grad, query, key, value, made, logsumexp, bounds, others, longest, most, p, causal, *rest):
    assert tuple(map(float, (logsumexp, *rest))) == (1.0, 2.0, 3.0)
    assert (longest, causal) == (most, False)
    with torch.enable_grad():
        given = [one.detach().requires_grad_() for one in (query, key, value)]
        again = plain_kernel(*given, bounds, bounds)[0]
        return torch.autograd.grad(again, given, grad)


@pytest.fixture
def kernel(monkeypatch):
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", plain_kernel)
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_backward", plain_kernel_backward)
    monkeypatch.setattr("ftlab.engines.fast.encoder_layer.use_flash", lambda *_: True)
    flash.is_correct.cache_clear()
    yield
    flash.is_correct.cache_clear()


@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_attention_of_long_texts_is_that_of_squares(kind, lengths, first_only, kernel):
    net = made(kind).eval()
    rows = batch(net, lengths)
    expected = scores_and_gradients(net, rows)
    with packed_passes(net, first_only=first_only) as used:
        found = scores_and_gradients(net, rows)
    assert_equal(found, expected)
    assert used.packed


def test_the_kernel_is_used_only_where_it_is_right(kernel, monkeypatch):
    assert flash.is_correct("cpu", 8)
    flash.is_correct.cache_clear()
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", lambda *given: (given[0] * 2, *[given[0]] * 4))
    assert not flash.is_correct("cpu", 8)
    flash.is_correct.cache_clear()
    monkeypatch.delattr(torch.ops.aten, "_flash_attention_forward")
    assert not flash.is_correct("cpu", 8)  # the real one is not for a CPU


def test_the_bounds_of_texts_take_in_what_pads_the_row():
    texts = PackedBatch(torch.tensor([[1, 1, 0], [1, 1, 1]]))
    assert texts.cu_seqlens.tolist() == [0, 2, 5, 16]
    assert PackedBatch(torch.ones(8, 8)).cu_seqlens.tolist() == list(range(0, 65, 8))


def test_the_host_keeps_what_it_sent():
    here = torch.tensor([3, 1])
    there = tensor_to_device(here, META)
    assert there.device == META
    assert host_copy(there) is here
    assert host_copy(here) is here
    other = torch.empty(2, device=META)
    assert host_copy(remember_host_copy(other, here)) is here
    assert to_device({"labels": here}, torch.device("cpu"))["labels"] is here
    assert item_async(torch.tensor(2.5))() == 2.5


def test_texts_are_laid_out_on_the_host_for_a_device():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    texts = packed_batch_of(tensor_to_device(mask, META))
    assert all(getattr(texts, name).device == META for name in TENSORS)
    assert texts.right_padded
    assert (texts.tokens, texts.pad_tail, texts.lengths.tolist()) == (5, 11, [2, 3])
    mine = PackedBatch(mask)
    assert mine.to(torch.device("cpu")) is mine
    remember_packed_batch(mask, mine)
    assert packed_batch_of(mask) is mine


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "electra"])
@pytest.mark.parametrize("engine", ["fast", "fast-fp32"])
def test_on_a_gpu_replayed_passes_train_as_the_ordinary_ones_do(kind, engine):
    losses = []
    for keep in (False, True):
        net = made(kind, dropout=0.1).to("cuda")
        batches = [batch(net, number=number) for number in range(3)]
        state = ftlab.begin(net, batches, [ClipNorm(1.0)], epochs=9, lr=1e-3, engine=engine)
        with state.engine.session(net) if keep else nullcontext():
            losses.append([ftlab.step(state, batches[number % 3])["loss"] for number in range(12)])
            recordings = state.engine.session_of(net).recordings
            assert (recordings is not None) == keep
            assert not keep or (recordings.by_shape and not recordings.refused)
    assert losses[1] == pytest.approx(losses[0], rel=0.02 if engine == "fast" else 1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu_frozen_layers_below_long_texts_train():
    net = BertForSequenceClassification(BertConfig(**SIZES | {"max_position_embeddings": 128})).to("cuda")
    net.base_model.embeddings.requires_grad_(False)
    net.base_model.encoder.layer[0].requires_grad_(False)
    rows = {
        name: tensor.repeat_interleave(10, 1) if tensor.ndim == 2 else tensor for name, tensor in batch(net).items()
    }
    state = ftlab.begin(net, [rows], [ClipNorm(1.0)], epochs=3, lr=1e-3, engine="fast")
    with state.engine.session(net):
        assert all(ftlab.step(state, rows)["loss"] > 0 for _ in range(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_on_a_gpu_the_kernel_for_long_texts_is_right():
    flash.is_correct.cache_clear()
    assert flash.is_correct("cuda", 64)
    assert flash.is_correct("cuda", 32)


def test_a_module_of_someone_elses_is_not_recorded():
    class Doubled(nn.Linear):
        def forward(self, given):
            return 2 * super().forward(given)

    net, rows, engine = made("bert", dropout=0.0), batch(made("bert")), Fast(bf16=False)
    net.classifier = Doubled(net.classifier.in_features, 2)
    kept = recording(engine, net, Tapes())
    for _ in range(3):
        assert replay(kept, net, CrossEntropy(), rows, 1.0, partial(engine.forward, net)) is None
    assert not kept.seen
