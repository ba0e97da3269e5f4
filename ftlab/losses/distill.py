"""The loss for distilling a teacher into a student."""

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

    The teacher runs on the student's batches, without dropout and without gradients, on the student's device. Token ids
    mean other words to another tokenizer, so both must share one. Vocabularies of different sizes raise an error; two
    tokenizers of the same size cannot be told apart here.
    """

    teacher: Any
    """A model; or a name for :func:`ftlab.load_model`, such as a folder, which is loaded on first use."""
    temperature: float = 2.0
    """Softens the probabilities of both before they are compared; greater than 0."""
    alpha: float = 0.5
    """The teacher's share, from 0 to 1; the labels have the rest."""
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
        teacher = self._prepared_teacher(model)
        with torch.no_grad():
            teacher_logits = logits_of(teacher, batch)
        logits = logits_of(model, batch)
        if teacher_logits.shape != logits.shape:
            got = f"{teacher_logits.shape[-1]} beside {logits.shape[-1]}"
            do = "Fine-tune the teacher on data with the same labels"
            raise argument_error("Distill", "teacher", "have as many labels as the student", got, do)
        return distill(logits, teacher_logits, batch["labels"], self.temperature, self.alpha)

    def _prepared_teacher(self, student: nn.Module) -> nn.Module:
        """Return the teacher, loaded, checked against the student, in evaluation mode and on the student's device."""
        if not self._loaded:
            self._loaded.append(self._load())
        teacher = self._loaded[0]
        _check_teacher(teacher, student)
        return teacher.eval().to(next(student.parameters()).device)

    def _load(self) -> nn.Module:
        if isinstance(self.teacher, nn.Module):
            return self.teacher
        with torch.random.fork_rng([]):  # initialising the teacher must not change the student's dropout
            pretrained = self.teacher if isinstance(self.teacher, Pretrained) else load_model(self.teacher)
        net: nn.Module = pretrained.net
        return net


def _check_teacher(teacher: Any, student: Any) -> None:
    """Raise if the teacher cannot run on the student's batches, or its labels have another order."""
    if teacher is student:
        raise argument_error(
            "Distill", "teacher", "be another model than the student", "the student itself", "Give it a copy"
        )
    teacher_config, student_config = getattr(teacher, "config", None), getattr(student, "config", None)
    teacher_input, student_input = getattr(teacher, "main_input_name", None), getattr(student, "main_input_name", None)
    if teacher_input != student_input and teacher_input and student_input:
        do = "Use a text model to teach a text model, and an image model to teach an image model"
        raise argument_error("Distill", "teacher", f"take the student's {student_input}", teacher_input, do)
    teacher_size, student_size = (
        getattr(teacher_config, "vocab_size", None),
        getattr(student_config, "vocab_size", None),
    )
    if teacher_size != student_size and teacher_size and student_size:
        got = f"a vocabulary of {teacher_size} tokens beside {student_size}"
        raise argument_error(
            "Distill", "teacher", "share the student's tokenizer", got, "Choose a teacher of the same family"
        )
    names, expected = _label_names(teacher_config), _label_names(student_config)
    if names and expected and sorted(names) == sorted(expected) and names != expected:
        got = f"{', '.join(names[:6])} beside {', '.join(expected[:6])}"
        do = "Fine-tune the teacher on data with the labels in this order"
        raise argument_error("Distill", "teacher", "have the student's labels in their order", got, do)


def _label_names(config: Any) -> list[str]:
    return [str(name) for _, name in sorted((getattr(config, "id2label", None) or {}).items())]
