"""Turn rows into batches: tokenise texts once, group them by length, pad each batch to its longest text."""

import random
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ftlab.data.chunks import chunks
from ftlab.data.conversations import IGNORE, encode_rows
from ftlab.data.images import eight_bits
from ftlab.data.labels import Task
from ftlab.data.tokens import Tokens, tokenise
from ftlab.errors import note
from ftlab.seeding import derive_seed

Batch = dict[str, Tensor]
GROUP = 50
"""Number of batches whose rows are sorted by length together. The order is random otherwise."""


class Model(Protocol):
    """What :func:`encode` reads from a model, such as a :class:`ftlab.models.load.Pretrained`."""

    @property
    def net(self) -> Any: ...

    @property
    def processor(self) -> Any: ...

    @property
    def task(self) -> Task: ...


@dataclass(frozen=True)
class Encoded:
    """The rows of a split as model inputs, in order."""

    inputs: Tokens | Sequence[Any]
    """Token ids, or images."""
    labels: Tensor | None
    """Class ids, rows of zeros and ones (multilabel), or numbers (regression)."""
    processor: Any
    """The tokenizer or image processor of the model."""
    cut: int = 0
    """Number of texts that were truncated to ``max_length``."""
    targets: Tokens | None = None
    """For generation: 1 for each token that is a target, 0 for the others."""

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each row in tokens; 1 for an image."""
        return self.inputs.lengths if isinstance(self.inputs, Tokens) else np.ones(len(self), np.int64)

    def length(self, row: int) -> int:
        """Return the length of a row in tokens; 1 for an image."""
        return len(self.inputs[row]) if isinstance(self.inputs, Tokens) else 1

    def batch(self, rows: Sequence[int]) -> Batch:
        """Return the given rows as tensors: inputs, with texts padded to the longest, and labels if there are any."""
        if isinstance(self.inputs, Tokens):
            batch = self.inputs.batch(rows)
            if self.targets is not None:
                chosen = self.targets.batch(rows)["input_ids"].bool()
                return batch | {"labels": batch["input_ids"].masked_fill(~chosen, IGNORE)}
        else:
            images = [self.inputs[row] for row in rows]
            batch = {"pixel_values": self.processor(images, return_tensors="pt")["pixel_values"]}
        return batch if self.labels is None else batch | {"labels": self.labels[list(rows)]}


def encode(model: Model, rows: Any, max_length: int, where: str = "finetune") -> Encoded:
    """Tokenise texts and convert labels to tensors.

    The token ids of many texts are cached on disk, see :func:`ftlab.data.tokens.tokenise`.

    Args:
        model: Model, processor and task.
        rows: A ``datasets.Dataset`` with ``text`` or ``image`` and, optionally, ``label``, or with a form for generation
            (see :mod:`ftlab.data.conversations`); or a list of texts or of pictures.
        max_length: Maximum number of tokens per text. A note reports how many texts are truncated.
        where: The caller's name, with which notes begin.
    """
    if model.task.kind == "generation":
        conversations, cut = encode_rows(model.processor, rows, max_length, where)
        starts = np.cumsum([0, *(len(ids) for ids, _ in conversations)])
        flat = np.fromiter((token for ids, _ in conversations for token in ids), np.int32)
        tokens = Tokens(flat, starts, model.processor.pad_token_id)
        marks = np.fromiter((target for _, targets in conversations for target in targets), np.int32)
        return Encoded(tokens, None, model.processor, cut, Tokens(marks, starts, 0))
    labelled = not isinstance(rows, list) and "label" in rows.column_names
    labels = _label_tensor(rows["label"], model.task) if labelled else None
    if model.task.modality == "image":
        images = [eight_bits(image) for image in (rows if isinstance(rows, list) else rows["image"])]
        images = [image.convert("RGB") for image in images] if _takes_rgb(model) else images
        return Encoded(images, labels, model.processor)
    texts = rows if isinstance(rows, list) else rows["text"]
    tokens, cut = tokenise(model.processor, texts, max_length)
    if cut:
        note(where, f"{cut} of {len(texts)} texts ({cut / len(texts):.1%}) are cut to {max_length} tokens.")
    _note_unknown_tokens(tokens, model.processor, where)
    return Encoded(tokens, labels, model.processor, cut)


def count_targets(batch: Batch) -> int:
    """Return how many values a loss averages over in a batch: its target tokens, or its rows.

    >>> count_targets({"labels": torch.tensor([[-100, -100, 5], [-100, 7, 8]])})
    3
    """
    labels = batch["labels"]
    return int((labels[:, 1:] != IGNORE).sum()) if predicts_tokens(batch) else len(labels)


def predicts_tokens(batch: Mapping[str, Tensor]) -> bool:
    """Return whether a batch has a label for each token.

    >>> predicts_tokens({"labels": torch.tensor([0, 1])})
    False
    """
    labels = batch.get("labels")
    return labels is not None and labels.ndim == 2 and not labels.is_floating_point()


class Batches:
    """Batches of the training rows, in a new order each epoch. Seed and epoch determine the order."""

    def __init__(self, encoded: Encoded, batch_size: int, *, seed: int = 0, accumulate: int = 1) -> None:
        self.encoded, self.batch_size, self.seed, self.accumulate = encoded, batch_size, seed, accumulate

    def __len__(self) -> int:
        return -(-len(self.encoded) // self.batch_size)

    def __iter__(self) -> Iterator[list[Batch]]:
        return self.epoch(0)

    def epoch(self, number: int, *, skip: int = 0) -> Iterator[list[Batch]]:
        """Yield each batch as a list of ``accumulate`` micro-batches (fewer if the batch has fewer rows).

        Args:
            number: The epoch, from 0.
            skip: Number of batches to skip at the start, when a run is resumed.
        """
        for rows in self.order(number)[skip:]:
            parts = min(self.accumulate, len(rows))
            yield [self.encoded.batch(rows[part::parts]) for part in range(parts)]

    def order(self, number: int) -> list[list[int]]:
        """Return the row numbers of each batch: shuffled, sorted by length within groups of batches, batches shuffled."""
        generator = random.Random(derive_seed(self.seed, number))
        shuffled = array("q", range(len(self.encoded)))
        generator.shuffle(shuffled)
        rows = np.array(shuffled)
        group = np.arange(len(rows)) // (self.batch_size * GROUP)
        rows = rows[np.lexsort((self.encoded.lengths[rows], group))]
        batches = [rows[start : start + self.batch_size].tolist() for start in range(0, len(rows), self.batch_size)]
        generator.shuffle(batches)
        return batches


def _label_tensor(labels: Any, task: Task) -> Tensor:
    """Return one class id or number per row; in multilabel tasks, a row of zeros and ones."""
    if task.kind == "multilabel":
        multi_hot = torch.zeros(len(labels), len(task.names))
        rows = (ids for chunk in chunks(labels) for ids in chunk)
        for row, ids in enumerate(rows):
            multi_hot[row, list(ids)] = 1
        return multi_hot
    dtype = torch.float32 if task.kind == "regression" else torch.long
    return torch.cat([torch.zeros(0, dtype=dtype), *(torch.tensor(chunk, dtype=dtype) for chunk in chunks(labels))])


def _takes_rgb(model: Model) -> bool:
    return getattr(model.net.config, "num_channels", 3) == 3


def _note_unknown_tokens(tokens: Tokens, tokenizer: Any, where: str) -> None:
    unknown = tokenizer.unk_token_id
    if unknown is None or not len(tokens.ids) or unknown == tokenizer.eos_token_id:
        return
    share = tokens.count(unknown) / len(tokens.ids)
    if share > 0.2:
        note(where, f"{share:.0%} of all tokens are unknown to the tokenizer; is it made for this language?")
