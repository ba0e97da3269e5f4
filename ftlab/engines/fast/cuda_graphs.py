"""Record the passes of a training on a GPU as CUDA graphs, one for each shape of batch, and replay them.

A small model is launch-bound: the CPU needs longer to launch its kernels than the GPU to run them. A CUDA graph launches
them all at once. A recording holds the forward and the backward pass only, since the rules of a recipe may look into a step.
It reads its inputs (tokens, labels, the layout of the texts) from tensors of its own, which are filled before a replay. The
gradients are copied out of it, so that no other code holds tensors that the next replay overwrites.

Each new recording is checked: replayed with a fixed seed, it must give the loss and the gradients of the ordinary pass. If a
pass cannot be recorded or differs, it runs without recordings.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.engines.fast.graph_recorder import Recorder, Run
from ftlab.engines.fast.packed_batch import TENSORS, PackedBatch, packed_batch_of, remember_packed_batch
from ftlab.engines.fast.packing import HOOKS, has_frozen_layers
from ftlab.engines.fast.parity import is_packed
from ftlab.engines.fast.transfer import host_copy, remember_host_copy
from ftlab.errors import note
from ftlab.losses.classification import BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError

LOSSES = (BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError)
"""The losses that run the model once, and draw no random numbers of their own."""
TOKENS, MOST = 8192, 64
"""The most tokens of a batch that is recorded (with more, the GPU is expected to be slower than the host: an estimate,
not measured), and the most recordings of a training."""
TOLERANCE, FLOOR = 0.01, 1e-3
"""How far a replayed loss or gradient may be from the ordinary one, relative to its own largest entry, or to a thousandth
of the largest of all gradients if that is more. The kernels are the same; only the order of sums differs."""
SEED = 1
"""The seed of the check of a recording."""
Pass = Callable[[Mapping[str, Tensor]], AbstractContextManager[None]]
Passes = tuple[Tensor, Run]


@dataclass
class Recording:
    """A forward and a backward pass over a batch of one shape."""

    inputs: dict[str, Tensor]
    packed: PackedBatch
    share: Tensor
    loss: Tensor
    forward: Run
    backward: Run
    grads: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    """The tensors into which the backward pass writes the gradients; all recordings share them."""


@dataclass
class Recordings:
    """The recordings of a training, and the state that they depend on besides the batch."""

    modules: list[nn.Module]
    recorder: Any = field(default_factory=Recorder)
    """Has ``warm`` and ``record``."""
    state: Any = None
    seen: "Counter[Any]" = field(default_factory=Counter)
    by_shape: dict[Any, Recording] = field(default_factory=dict)
    grads: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    refused: str = ""
    """Why nothing is recorded any more: a recording failed, or differed from the ordinary pass."""


def replay(
    recordings: Recordings,
    model: Any,
    loss: Callable[..., Tensor],
    batch: Mapping[str, Tensor],
    share: float,
    run_as: Pass,
) -> Passes | None:
    """Replay the forward pass of a loss; return None if there is no recording for the batch and none can be made.

    Args:
        recordings: Those of this training so far; a new one is added.
        model: A model of ``transformers``.
        loss: ``loss(model, batch)``.
        batch: Padded rows.
        share: The factor of the loss.
        run_as: Returns the context in which the engine runs an ordinary pass over a batch.

    Returns:
        The loss, and the function that runs the backward pass.
    """
    if recordings.refused or not _may_be_recorded(model, recordings, loss, batch):
        return None
    state = _depends_on(model, recordings, loss)
    if state != recordings.state:
        recordings.state, recordings.by_shape, recordings.grads = state, {}, {}
        recordings.seen.clear()
    packed = packed_batch_of(batch["attention_mask"])
    remember_packed_batch(batch["attention_mask"], packed)  # so that the ordinary pass does not compute it again
    if not packed.right_padded or packed.count * packed.max_seqlen > TOKENS or not is_packed(model, packed.max_seqlen):
        return None
    shape = _shape(batch, packed)
    if shape not in recordings.by_shape:
        recordings.seen[shape] += 1
        if recordings.seen[shape] < 2 or len(recordings.by_shape) >= MOST:  # a shape seen once may not come again
            return None
        if has_frozen_layers(model.base_model):
            return None
        try:
            recordings.by_shape[shape] = _record(model, recordings, loss, batch, packed, run_as)
        except Exception as error:  # of any kind: a pass that cannot be recorded runs as usual
            recordings.refused = f"{type(error).__name__}: {error}"
            recordings.by_shape, recordings.grads = {}, {}
            note("finetune", f"passes are not recorded as CUDA graphs: {recordings.refused.splitlines()[0]}")
            return None
    recording = recordings.by_shape[shape]
    _fill(model, recording, batch, packed, share)
    recording.forward()
    return recording.loss.clone(), partial(_replay_backward, recording)


def _may_be_recorded(model: Any, recordings: Recordings, loss: Any, batch: Mapping[str, Tensor]) -> bool:
    """Return whether all parts of a pass are known: loss, inputs, modules without hooks, and valid labels."""
    if type(loss) not in LOSSES or getattr(loss, "weight", None) is not None:
        return False
    if not {"input_ids", "attention_mask", "labels"} <= batch.keys() or batch["attention_mask"].ndim != 2:
        return False
    if not all(_is_known(module) for module in recordings.modules):
        return False
    labels, floating = host_copy(batch["labels"]), batch["labels"].is_floating_point()
    if isinstance(loss, MeanSquaredError):
        return floating
    highest = 1 if floating else getattr(model.config, "num_labels", 0) - 1
    return bool((labels >= 0).all() & (labels <= highest).all())


def _is_known(module: nn.Module) -> bool:
    known = type(module).__module__.startswith(("transformers.", "torch.nn.modules."))
    known = known and "forward" not in vars(module) and not getattr(module, "gradient_checkpointing", False)
    return known and not any(getattr(module, hooks) for hooks in HOOKS)


def _depends_on(model: nn.Module, recordings: Recordings, loss: Any) -> Any:
    """Return the state for which a recording is valid: addresses of parameters, which are trained, dropout, and the loss."""
    weights = [(param.data_ptr(), param.requires_grad) for param in model.parameters()]
    return weights, [module.p for module in recordings.modules if isinstance(module, nn.Dropout)], loss


def _shape(batch: Mapping[str, Tensor], packed: PackedBatch) -> Any:
    """Return the key of a recording: all sizes of a batch but the width of its padded rows."""
    cells = _cells(batch)
    others = tuple((name, tensor.dtype, tensor.shape[1:]) for name, tensor in batch.items() if name not in cells)
    return packed.count, packed.max_seqlen, packed.tokens + packed.pad_tail, packed.pad_tail > 0, cells, others


def _cells(batch: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the tensors that have an entry for every cell of the padded rows."""
    shape = batch["attention_mask"].shape
    return tuple(name for name, tensor in batch.items() if tensor.shape == shape and name != "labels")


