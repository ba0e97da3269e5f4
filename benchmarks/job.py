"""The input and output of one arm of the speed comparison: rows, model, times and memory."""

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ftlab.data.labels import Task
from ftlab.models.load import Pretrained, load_model

LONGEST = 128


@dataclass(frozen=True)
class Job:
    """The job of an arm."""

    arm: str
    batch: int
    ids: list[list[int]]
    labels: list[int]
    model: str = "minilm"
    device: str = "cpu"
    warm: int = 2
    """Warm-up updates that are not timed."""
    repeats: int = 1
    """Epochs that are timed."""


@dataclass(frozen=True)
class Pass:
    """The measurements of an arm."""

    seconds: list[float]
    """The time of each epoch."""
    work: float
    """Floating-point operations that the real tokens of an epoch need."""
    memory: float
    """The peak memory of the process, in MB."""
    device_memory: float | None
    note: str


class Clock:
    """Times epochs; on a GPU, the clock is read after synchronising."""

    def __init__(self, device: str) -> None:
        self.device, self.seconds = device, list[float]()

    def now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def start(self) -> None:
        self.began = self.now()

    def stop(self) -> None:
        self.seconds.append(self.now() - self.began)


def pretrained(job: Job) -> Pretrained:
    """Return the model: ``"bert-base"`` with random weights, else the result of :func:`ftlab.load_model`."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    names = ["negative", "positive"]
    if job.model == "bert-base":
        from tokenizers import Tokenizer, models
        from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

        only_pads = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
        processor = PreTrainedTokenizerFast(tokenizer_object=only_pads, pad_token="[PAD]", unk_token="[UNK]")
        net = BertForSequenceClassification(BertConfig(num_labels=2))
        return Pretrained(net, processor, job.model, Task("classification", tuple(names)))
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = Dataset.from_dict({"text": ["bad", "good"], "label": [0, 1]}, features=features)
    return load_model(job.model, DatasetDict({"train": rows}))


def unpadded(job: Job) -> list[dict[str, Any]]:
    """Return the rows as a data set for the Trainer, with the column of lengths that grouping by length needs."""
    return [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": label, "length": len(ids)}
        for ids, label in zip(job.ids, job.labels, strict=True)
    ]


def padded(job: Job) -> list[dict[str, Any]]:
    """Return the rows, each padded to 128 tokens."""
    return [
        {name: row[name] + [0] * (LONGEST - row["length"]) for name in ("input_ids", "attention_mask")}
        | {"labels": row["labels"]}
        for row in unpadded(job)
    ]


def peak_memory() -> float:
    """Return the peak memory of this process, in MB.

    Linux says it in ``/proc``; ``ru_maxrss`` would there count the process that started this one, too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(found["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)
