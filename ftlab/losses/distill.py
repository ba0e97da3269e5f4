"""The loss of a student that learns from a teacher."""

import os
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.data.batches import Batch
from ftlab.errors import argument_error, check_number
from ftlab.formulas.distill import distill
from ftlab.losses.logits import logits_of
from ftlab.models.load import Pretrained, load_model


@dataclass(frozen=True, repr=False)
class Distill:
    """Distillation from a teacher with the same labels and the same tokenizer. See :func:`ftlab.formulas.distill.distill`.

    The teacher reads the student's batch. A token's number means another word to another tokenizer, so both must share
    theirs. Vocabularies of different sizes are refused; of two of one size nothing can be found out here.

    The teacher is a folder or another name for :func:`ftlab.load_model`, loaded when first needed; or a model. It runs
    without dropout and without gradients, and is moved to the student's device.
    """

    teacher: Any
    temperature: float = 2.0
    alpha: float = 0.5
    _loaded: list[nn.Module] = field(default_factory=list, init=False, compare=False)

    def __post_init__(self) -> None:
        check_number("Distill", "temperature", self.temperature, "2.0 is usual", above=0)
        check_number("Distill", "alpha", self.alpha, "0.5 is usual, 0 leaves the teacher out", at_least=0, at_most=1)
        if isinstance(self.teacher, os.PathLike):
            object.__setattr__(self, "teacher", os.fspath(self.teacher))
        if not isinstance(self.teacher, str | nn.Module | Pretrained):
            do = "Say Distill('runs/teacher/model')"
            raise argument_error("Distill", "teacher", "be a folder, a name or a model", repr(self.teacher)[:60], do)

    def __repr__(self) -> str:
        teacher = repr(self.teacher) if isinstance(self.teacher, str | Pretrained) else type(self.teacher).__name__
        return f"Distill(teacher={teacher}, temperature={self.temperature}, alpha={self.alpha})"

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        teacher = self._ready(model)
        with torch.no_grad():
            wanted = logits_of(teacher, batch)
        found = logits_of(model, batch)
        if wanted.shape != found.shape:
            got = f"{wanted.shape[-1]} beside {found.shape[-1]}"
            do = "Fine-tune the teacher on data with the same labels"
            raise argument_error("Distill", "teacher", "have as many labels as the student", got, do)
        return distill(found, wanted, batch["labels"], self.temperature, self.alpha)

    def _ready(self, student: nn.Module) -> nn.Module:
        """Return the teacher as it is to run beside a student."""
        if not self._loaded:
            self._loaded.append(self._load())
        teacher = self._loaded[0]
        _check(teacher, student)
        return teacher.eval().to(next(student.parameters()).device)

    def _load(self) -> nn.Module:
        if isinstance(self.teacher, nn.Module):
            return self.teacher
        with torch.random.fork_rng([]):  # what a new model draws must not shift the student's dropout
            found = self.teacher if isinstance(self.teacher, Pretrained) else load_model(self.teacher)
        net: nn.Module = found.net
        return net


def _check(teacher: Any, student: Any) -> None:
    """Refuse a teacher that cannot read the student's batches, or whose labels mean something else."""
    if teacher is student:
        raise argument_error(
            "Distill", "teacher", "be another model than the student", "the student itself", "Give it a copy"
        )
    one, other = getattr(teacher, "config", None), getattr(student, "config", None)
    takes, feeds = getattr(teacher, "main_input_name", None), getattr(student, "main_input_name", None)
    if takes != feeds and takes and feeds:
        do = "Texts and images need teachers of their own"
        raise argument_error("Distill", "teacher", f"take the student's {feeds}", takes, do)
    rows, wanted = getattr(one, "vocab_size", None), getattr(other, "vocab_size", None)
    if rows != wanted and rows and wanted:
        got = f"a vocabulary of {rows} tokens beside {wanted}"
        raise argument_error(
            "Distill", "teacher", "share the student's tokenizer", got, "Choose a teacher of the same family"
        )
    names, ours = _labels(one), _labels(other)
    if names and ours and sorted(names) == sorted(ours) and names != ours:
        got = f"{', '.join(names[:6])} beside {', '.join(ours[:6])}"
        do = "Fine-tune the teacher on data with the labels in this order"
        raise argument_error("Distill", "teacher", "have the student's labels in their order", got, do)


def _labels(config: Any) -> list[str]:
    return [str(name) for _, name in sorted((getattr(config, "id2label", None) or {}).items())]
