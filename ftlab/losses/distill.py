"""The loss for distilling a teacher into a student."""

import os
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ftlab.data.batches import Batch, encode
from ftlab.data.tokens import Tokens
from ftlab.errors import argument_error, check_number
from ftlab.formulas.distill import distill
from ftlab.losses.logits import logits_of
from ftlab.models.load import Pretrained, load_model
from ftlab.parameters import eval_mode

ROWS = 32
"""Texts that a teacher with another tokenizer reads at once."""


@dataclass(frozen=True, repr=False)
class Distill:
    """Distillation from a teacher with the same labels. See :func:`ftlab.formulas.distill.distill`.

    The teacher runs without dropout and without gradients, on the student's device. With the student's tokenizer it runs
    on the student's batches. With another one it reads the training texts once, before the first update, since token ids
    mean other words to it; :func:`ftlab.finetune` sees to that. A teacher given as a bare module has no tokenizer, and
    must share the student's.
    """

    teacher: Any
    """What :func:`ftlab.load_model` returns; a name for it, such as a folder, which is loaded on first use; or a module."""
    temperature: float = 2.0
    """Softens the probabilities of both before they are compared; greater than 0."""
    alpha: float = 0.5
    """The teacher's share, from 0 to 1; the labels have the rest."""
    _loaded: list[Any] = field(default_factory=list, init=False, compare=False)

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

    def for_student(self, student: Pretrained, rows: Any, max_length: int) -> "Distill":
        """Return the loss to train a student with: a teacher with another tokenizer is replaced by its answers.

        Args:
            student: The model to train.
            rows: A ``datasets.Dataset`` with the texts of the training.
            max_length: Maximum number of tokens of a text, for both.

        Raises:
            ArgumentError: If the teacher has other labels, or takes other inputs.
        """
        if isinstance(self.teacher, nn.Module):
            return self
        teacher = self._teacher()
        if student.task.modality == "image" or _same_tokenizer(teacher.processor, student.processor):
            return self
        _check_labels(teacher.net.config, student.net.config)
        return replace(self, teacher=Answers(teacher, student, rows, min(max_length, teacher.max_length)))

    def _prepared_teacher(self, student: nn.Module) -> nn.Module:
        """Return the teacher, loaded, checked against the student, in evaluation mode and on the student's device."""
        given = self._teacher()
        teacher: nn.Module = given.net if isinstance(given, Pretrained) else given
        _check_teacher(teacher, student)
        return teacher.eval().to(next(student.parameters()).device)

    def _teacher(self) -> Any:
        """Return the teacher, loaded."""
        if not self._loaded:
            with torch.random.fork_rng([]):  # initialising the teacher must not change the student's dropout
                self._loaded.append(load_model(self.teacher) if isinstance(self.teacher, str) else self.teacher)
        return self._loaded[0]


class Answers(nn.Module):
    """A teacher's logits for the rows of a training, found by the student's tokens.

    Args:
        teacher: A classifier.
        student: A classifier with another tokenizer.
        rows: A ``datasets.Dataset`` with the texts.
        max_length: Maximum number of tokens of a text.
    """

    def __init__(self, teacher: Pretrained, student: Pretrained, rows: Any, max_length: int) -> None:
        super().__init__()
        encoded, tokens = encode(teacher, rows, max_length, "Distill"), encode(student, rows, max_length, "Distill")
        net = teacher.net.to(next(student.net.parameters()).device)
        logits: list[Tensor] = []
        with eval_mode(net), torch.no_grad():
            for start in range(0, len(encoded), ROWS):
                batch = encoded.batch(range(start, min(start + ROWS, len(encoded))))
                logits += logits_of(net, {name: tensor.to(net.device) for name, tensor in batch.items()})
        assert isinstance(tokens.inputs, Tokens)
        self.by_tokens = {tuple(tokens.inputs[row]): answer for row, answer in enumerate(logits)}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Tensor:
        """Return the logits of the texts in a batch."""
        texts = zip(input_ids, attention_mask.bool(), strict=True)
        keys = [tuple(ids[mask].tolist()) for ids, mask in texts]
        if not all(key in self.by_tokens for key in keys):
            do = "Train on the rows that for_student was given"
            raise argument_error("Distill", "texts", "be those that the teacher has answered", "another", do)
        return torch.stack([self.by_tokens[key] for key in keys])


def _same_tokenizer(first: Any, second: Any) -> bool:
    return bool(first.get_vocab() == second.get_vocab())


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
            "Distill", "teacher", "share the student's tokenizer", got, "Give what load_model returns, not its module"
        )
    _check_labels(teacher_config, student_config)


def _check_labels(teacher: Any, student: Any) -> None:
    names, expected = _label_names(teacher), _label_names(student)
    if names and expected and sorted(names) == sorted(expected) and names != expected:
        got = f"{', '.join(names[:6])} beside {', '.join(expected[:6])}"
        do = "Fine-tune the teacher on data with the labels in this order"
        raise argument_error("Distill", "teacher", "have the student's labels in their order", got, do)
    if len(names) != len(expected) and names and expected:
        do = "Fine-tune the teacher on data with the same labels"
        raise argument_error(
            "Distill", "teacher", "have as many labels as the student", f"{len(names)} beside {len(expected)}", do
        )


def _label_names(config: Any) -> list[str]:
    return [str(name) for _, name in sorted((getattr(config, "id2label", None) or {}).items())]
