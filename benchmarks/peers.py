"""One arm of the speed comparison in its own process: warm up, then time whole epochs over the given rows.

    python -m benchmarks.peers JOB.json        # called by benchmarks.speed; prints a Pass as JSON

Every arm gets rows that are tokenised already, a linear schedule with 10 % warm-up, AdamW, clipping at 1.0 and the
dropout of the model. It saves and evaluates nothing.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.job import LONGEST, Clock, Job, Pass, padded, peak_memory, pretrained, unpadded
from benchmarks.peak import work
from ftlab.data.batches import Batches, Encoded
from ftlab.data.tokens import Tokens
from ftlab.engines.engine import choose_engine
from ftlab.engines.fast.precision import has_bf16
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.formulas.freeze import Freeze
from ftlab.losses.classification import loss_for
from ftlab.models.load import quiet
from ftlab.recipes.parse import complete
from ftlab.training.loop import begin, step

LR, CLIP, WARMUP = 5e-5, 1.0, 0.1
HEAD_ONLY = "ftlab fast, head only"


def by_hand(job: Job, clock: Clock, epoch: Callable[[int], Iterable[Any]], update: Callable[[Any], Any]) -> None:
    """Run the epochs of an arm with a hand-written loop."""
    for batch in islice(epoch(0), job.warm):
        update(batch)
    for number in range(1, job.repeats + 1):
        clock.start()
        for batch in epoch(number):
            update(batch)
        clock.stop()


def article(job: Job, clock: Clock, tf32: bool = False) -> str:
    """Train as the article does: every text padded to 128 tokens, AdamW with defaults, fp32."""
    from transformers import get_linear_schedule_with_warmup

    torch.backends.cuda.matmul.allow_tf32 = tf32
    net = pretrained(job).net.to(job.device).train()
    rows: Any = [{name: torch.tensor(value) for name, value in row.items()} for row in padded(job)]
    loader: Any = torch.utils.data.DataLoader(rows, job.batch, shuffle=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR)
    updates = len(loader) * job.repeats + job.warm
    schedule = get_linear_schedule_with_warmup(optimizer, int(WARMUP * updates), updates)

    def update(batch: dict[str, torch.Tensor]) -> None:
        loss = net(**{name: tensor.to(job.device) for name, tensor in batch.items()}).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        optimizer.step()
        schedule.step()

    by_hand(job, clock, lambda _: loader, update)
    return "TF32" if tf32 else "fp32"


def ours(job: Job, clock: Clock, asked: str, frozen: str = "") -> str:
    """Train as ``ftlab.finetune`` does, with the parameters that match a pattern frozen."""
    model = pretrained(job)
    engine = choose_engine(asked, job.device)
    model.net.to(job.device)
    ids, starts = np.concatenate(job.ids, dtype=np.int32), np.cumsum([0, *map(len, job.ids)])
    encoded = Encoded(Tokens(ids, starts, model.processor.pad_token_id), torch.tensor(job.labels), model.processor)
    batches = Batches(encoded, job.batch, seed=0)
    recipe, loss = complete([*([Freeze(frozen)] if frozen else []), ClipNorm(CLIP)]), loss_for(model.task.kind)
    state = begin(model, batches, recipe, epochs=job.repeats + 1, lr=LR, loss=loss, engine=engine)
    with engine.session(state.model):
        by_hand(job, clock, batches.epoch, partial(step, state))
    return f"engine {engine.name}"


def trainer(job: Job, clock: Clock, *, pad_in_data: bool = False, **options: Any) -> str:
    """Train with the Trainer of transformers."""
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    model = pretrained(job)
    collator = None if pad_in_data else DataCollatorWithPadding(model.processor)
    rows = padded(job) if pad_in_data else unpadded(job)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, **usual(job), **options)
        with_clock = {"callbacks": [timed(job, clock)], "data_collator": collator}
        Trainer(model.net, arguments, train_dataset=Dataset.from_list(rows), **with_clock).train()
    return "bf16" if arguments.bf16 else "fp32"


def tuned(job: Job, clock: Clock, workers: int) -> str:
    """Train with the Trainer, tuned for speed."""
    said = trainer(
        job,
        clock,
        bf16=has_bf16(job.device),
        tf32=True if job.device == "cuda" else None,
        optim="adamw_torch_fused",
        train_sampling_strategy="group_by_length",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        dataloader_num_workers=workers,
        dataloader_persistent_workers=workers > 0,
    )
    return f"{said}, {workers} workers"


def cross_encoder(job: Job, clock: Clock) -> str:
    """Train a CrossEncoder of sentence-transformers, which takes pairs: each text with an empty one."""
    from datasets import Dataset
    from sentence_transformers.cross_encoder import (
        CrossEncoder,
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
        losses,
    )

    model = pretrained(job)
    texts = model.processor.batch_decode(job.ids, skip_special_tokens=True)
    rows = Dataset.from_dict({"text": texts, "empty": [""] * len(texts), "label": job.labels})
    with tempfile.TemporaryDirectory() as folder:
        model.net.save_pretrained(folder)
        model.processor.save_pretrained(folder)
        net = CrossEncoder(folder, num_labels=2, device=job.device, max_length=LONGEST)
        arguments = CrossEncoderTrainingArguments(folder, **usual(job))
        loss = losses.CrossEntropyLoss(net)
        CrossEncoderTrainer(net, arguments, rows, loss=loss, callbacks=[timed(job, clock)]).train()
    return "fp32; pairs each text with an empty one; tokenises inside the clock, which no other arm does"


ARMS: dict[str, Callable[[Job, Clock], str]] = {
    "article's loop": article,
    "article's loop, TF32": partial(article, tf32=True),
    "Trainer as it comes": partial(trainer, pad_in_data=True),
    "Trainer, dynamic padding": trainer,
    "Trainer tuned, 0 workers": partial(tuned, workers=0),
    "Trainer tuned, 2 workers": partial(tuned, workers=2),
    "sentence-transformers CrossEncoder": cross_encoder,
    "ftlab reference": partial(ours, asked="reference"),
    "ftlab fast": partial(ours, asked="auto"),
    HEAD_ONLY: partial(ours, asked="auto", frozen="bert.*"),
}


def usual(job: Job) -> dict[str, Any]:
    """Return the arguments shared by all Trainers, so that all do the same job."""
    return {
        "per_device_train_batch_size": job.batch,
        "num_train_epochs": job.repeats + 1,
        "learning_rate": LR,
        "warmup_steps": WARMUP,
        "max_grad_norm": CLIP,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": job.device == "cpu",
        "dataloader_pin_memory": job.device == "cuda",  # without a GPU it only warns
    }


def timed(job: Job, clock: Clock) -> Any:
    """Return a callback that ends the first epoch after the warm-up and times the others."""
    from transformers import TrainerCallback

    class Timed(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.epoch = -1

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.epoch += 1
            if self.epoch:
                clock.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not self.epoch and state.global_step >= job.warm:
                control.should_epoch_stop = True

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.epoch:
                clock.stop()

    return Timed()


def run(job: Job) -> Pass:
    """Do a job in this process."""
    clock = Clock(job.device)
    torch.manual_seed(0)
    note = ARMS[job.arm](job, clock)
    memory = peak_memory()
    on_device = torch.cuda.max_memory_allocated() / 2**20 if job.device == "cuda" else None
    needed = 0.0 if job.arm == HEAD_ONLY else work(pretrained(job).net.config, map(len, job.ids))
    return Pass(clock.seconds, needed, memory, on_device, note)


if __name__ == "__main__":
    with quiet():
        done = run(Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
    print(json.dumps(dataclasses.asdict(done)))
