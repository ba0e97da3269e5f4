"""Batches: texts are tokenised once, grouped by length, and padded to the longest of their batch."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ftlab.errors import mention
from ftlab.models import Pretrained
from ftlab.rule import mix

Batch = dict[str, Tensor]
GROUP = 50
"""How many batches are sorted by length together; the rest of the order is chance."""


@dataclass(frozen=True)
class Encoded:
    """A split as the model takes it, one entry a row."""

    inputs: Sequence[Any]
    """Token ids, or images."""
    labels: Tensor | None
    processor: Any
    cut: int = 0
    """How many texts were longer than ``max_length`` and lost their end."""

    def __len__(self) -> int:
        return len(self.inputs)

    def length(self, row: int) -> int:
        """Return the length of a row in tokens; images all count as one."""
        return len(self.inputs[row]) if isinstance(self.inputs[row], list) else 1

    def batch(self, rows: Sequence[int]) -> Batch:
        """Return some rows as tensors: texts padded to the longest of them, and their labels where known."""
        if isinstance(self.inputs[rows[0]], list):
            batch = _pad([self.inputs[row] for row in rows], self.processor.pad_token_id)
        else:
            images = [self.inputs[row] for row in rows]
            batch = {"pixel_values": self.processor(images, return_tensors="pt")["pixel_values"]}
        return batch if self.labels is None else batch | {"labels": self.labels[list(rows)]}


def encode(pretrained: Pretrained, rows: Any, max_length: int, where: str = "finetune") -> Encoded:
    """Tokenise texts in one go, and number their labels.

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
    texts = rows if isinstance(rows, list) else list(rows["text"])
    tokenizer = pretrained.processor
    ids = tokenizer(texts, verbose=False)["input_ids"] if texts else []
    long = [row for row, one in enumerate(ids) if len(one) > max_length]
    if long:
        short = tokenizer([texts[row] for row in long], truncation=True, max_length=max_length)["input_ids"]
        for row, one in zip(long, short, strict=True):
            ids[row] = one
        share = len(long) / len(texts)
        mention(where, f"{len(long)} of {len(texts)} texts ({share:.1%}) are cut to {max_length} tokens.")
    _mention_unknown(ids, tokenizer, where)
    return Encoded(ids, labels, tokenizer, len(long))


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
        chance = random.Random(mix(self.seed, number))
        rows = list(range(len(self.encoded)))
        chance.shuffle(rows)
        size = self.batch_size * GROUP
        grouped = [
            row
            for start in range(0, len(rows), size)
            for row in sorted(rows[start : start + size], key=self.encoded.length)
        ]
        batches = [grouped[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        chance.shuffle(batches)
        return batches


def _pad(rows: list[list[int]], pad: int) -> Batch:
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _labels(labels: Any, pretrained: Pretrained) -> Tensor:
    if pretrained.task.kind == "multilabel":
        hot = torch.zeros(len(labels), len(pretrained.task.names))
        for row, numbers in enumerate(labels):
            hot[row, list(numbers)] = 1
        return hot
    return torch.tensor(list(labels), dtype=torch.float32 if pretrained.task.kind == "regression" else torch.long)


def _colour(pretrained: Pretrained) -> bool:
    return getattr(pretrained.net.config, "num_channels", 3) == 3


def _mention_unknown(ids: list[list[int]], tokenizer: Any, where: str) -> None:
    unknown = tokenizer.unk_token_id
    total = sum(map(len, ids))
    if unknown is None or not total or unknown == tokenizer.eos_token_id:
        return
    share = sum(one.count(unknown) for one in ids) / total
    if share > 0.2:
        mention(where, f"{share:.0%} of all tokens are unknown to the tokenizer; is it made for this language?")
