"""Record the passes of a training on a GPU once for each shape of batch, and replay them.

A small model's pass is some thousand short kernels, and the host takes longer to ask for them than the GPU to run them.
A recorded pass (a CUDA graph) is asked for at once. It holds the forward and the backward pass and nothing else, since the
rules of a recipe look into a step. What it reads (tokens, labels, where texts begin) lies in tensors of its own, which are
filled before a replay; the gradients are copied out of it, so that nobody holds what the next replay writes to.

A recording is tried before it is used: with another seed than it was made with, it must give the loss and the gradients
of the ordinary pass. What cannot be recorded, or comes out otherwise, runs as it would have run without this.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ftlab.fast.packing import HOOKS
from ftlab.fast.texts import TENSORS, Texts, lie_as, texts_of
from ftlab.fast.verdict import near
from ftlab.host import on_host, stands_for
from ftlab.losses.plain import BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError

LOSSES = (BinaryCrossEntropy, CrossEntropy, Focal, MeanSquaredError)
"""One pass through the model, and nothing drawn."""
TOKENS, MOST = 8192, 64
"""The most tokens of a batch that is recorded (with more, the GPU is expected to be slower than the host: an estimate,
not measured), and the most recordings of a training."""
TOLERANCE = 0.02
"""How far a replayed loss or gradient may be from the ordinary one, relative to the greatest, in bf16."""
SEED = 1
"""Of the trial of a recording."""
Pass = Callable[[Mapping[str, Tensor]], AbstractContextManager[None]]
Passes = tuple[Tensor, Callable[[], None]]


class Recorder:
    """Records what a GPU is asked for, in memory that all recordings of a training share: they never run at once."""

    def __init__(self) -> None:
        self.stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.pool: Any = None

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        """Record a run, without the GPU doing anything; return what replays it."""
        graph: Any = torch.cuda.CUDAGraph()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            graph.capture_begin(**({"pool": self.pool} if self.pool else {}))
            try:
                run()
            finally:
                graph.capture_end()
        torch.cuda.current_stream().wait_stream(self.stream)
        self.pool = self.pool or graph.pool()
        return graph.replay  # type: ignore[no-any-return]


@dataclass
class Recording:
    """A forward and a backward pass over a batch of one shape."""

    inputs: dict[str, Tensor]
    texts: Texts
    share: Tensor
    loss: Tensor
    forward: Callable[[], None]
    backward: Callable[[], None]
    grads: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    """Where the backward pass leaves the gradients; recordings share the tensors."""


@dataclass
class Recordings:
    """The recordings of a training, and what they depend on besides the batch."""

    modules: list[nn.Module]
    record: Callable[[Callable[[], None]], Callable[[], None]]
    state: Any = None
    seen: "Counter[Any]" = field(default_factory=Counter)
    found: dict[Any, Recording] = field(default_factory=dict)
    grads: dict[nn.Parameter, Tensor] = field(default_factory=dict)
    refused: bool = False
    """Whether one came out otherwise than the ordinary pass; then none is used."""


_open: "WeakKeyDictionary[nn.Module, Recordings]" = WeakKeyDictionary()


@contextmanager
def recording(model: nn.Module, record: Any = None) -> Iterator[Recordings]:
    """Record the passes of a model while the context lasts, and then forget them.

    Args:
        model: On a GPU.
        record: What records a run, and returns what replays it; left out, a :class:`Recorder`.
    """
    found = _open[model] = Recordings(list(model.modules()), Recorder() if record is None else record)
    try:
        yield found
    finally:
        _open.pop(model, None)


def replayed(
    model: nn.Module, loss: Callable[..., Tensor], batch: Mapping[str, Tensor], share: float, run_as: Pass
) -> Passes | None:
    """Run the forward pass of a loss by replaying it; return None where there is no recording, and none can be made.

    Args:
        model: Of ``transformers``.
        loss: One of those that go through the model once.
        batch: Padded rows.
        share: What the loss is multiplied with.
        run_as: The context in which an engine runs the ordinary pass over a batch.

    Returns:
        The loss, and what runs the backward pass.
    """
    kept = _open.get(model)
    if kept is None or kept.refused or not _may_be_recorded(model, kept, loss, batch):
        return None
    state = _depends_on(model, kept, loss)
    if state != kept.state:
        kept.state, kept.found, kept.grads = state, {}, {}
        kept.seen.clear()
    texts = texts_of(batch["attention_mask"])
    if not texts.solid or texts.count * texts.longest > TOKENS:
        return None
    key = _shape(batch, texts)
    one = kept.found.get(key)
    if one is None:
        kept.seen[key] += 1
        if kept.seen[key] < 2 or len(kept.found) >= MOST:  # the first time shows whether there will be a second one
            return None
        try:
            one = _recorded(model, kept, loss, batch, texts, run_as)
        except Exception:  # of whatever kind: what cannot be recorded runs as it is
            one = None
        if one is None:
            kept.refused, kept.found, kept.grads = True, {}, {}
            return None
        kept.found[key] = one
    _fill(model, one, batch, texts, share)
    one.forward()
    return one.loss.clone(), lambda: _replay_backward(one)


def _may_be_recorded(model: nn.Module, kept: Recordings, loss: Any, batch: Mapping[str, Tensor]) -> bool:
    """Say whether a pass does nothing but what is known here: no hook, nothing that stands in, no label to be refused."""
    if type(loss) not in LOSSES or not {"input_ids", "attention_mask", "labels"} <= batch.keys():
        return False
    if not all(_is_known(module) for module in kept.modules):
        return False
    labels, classes = on_host(batch["labels"]), getattr(getattr(model, "config", None), "num_labels", 0)
    return labels.is_floating_point() or bool((labels >= 0).all() & (labels < classes).all())


def _is_known(module: nn.Module) -> bool:
    made_by = type(module).__module__
    known = made_by.startswith(("transformers.", "torch.nn.modules."))
    return known and "forward" not in vars(module) and not any(getattr(module, hooks) for hooks in HOOKS)


def _depends_on(model: nn.Module, kept: Recordings, loss: Any) -> Any:
    """Return what a recording was made for: it reads weights where they lie, and has dropout as it was."""
    weights = [(param.data_ptr(), param.requires_grad) for param in model.parameters()]
    return weights, [module.p for module in kept.modules if isinstance(module, nn.Dropout)], loss


def _shape(batch: Mapping[str, Tensor], texts: Texts) -> Any:
    """Return what has to be the same for a recording to serve: all but how far the rows were padded."""
    cells = _cells(batch)
    others = tuple((name, one.dtype, one.shape[1:]) for name, one in batch.items() if name not in cells)
    return texts.count, texts.longest, texts.tokens + texts.tail, bool(texts.tail), texts.even, cells, others


def _cells(batch: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of what has an entry for every cell of the padded rows."""
    shape = batch["attention_mask"].shape
    return tuple(name for name, one in batch.items() if one.shape == shape and name != "labels")


