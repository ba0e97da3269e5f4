"""The start-up time of ftlab compared with the libraries it uses: whole processes, in turns.

    python -m benchmarks.start
    python -m benchmarks.start --turns 20

``import ftlab`` is held against ``import torch``, and ``ftlab predict`` against the shortest script that loads the same
folder with transformers and says its label for the same text.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ftlab
from benchmarks.record import keep, spread

TEXT = "a quiet little gem"
BARE = """
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(sys.argv[1])
inputs = AutoTokenizer.from_pretrained(sys.argv[1])(sys.argv[2], return_tensors="pt")
with torch.inference_mode():
    print(model.config.id2label[int(model(**inputs).logits.argmax())])
"""


def main() -> None:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10)
    turns = parser.parse_args().turns
    data = ftlab.load_data("reviews")
    data["train"] = data["train"].select(range(64))
    with tempfile.TemporaryDirectory() as folder:
        ftlab.finetune("minilm", data, epochs=1, progress=False, output=Path(folder) / "run")
        model = str(Path(folder) / "run" / "model")
        seconds = in_turns(
            {
                "python -c pass": ["-c", "pass"],
                "import ftlab": ["-c", "import ftlab"],
                "import torch": ["-c", "import torch"],
                "import torch, then ftlab": ["-c", "import torch, ftlab"],
                "ftlab --help": ["-m", "ftlab", "--help"],
                "ftlab predict": ["-m", "ftlab", "predict", model, TEXT],
                "the same with transformers": ["-c", BARE, model, TEXT],
            },
            turns,
        )
    keep("start", {"turns": turns, "seconds: median, least, greatest": seconds})


def in_turns(commands: dict[str, list[str]], turns: int) -> dict[str, Any]:
    """Run each command once to warm up, then all of them in turns; return the spread of their times."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, arguments in commands.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times[name] += [time.perf_counter() - started] if turn else []
    return {name: spread(spent) for name, spent in times.items()}


if __name__ == "__main__":
    main()
