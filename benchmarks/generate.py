"""Greedy generation beside ``model.generate``: one prompt after another, one batch in the given order, and ftlab's.

    python -m benchmarks.generate

All three have the key/value cache and give the same responses. ftlab sorts the prompts by length and continues 32 at once.
SmolLM2's weights were stored in four bits.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

import ftlab
from benchmarks.record import keep, spread
from ftlab.data.conversations import start_of
from ftlab.evaluation.generation import generate

PROMPTS, NEW = 48, 16


def main() -> None:
    """Time each way in turns, and record it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    model = ftlab.load_model("smollm2")
    prompts = list(ftlab.load_data("extraction")["test"].select(range(PROMPTS))["prompt"])
    ways: dict[str, Callable[[], list[str]]] = {
        "model.generate, one by one": lambda: [text for one in prompts for text in by_transformers(model, [one])],
        "model.generate, batches of 8": lambda: [
            text for start in range(0, PROMPTS, 8) for text in by_transformers(model, prompts[start : start + 8])
        ],
        "ftlab": lambda: generate(model, prompts, max_new_tokens=NEW),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    responses = {}
    for _ in range(given.rounds):
        for name, run in ways.items():
            started = time.perf_counter()
            responses[name] = run()
            seconds[name].append(time.perf_counter() - started)
    first = responses["model.generate, one by one"]
    same = {name: sum(a == b for a, b in zip(first, found, strict=True)) for name, found in responses.items()}
    fastest = statistics.median(seconds["ftlab"])
    result = {
        "what": f"seconds for {PROMPTS} prompts of `extraction`, at most {NEW} new tokens each, greedy",
        "seconds": {name: spread(values, 2) for name, values in seconds.items()},
        "ftlab as a multiple of": {
            name: round(statistics.median(values) / fastest, 2) for name, values in seconds.items() if name != "ftlab"
        },
        "responses as one by one": same,
    }
    keep("generate", result)


def by_transformers(model: Any, prompts: list[str]) -> list[str]:
    """Generate with transformers alone."""
    tokenizer, net = model.processor, model.net
    tokenizer.padding_side = "left"
    starts = [start_of(tokenizer, [{"role": "user", "content": prompt}]) for prompt in prompts]
    inputs = tokenizer(starts, add_special_tokens=False, padding=True, return_tensors="pt")
    with torch.inference_mode():
        made = net.generate(**inputs, max_new_tokens=NEW, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    texts = tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


if __name__ == "__main__":
    main()