def _record(
    model: nn.Module, recordings: Recordings, loss: Any, batch: Mapping[str, Tensor], packed: PackedBatch, run_as: Pass
) -> Recording:
    """Record both passes over a batch, and check them.

    Raises:
        ArithmeticError: If they differ from the ordinary passes.
    """
    own, inputs = packed.with_tensors(torch.clone), {name: tensor.clone() for name, tensor in batch.items()}
    own.width = own.max_seqlen
    for name in _cells(batch):
        inputs[name] = batch[name].new_zeros(packed.count, packed.max_seqlen)
    remember_packed_batch(inputs["attention_mask"], own)
    remember_host_copy(inputs["labels"], host_copy(batch["labels"]))
    share, value = (torch.ones((), device=packed.mask.device) for _ in range(2))
    trained = [param for param in model.parameters() if param.requires_grad]
    held: dict[str, Tensor] = {}

    def forward() -> None:
        own.indices.clear()  # they depend on the layout, so computing them is part of the recording
        with run_as(inputs):
            held["loss"] = loss(model, inputs) * share
        value.copy_(held["loss"].detach())

    def backward() -> None:
        grads = torch.autograd.grad(held["loss"], trained, allow_unused=True)
        torch._foreach_copy_(list(recording.grads.values()), [grad for grad in grads if grad is not None])

    recording = Recording(inputs, own, share, value, forward, backward)
    _fill(model, recording, batch, packed, 1.0)
    with torch.random.fork_rng([packed.mask.device] if packed.mask.is_cuda else []):
        try:
            torch.manual_seed(SEED)
            with run_as(batch):
                ordinary = loss(model, batch)
            grads = torch.autograd.grad(ordinary, trained, allow_unused=True)
            expected = [ordinary.detach(), *(grad for grad in grads if grad is not None)]
            reached = [param for param, grad in zip(trained, grads, strict=True) if grad is not None]
            recording.grads = {param: recordings.grads.setdefault(param, torch.empty_like(param)) for param in reached}
            del ordinary, grads  # a graph that is still held would bring its stream into the recording
            for run in (forward, backward):
                recordings.recorder.warm(run)
            held.clear()
            recording.forward = recordings.recorder.record(forward)
            recording.backward = recordings.recorder.record(backward)
        finally:
            held.clear()
            own.indices.clear()  # they lie in memory that a later recording may overwrite
        torch.manual_seed(SEED)
        recording.forward()
        recording.backward()
    least = FLOOR * max(float(grad.abs().max()) for grad in expected[1:])
    for ordinary, replayed in zip(expected, [value, *recording.grads.values()], strict=True):
        if not float((replayed - ordinary).abs().max()) <= TOLERANCE * max(float(ordinary.abs().max()), least):
            raise ArithmeticError("a replayed pass gave another loss or other gradients than the ordinary one")
    return recording


def _fill(model: Any, recording: Recording, batch: Mapping[str, Tensor], packed: PackedBatch, share: float) -> None:
    """Copy a batch into the inputs of a recording."""
    cells = _cells(batch)
    for name, tensor in batch.items():
        target = recording.inputs[name]
        if name in cells:
            tensor = tensor[:, : recording.packed.max_seqlen]
            width = tensor.shape[1]
            target[:, width:] = (getattr(model.config, "pad_token_id", None) or 0) if name == "input_ids" else 0
            target = target[:, :width]
        target.copy_(tensor)
    for name in TENSORS:
        getattr(recording.packed, name).copy_(getattr(packed, name))
    recording.share.fill_(share)


def _replay_backward(recording: Recording) -> None:
    """Replay a backward pass, and add its gradients to those of the parameters."""
    recording.backward()
    with torch.no_grad():
        present = [(param.grad, grad) for param, grad in recording.grads.items() if param.grad is not None]
        if present:
            torch._foreach_add_([total for total, _ in present], [grad for _, grad in present])
        fresh = {param: torch.empty_like(param) for param in recording.grads if param.grad is None}
        if fresh:
            torch._foreach_copy_(list(fresh.values()), [recording.grads[param] for param in fresh])
        for param, grad in fresh.items():
            param.grad = grad
