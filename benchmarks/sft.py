"""Supervised fine-tuning of SmolLM2 beside TRL's SFTTrainer and a plain loop: response tokens a second, and memory.

    python -m benchmarks.sft            # needs trl beside ftlab; each arm is a process of its own, in turns

All arms get the same tokens in the same batches, AdamW at a constant learning rate, no clipping, fp32 where the processor
has no bf16, and the loss on the responses' tokens only. TRL runs without gradient checkpointing, padded (its default), and
tuned: without padding, each batch one row. So losses agree, and what is compared is time.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch

import ftlab
from benchmarks.record import keep, of_machine, spread
from ftlab.data.batches import Encoded, count_targets, encode
from ftlab.losses.next_token import NextToken
from ftlab.models.load import Pretrained
from ftlab.training.loop import begin, step

BATCH, WARM, LR = 8, 2, 1e-5
RANK = 8
ARMS = ("plain loop", "TRL", "TRL, no padding", "ftlab")


def main() -> None:
    """Run every arm in its own process, in turns, and record the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--lora", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        print(json.dumps(measured(given.arm, given.updates, lora=given.lora)))
        return
    runs: dict[str, list[Any]] = {}
    for _ in range(given.rounds):
        for lora in (False, True):
            for arm in ARMS:
                command = [sys.executable, "-m", "benchmarks.sft", "--arm", arm, "--updates", str(given.updates)]
                done = subprocess.run([*command, *["--lora"] * lora], stdout=subprocess.PIPE, text=True, check=True)
                one = json.loads(done.stdout.splitlines()[-1])
                print("LoRA" if lora else "full", arm, one, flush=True)
                runs.setdefault(f"{'LoRA' if lora else 'full'}, {arm}", []).append(one)
    keep(of_machine("sft"), described(given, runs))


def described(given: Any, runs: dict[str, list[Any]]) -> dict[str, Any]:
    """Return the record: medians over rounds, and each arm's rate as a multiple of the others'."""
    rates = {name: statistics.median(one["response tokens a second"] for one in found) for name, found in runs.items()}
    return {
        "what": "response tokens a second of SmolLM2 on `extraction`, and peak memory of the process in GB",
        "how": f"batches of {BATCH} rows, {given.updates} updates after {WARM} to warm up, {given.rounds} rounds in turns",
        "trl": version_of("trl"),
        "arms": {
            name: {
                "response tokens a second": spread([one["response tokens a second"] for one in found], 2),
                "peak GB": spread([one["peak GB"] for one in found], 2),
                "losses": found[0]["losses"],
            }
            for name, found in runs.items()
        },
        "ftlab as a multiple of": {
            name: round(rates[f"{name.partition(',')[0]}, ftlab"] / rate, 3)
            for name, rate in rates.items()
            if not name.endswith("ftlab")
        },
    }


def version_of(package: str) -> str:
    """Return the version of an installed package."""
    from importlib.metadata import version

    return version(package)


def measured(arm: str, updates: int, *, lora: bool) -> dict[str, Any]:
    """Run one arm."""
    data = ftlab.load_data("extraction")
    model = ftlab.load_model("smollm2", data)
    rows = encode(model, data["train"].select(range(BATCH * (WARM + updates))), 128)
    train = by_trl if arm.startswith("TRL") else by_ftlab if arm == "ftlab" else by_hand
    seconds, losses = train(model, rows, lora=lora, flat="no padding" in arm)
    targets = [count_targets(batch) for batch in batches_of(rows)]
    assert len(seconds) == len(losses) == len(targets)
    return {
        "response tokens a second": round(sum(targets[WARM:]) / sum(seconds[WARM:]), 2),
        "peak GB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "losses": [round(one, 4) for one in losses],
    }


def batches_of(rows: Encoded) -> list[dict[str, torch.Tensor]]:
    """Return the rows in batches, in order."""
    return [rows.batch(range(start, start + BATCH)) for start in range(0, len(rows), BATCH)]


def by_ftlab(model: Pretrained, rows: Encoded, *, lora: bool, flat: bool) -> tuple[list[float], list[float]]:
    """Train with ftlab's loop and the engine that it chooses."""
    recipe = [ftlab.LoRA(rank=RANK)] if lora else []
    batches = batches_of(rows)
    state = begin(model, batches, recipe, lr=LR, loss=NextToken(), engine="auto")
    seconds, losses = [], []
    with state.engine.session(state.model):
        for batch in batches:
            started = time.perf_counter()
            losses.append(step(state, batch)["loss"])
            seconds.append(time.perf_counter() - started)
    return seconds, losses


def by_hand(model: Pretrained, rows: Encoded, *, lora: bool, flat: bool) -> tuple[list[float], list[float]]:
    """Train with transformers and torch alone; the loss is that which the model computes from the labels."""
    net: Any = model.net
    if lora:
        from peft import LoraConfig, get_peft_model

        net = get_peft_model(net, LoraConfig(r=RANK))
    net.train()
    optimizer = torch.optim.AdamW([one for one in net.parameters() if one.requires_grad], lr=LR)
    seconds, losses = [], []
    for batch in batches_of(rows):
        started = time.perf_counter()
        optimizer.zero_grad()
        loss = net(**batch, use_cache=False).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    return seconds, losses


def by_trl(model: Pretrained, rows: Encoded, *, lora: bool, flat: bool) -> tuple[list[float], list[float]]:
    """Train with TRL's SFTTrainer on rows that are tokenised already."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from ftlab.engines.fast.precision import has_bf16

    assert rows.targets is not None
    inputs = [[int(token) for token in rows.inputs[row]] for row in range(len(rows))]
    masks = [[int(one) for one in rows.targets[row]] for row in range(len(rows))]
    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        started = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.started)

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model.net,
            args=SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=BATCH,
                num_train_epochs=1,
                learning_rate=LR,
                lr_scheduler_type="constant",
                max_grad_norm=0.0,
                max_length=None,
                padding_free=flat,
                completion_only_loss=True,
                gradient_checkpointing=False,
                bf16=has_bf16("cpu"),
                train_sampling_strategy="sequential",
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
            ),
            train_dataset=Dataset.from_dict({"input_ids": inputs, "completion_mask": masks}),
            processing_class=model.processor,
            peft_config=LoraConfig(r=RANK) if lora else None,
            callbacks=[Clock()],
        )
        trainer.train()
    losses = [float(one["loss"]) for one in trainer.state.log_history if "loss" in one]
    return seconds, losses


if __name__ == "__main__":
    main()
