"""Record the passes of a training on a GPU once for each shape of batch, and replay them.

A small model is launch-bound: the CPU needs longer to launch its kernels than the GPU to run them. A CUDA graph launches
them all at once. It holds the forward and the backward pass and nothing else, since the
rules of a recipe look into a step. What it reads (tokens, labels, where texts begin) lies in tensors of its own, which are
filled before a replay; the gradients are copied out of it, so that nobody holds what the next replay writes to.

A recording is tried before it is used: after it was made, with a seed of its own, it must give the loss and the gradients
of the ordinary pass. What cannot be recorded, or comes out otherwise, runs as it would have run without this.
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
from ftlab.engines.fast.packing import HOOKS, any_frozen_layers
from ftlab.engines.fast.parity import packs
from ftlab.engines.fast.transfer import on_host, stands_for
from ftlab.errors import note
from ftlab.losses.classification import BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError

LOSSES = (BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError)
"""They go through the model once, and draw nothing themselves."""
TOKENS, MOST = 8192, 64
"""The most tokens of a batch that is recorded (with more, the GPU is expected to be slower than the host: an estimate,
not measured), and the most recordings of a training."""
TOLERANCE, FLOOR = 0.01, 1e-3
"""How far a replayed loss or gradient may be from the ordinary one, relative to its own greatest entry, or to a thousandth
of the greatest of all where that is more. The kernels are the same; only sums in another order differ."""
SEED = 1
"""Of the trial of a recording."""
Pass = Callable[[Mapping[str, Tensor]], AbstractContextManager[None]]
Passes = tuple[Tensor, Run]


@dataclass
class Recording:
    """A forward and a backward pass over a batch of one shape."""

    inputs: dict[str, Tensor]
    texts: PackedBatch
    share: Tensor
    loss: Tensor
    forward: Run
    backward: Run
    grads: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    """Where the backward pass leaves the gradients; recordings share the tensors."""


@dataclass
class Recordings:
    """The recordings of a training, and what they depend on besides the batch."""

    modules: list[nn.Module]
    recorder: Any = field(default_factory=Recorder)
    """Has ``warm`` and ``record``."""
    state: Any = None
    seen: "Counter[Any]" = field(default_factory=Counter)
    found: dict[Any, Recording] = field(default_factory=dict)
    grads: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    refused: str = ""
    """Why none is used, once one could not be made or came out otherwise than the ordinary pass."""


def replayed(
    kept: Recordings,
    model: Any,
    loss: Callable[..., Tensor],
    batch: Mapping[str, Tensor],
    share: float,
    run_as: Pass,
) -> Passes | None:
    """Run the forward pass of a loss by replaying it; return None where there is no recording, and none can be made.

    Args:
        kept: The recordings of this training so far.
        model: Of ``transformers``.
        loss: One of those that go through the model once.
        batch: Padded rows.
        share: What the loss is multiplied with.
        run_as: The context in which an engine runs the ordinary pass over a batch.

    Returns:
        The loss, and what runs the backward pass.
    """
    if kept.refused or not _may_be_recorded(model, kept, loss, batch):
        return None
    state = _depends_on(model, kept, loss)
    if state != kept.state:
        kept.state, kept.found, kept.grads = state, {}, {}
        kept.seen.clear()
    texts = packed_batch_of(batch["attention_mask"])
    remember_packed_batch(batch["attention_mask"], texts)  # the ordinary pass need not find it out again
    if not texts.right_padded or texts.count * texts.max_seqlen > TOKENS or not packs(model, texts.max_seqlen):
        return None
    key = _shape(batch, texts)
    if key not in kept.found:
        kept.seen[key] += 1
        if kept.seen[key] < 2 or len(kept.found) >= MOST:  # the first time shows whether there will be a second one
            return None
        if any_frozen_layers(model.base_model):
            return None
        try:
            kept.found[key] = _recorded(model, kept, loss, batch, texts, run_as)
        except Exception as stopped:  # of whatever kind: what cannot be recorded runs as it is
            kept.refused, kept.found, kept.grads = f"{type(stopped).__name__}: {stopped}", {}, {}
            note("finetune", f"passes are not recorded, but run as ever: {kept.refused.splitlines()[0]}")
            return None
    one = kept.found[key]
    _fill(model, one, batch, texts, share)
    one.forward()
    return one.loss.clone(), partial(_replay_backward, one)


def _may_be_recorded(model: Any, kept: Recordings, loss: Any, batch: Mapping[str, Tensor]) -> bool:
    """Say whether a pass does nothing but what is known here: no hook, nothing that stands in, no label to be refused."""
    if type(loss) not in LOSSES or getattr(loss, "weight", None) is not None:
        return False
    if not {"input_ids", "attention_mask", "labels"} <= batch.keys() or batch["attention_mask"].ndim != 2:
        return False
    if not all(_is_known(module) for module in kept.modules):
        return False
    labels, floating = on_host(batch["labels"]), batch["labels"].is_floating_point()
    if isinstance(loss, MeanSquaredError):
        return floating
    highest = 1 if floating else getattr(model.config, "num_labels", 0) - 1
    return bool((labels >= 0).all() & (labels <= highest).all())


def _is_known(module: nn.Module) -> bool:
    made_by = type(module).__module__
    known = made_by.startswith(("transformers.", "torch.nn.modules."))
    known = known and "forward" not in vars(module) and not getattr(module, "gradient_checkpointing", False)
    return known and not any(getattr(module, hooks) for hooks in HOOKS)


def _depends_on(model: nn.Module, kept: Recordings, loss: Any) -> Any:
    """Return what a recording was made for: it reads weights where they lie, and has dropout as it was."""
    weights = [(param.data_ptr(), param.requires_grad) for param in model.parameters()]
    return weights, [module.p for module in kept.modules if isinstance(module, nn.Dropout)], loss


def _shape(batch: Mapping[str, Tensor], texts: PackedBatch) -> Any:
    """Return what has to be the same for a recording to serve: all but how far the rows were padded."""
    cells = _cells(batch)
    others = tuple((name, one.dtype, one.shape[1:]) for name, one in batch.items() if name not in cells)
    return texts.count, texts.max_seqlen, texts.tokens + texts.pad_tail, texts.pad_tail > 0, cells, others


def _cells(batch: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of what has an entry for every cell of the padded rows."""
    shape = batch["attention_mask"].shape
    return tuple(name for name, one in batch.items() if one.shape == shape and name != "labels")