def _recorded(
    model: nn.Module, kept: Recordings, loss: Any, batch: Mapping[str, Tensor], texts: Texts, run_as: Pass
) -> Recording | None:
    """Record both passes over a batch; return None where they come out otherwise than the ordinary ones."""
    own, inputs = copy(texts), {name: one.clone() for name, one in batch.items()}
    own.width = own.longest
    for name in TENSORS:
        setattr(own, name, getattr(texts, name).clone())
    for name in _cells(batch):
        inputs[name] = batch[name].new_zeros(texts.count, texts.longest)
    lie_as(inputs["attention_mask"], own)
    stands_for(inputs["labels"], on_host(batch["labels"]))
    share, value = (torch.ones((), device=texts.mask.device) for _ in range(2))
    trained = [param for param in model.parameters() if param.requires_grad]
    held: dict[str, Tensor] = {}

    def forward() -> None:
        with run_as(inputs):
            held["loss"] = loss(model, inputs) * share
        value.copy_(held["loss"].detach())

    def backward() -> None:
        found = torch.autograd.grad(held["loss"], trained, allow_unused=True)
        torch._foreach_copy_(list(one.grads.values()), [grad for grad in found if grad is not None])

    one = Recording(inputs, own, share, value, forward, backward)
    _fill(model, one, batch, texts, 1.0)
    with torch.random.fork_rng([texts.mask.device] if texts.mask.is_cuda else []):
        forward()
        found = torch.autograd.grad(held["loss"], trained, allow_unused=True)
        reached = [param for param, grad in zip(trained, found, strict=True) if grad is not None]
        one.grads = {param: kept.grads.setdefault(param, torch.empty_like(param)) for param in reached}
        torch.manual_seed(SEED)
        forward()
        backward()
        expected = [value.clone()], [grad.clone() for grad in one.grads.values()]
        one.forward, one.backward = kept.record(forward), kept.record(backward)
        held.clear()
        torch.manual_seed(SEED)
        one.forward()
        one.backward()
    made = [value], list(one.grads.values())
    return one if all(near(first, second, TOLERANCE) for first, second in zip(expected, made, strict=True)) else None


def _fill(model: Any, one: Recording, batch: Mapping[str, Tensor], texts: Texts, share: float) -> None:
    """Write a batch into what a recording reads."""
    cells = _cells(batch)
    for name, given in batch.items():
        into = one.inputs[name]
        if name in cells:
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
