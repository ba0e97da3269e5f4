"""What goes wrong when SmolLM2 is fine-tuned with LoRA on `extraction`: one mistake at a time.

    python -m benchmarks.mistakes              # an interrupted run continues where it stopped

Each arm has one training on the same rows with the same seed. SmolLM2's weights were stored in four bits.
"""

import argparse
import json
from typing import Any

import torch
from datasets import DatasetDict

import ftlab
from benchmarks.record import RESULTS, keep
from ftlab.data.batches import Batch
from ftlab.data.conversations import IGNORE
from ftlab.evaluation.generation import generate
from ftlab.losses.next_token import NextToken

ROWS, TEST_ROWS = 240, 72
LORA = {"recipe": [ftlab.LoRA()], "lr": 5e-3}
ARGUMENTS: dict[str, Any] = {"epochs": 1, "batch_size": 8, "progress": False}


class WholeText(NextToken):
    """The loss on every token, that of the prompt as well."""

    def __call__(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORE)
        return super().__call__(model, {**batch, "labels": labels})


class WithoutEnd(NextToken):
    """The loss on the responses without the token that ends them."""

    def __call__(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        last = batch["attention_mask"].sum(1) - 1
        labels = batch["labels"].scatter(1, last[:, None], IGNORE)
        return super().__call__(model, {**batch, "labels": labels})


ARMS: dict[str, dict[str, Any]] = {
    "as it should be": {},
    "loss on the prompt as well": {"loss": WholeText()},
    "no end token": {"loss": WithoutEnd()},
    "learning rate of full training": {"lr": 5e-5},
}


def main() -> None:
    """Train every arm that is not recorded yet, and record it; the first is also asked without its template."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    data = ftlab.load_data("extraction")
    rows = data["test"].select(range(TEST_ROWS))
    train = DatasetDict({"train": data["train"].shuffle(seed=0).select(range(ROWS))})
    file = RESULTS / "mistakes.json"
    for arm, arguments in ARMS.items():
        runs = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.exists() else {}
        if arm in runs:
            continue
        run = ftlab.finetune(ftlab.load_model("smollm2", data), train, **ARGUMENTS | LORA | arguments)
        runs[arm] = asked(run.model, rows)
        if not arguments:
            run.model.processor.chat_template = None
            runs["asked without the template"] = asked(run.model, rows)
        keep("mistakes", {
            "what": f"exact match on {TEST_ROWS} test rows of `extraction`, and the mean number of tokens of a response",
            "how": f"{ROWS} rows, {ARGUMENTS | LORA}; one seed",
            "model": "smollm2, whose weights went through four bits",
            "runs": runs,
        })  # fmt: skip


def asked(model: Any, rows: Any) -> dict[str, Any]:
    """Return the share of exact responses, the mean length of a response, and the first response."""
    responses = generate(model, list(rows["prompt"]), max_new_tokens=32)
    matches = [one == other for one, other in zip(responses, rows["response"], strict=True)]
    lengths = [len(ids) for ids in model.processor(responses, add_special_tokens=False)["input_ids"]]
    return {
        "exact_match": round(sum(matches) / len(rows), 4),
        "tokens": round(sum(lengths) / len(rows), 1),
        "first": responses[0],
    }


if __name__ == "__main__":
    main()