def _recorded(
    model: nn.Module, kept: Recordings, loss: Any, batch: Mapping[str, Tensor], texts: PackedBatch, run_as: Pass
) -> Recording:
    """Record both passes over a batch, and try them.

    Raises:
        ArithmeticError: If they come out otherwise than the ordinary ones.
    """
    own, inputs = texts.with_tensors(torch.clone), {name: one.clone() for name, one in batch.items()}
    own.width = own.max_seqlen
    for name in _cells(batch):
        inputs[name] = batch[name].new_zeros(texts.count, texts.max_seqlen)
    remember_packed_batch(inputs["attention_mask"], own)
    stands_for(inputs["labels"], on_host(batch["labels"]))
    share, value = (torch.ones((), device=texts.mask.device) for _ in range(2))
    trained = [param for param in model.parameters() if param.requires_grad]
    held: dict[str, Tensor] = {}

    def forward() -> None:
        own.found.clear()  # it follows from where the texts begin, so it is part of what is recorded
        with run_as(inputs):
            held["loss"] = loss(model, inputs) * share
        value.copy_(held["loss"].detach())

    def backward() -> None:
        found = torch.autograd.grad(held["loss"], trained, allow_unused=True)
        torch._foreach_copy_(list(one.grads.values()), [grad for grad in found if grad is not None])

    one = Recording(inputs, own, share, value, forward, backward)
    _fill(model, one, batch, texts, 1.0)
    with torch.random.fork_rng([texts.mask.device] if texts.mask.is_cuda else []):
        try:
            torch.manual_seed(SEED)
            with run_as(batch):
                ordinary = loss(model, batch)
            found = torch.autograd.grad(ordinary, trained, allow_unused=True)
            expected = [ordinary.detach(), *(grad for grad in found if grad is not None)]
            reached = [param for param, grad in zip(trained, found, strict=True) if grad is not None]
            one.grads = {param: kept.grads.setdefault(param, torch.empty_like(param)) for param in reached}
            del ordinary, found  # a pass that is still held would drag its stream into the recording
            for run in (forward, backward):
                kept.recorder.warm(run)
            held.clear()
            one.forward, one.backward = kept.recorder.record(forward), kept.recorder.record(backward)
        finally:
            held.clear()
            own.found.clear()  # like all else that a pass makes, it lies where a later recording may write
        torch.manual_seed(SEED)
        one.forward()
        one.backward()
    least = FLOOR * max(float(grad.abs().max()) for grad in expected[1:])
    for wanted, made in zip(expected, [value, *one.grads.values()], strict=True):
        if not float((made - wanted).abs().max()) <= TOLERANCE * max(float(wanted.abs().max()), least):
            raise ArithmeticError("a replayed pass gave another loss or other gradients than the ordinary one")
    return one


def _fill(model: Any, one: Recording, batch: Mapping[str, Tensor], texts: PackedBatch, share: float) -> None:
    """Write a batch into what a recording reads."""
    cells = _cells(batch)
    for name, given in batch.items():
        into = one.inputs[name]
        if name in cells:
            given = given[:, : one.texts.max_seqlen]
            width = given.shape[1]
            into[:, width:] = (getattr(model.config, "pad_token_id", None) or 0) if name == "input_ids" else 0
            into = into[:, :width]
        into.copy_(given)
    for name in TENSORS:
        getattr(one.texts, name).copy_(getattr(texts, name))
    one.share.fill_(share)


def _replay_backward(one: Recording) -> None:
    """Replay a backward pass, and add what it gives to the gradients that stand in the parameters."""
    one.backward()
    with torch.no_grad():
        stand = [(param.grad, made) for param, made in one.grads.items() if param.grad is not None]
        if stand:
            torch._foreach_add_([into for into, _ in stand], [made for _, made in stand])
        fresh = {param: torch.empty_like(param) for param in one.grads if param.grad is None}
        if fresh:
            torch._foreach_copy_(list(fresh.values()), [one.grads[param] for param in fresh])
        for param, grad in fresh.items():
            param.grad = grad
