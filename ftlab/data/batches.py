"""Batches: texts are tokenised once, grouped by length, and padded to the longest of their batch."""

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ftlab.data.chunks import chunks
from ftlab.data.labels import Task
from ftlab.data.tokens import Tokens, tokenise
from ftlab.errors import note
from ftlab.seeding import derive_seed

Batch = dict[str, Tensor]
GROUP = 50
"""How many batches are sorted by length together; the rest of the order is chance."""


class Model(Protocol):
    """What :func:`encode` needs of a model; :class:`ftlab.models.load.Pretrained` has it."""

    @property
    def net(self) -> Any: ...

    @property
    def processor(self) -> Any: ...

    @property
    def task(self) -> Task: ...


@dataclass(frozen=True)
class Encoded:
    """A split as the model takes it, one entry a row."""

    inputs: Tokens | Sequence[Any]
    """Token ids, or images."""
    labels: Tensor | None
    processor: Any
    cut: int = 0
    """How many texts were longer than ``max_length`` and lost their end."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of every row in tokens; images all count as one."""
        return self.inputs.lengths if isinstance(self.inputs, Tokens) else np.ones(len(self), np.int64)

    def length(self, row: int) -> int:
        """Return the length of a row in tokens; images all count as one."""
        return len(self.inputs[row]) if isinstance(self.inputs, Tokens) else 1

    def batch(self, rows: Sequence[int]) -> Batch:
        """Return some rows as tensors: texts padded to the longest of them, and their labels where known."""
        if isinstance(self.inputs, Tokens):
            batch = self.inputs.batch(rows)
        else:
            images = [self.inputs[row] for row in rows]
            batch = {"pixel_values": self.processor(images, return_tensors="pt")["pixel_values"]}
        return batch if self.labels is None else batch | {"labels": self.labels[list(rows)]}


def encode(pretrained: Model, rows: Any, max_length: int, where: str = "finetune") -> Encoded:
    """Tokenise texts, and number their labels. Many texts are kept on disk: see :func:`ftlab.data.tokens.tokenise`.

    Args:
        pretrained: Model and processor.
        rows: A ``datasets.Dataset`` with ``text`` or ``image`` and, where known, ``label``; or a list of texts.
        max_length: The most tokens a text keeps; the number of texts that are cut is mentioned.
        where: Who asks, for the mention.
    """
    labelled = not isinstance(rows, list) and "label" in rows.column_names
    labels = _labels(rows["label"], pretrained) if labelled else None
    if pretrained.task.modality == "image":
        images = [image.convert("RGB") for image in rows["image"]] if _colour(pretrained) else list(rows["image"])
        return Encoded(images, labels, pretrained.processor)
    texts = rows if isinstance(rows, list) else rows["text"]
    tokens, cut = tokenise(pretrained.processor, texts, max_length)
    if cut:
        note(where, f"{cut} of {len(texts)} texts ({cut / len(texts):.1%}) are cut to {max_length} tokens.")
    _mention_unknown(tokens, pretrained.processor, where)
    return Encoded(tokens, labels, pretrained.processor, cut)


class Batches:
    """The training rows as batches, in a new order each epoch: the same seed and epoch give the same batches."""

    def __init__(self, encoded: Encoded, batch_size: int, *, seed: int = 0, accumulate: int = 1) -> None:
        self.encoded, self.batch_size, self.seed, self.accumulate = encoded, batch_size, seed, accumulate

    def __len__(self) -> int:
        return -(-len(self.encoded) // self.batch_size)

    def __iter__(self) -> Iterator[list[Batch]]:
        return self.epoch(0)

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[list[Batch]]:
        """Yield each batch as a list of ``accumulate`` parts (fewer where it has fewer rows).

        Args:
            number: Which epoch, from 0.
            skip: How many batches to leave out at the beginning, when a run is resumed.
        """
        for rows in self.order(number)[skip:]:
            parts = min(self.accumulate, len(rows))
            yield [self.encoded.batch(rows[part::parts]) for part in range(parts)]

    def order(self, number: int) -> list[list[int]]:
        """Return the rows of each batch of an epoch: shuffled, then sorted by length within groups of batches."""
        chance = random.Random(derive_seed(self.seed, number))
        shuffled = array("q", range(len(self.encoded)))
        chance.shuffle(shuffled)
        rows = np.array(shuffled)
        group = np.arange(len(rows)) // (self.batch_size * GROUP)
        rows = rows[np.lexsort((self.encoded.lengths[rows], group))]
        batches = [rows[start : start + self.batch_size].tolist() for start in range(0, len(rows), self.batch_size)]
        chance.shuffle(batches)
        return batches


def _labels(labels: Any, pretrained: Model) -> Tensor:
    """Number the labels: one number a row, or a row of zeros and ones where several may hold."""
    if pretrained.task.kind == "multilabel":
        hot = torch.zeros(len(labels), len(pretrained.task.names))
        rows = (numbers for chunk in chunks(labels) for numbers in chunk)
        for row, numbers in enumerate(rows):
            hot[row, list(numbers)] = 1
        return hot
    number = torch.float32 if pretrained.task.kind == "regression" else torch.long
    return torch.cat([torch.zeros(0, dtype=number), *(torch.tensor(chunk, dtype=number) for chunk in chunks(labels))])


def _colour(pretrained: Model) -> bool:
    return getattr(pretrained.net.config, "num_channels", 3) == 3


def _mention_unknown(tokens: Tokens, tokenizer: Any, where: str) -> None:
    unknown = tokenizer.unk_token_id
    if unknown is None or not len(tokens.ids) or unknown == tokenizer.eos_token_id:
        return
    share = tokens.count(unknown) / len(tokens.ids)
    if share > 0.2:
        note(where, f"{share:.0%} of all tokens are unknown to the tokenizer; is it made for this language?")
