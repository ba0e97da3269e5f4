"""What cannot be worked with is refused in one line, in one grammar, before any training starts."""

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer

import ftlab
from ftlab import ArgumentError, ClipNorm, InputError, Reinit
from ftlab.cli import main
from ftlab.models.load import Pretrained
from tests.tiny import tiny_bert

ROWS = [("a good film", "yes"), ("a bad film", "no")]
CSV = "text,label\n" + "".join(f"{text} {i},{label}\n" for i in range(10) for text, label in ROWS)


def in_grammar(line: str) -> bool:
    """Tell whether a line reads ``<where>: <name> must <condition>. Got <value>. <What to do>.``"""
    return re.fullmatch(r"[\w ]+: [^\n]+ must [^\n]+\. Got [^\n]+\. [A-Z0-9][^\n]+\.", line) is not None


def labelled(labels: list[Any], splits: tuple[str, ...] = ("train", "test")) -> DatasetDict:
    """Make data in memory: each split has these labels."""
    return DatasetDict(
        {split: Dataset.from_dict({"text": [f"a {split} {i}" for i in labels], "label": labels}) for split in splits}
    )


@dataclass
class Bench:
    """What a bad input is tried out with: good data, a good model, and a folder to write in."""

    folder: Path
    bert: Path
    data: DatasetDict
    model: Pretrained

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def finetune(self, data: Any = None, **arguments: Any) -> Any:
        return ftlab.finetune(self.model, self.data if data is None else data, **arguments)

    def model_folder(self) -> Path:
        return Path(shutil.copytree(self.bert, self.folder / "model"))


@pytest.fixture(scope="module")
def good(bert):
    data = ftlab.load_data(labelled(["yes", "no"] * 6))
    return data, ftlab.load_model(bert, data)


@pytest.fixture
def bench(tmp_path, bert, good, monkeypatch):
    """A bench at which no training step may happen."""

    def no_step(*_: Any) -> None:
        pytest.fail("a training step was made")

    monkeypatch.setattr("ftlab.training.loop.step", no_step)
    monkeypatch.setattr("ftlab.training.finetune.plain_step", no_step)
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, bert, *good)


BAD = []


def bad(kind: type[InputError], message: str) -> Callable[[Callable[[Bench], Any]], Callable[[Bench], Any]]:
    """Register an act that must be refused with an error of this kind and this piece of message."""

    def register(act: Callable[[Bench], Any]) -> Callable[[Bench], Any]:
        BAD.append(pytest.param(kind, message, act, id=act.__name__.removeprefix("_")))
        return act

    return register


def bad_file(name: str, file: str, content: str | bytes, message: str, **arguments: str) -> None:
    """Register a file that must be refused."""

    def act(bench: Bench) -> None:
        bench.finetune(ftlab.load_data(bench.file(file, content), **arguments))

    BAD.append(pytest.param(InputError, message, act, id=name))


def bad_argument(name: str, message: str, **arguments: Any) -> None:
    """Register arguments of ``finetune`` that must be refused."""
    BAD.append(pytest.param(ArgumentError, message, lambda bench: bench.finetune(**arguments), id=name))


def json_lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


# Files that cannot be read

LATIN = CSV.replace("film", "café").encode("latin-1")
BROKEN = json_lines({"text": "a", "label": "x"}) + '{"text": "b", "label"\n'

bad_file("empty file", "a.csv", "", "not be empty. Got a.csv of 0 bytes")
bad_file("header only", "a.csv", "text,label\n", "hold at least one row. Got none in a.csv")
bad_file("blank lines only", "a.csv", "\n\n\n", "hold at least one row")
bad_file("unknown suffix", "a.txt", CSV, "end in one of .csv, .tsv")
bad_file("binary junk", "a.csv", bytes(range(256)) * 4, "be text. Got a NUL byte in line 1")
bad_file("Latin-1", "a.csv", LATIN, "be UTF-8 text. Got byte 0xe9 in line 2 of a.csv")
bad_file("UTF-16", "a.csv", CSV.encode("utf-16"), "Got UTF-16 in a.csv")
bad_file("spreadsheet", "a.csv", b"PK\x03\x04\x14\x00" + b"x" * 50, "Got a zip archive (perhaps a spreadsheet)")
bad_file("broken parquet", "a.parquet", b"PAR1 and no more", "be a whole parquet file")
bad_file("duplicate header", "a.csv", "text,label,text\na,b,c\n", "name each column once. Got 'text' twice")
bad_file("empty header name", "a.csv", "text,,label\na,b,c\n", "Got an empty name among")
bad_file("too many fields", "a.csv", CSV + "a good, long film,yes\n", "line 22 of a.csv must have 2 fields")
bad_file("too few fields", "a.csv", "text,label\na,x\nb\n", "line 3 of a.csv must have 2 fields")
bad_file("too many tabs", "a.tsv", "text\tlabel\na\tb\tx\n", "line 2 of a.tsv must have 2 fields")
bad_file("unclosed quote", "a.csv", 'text,label\n"a,x\nb,y\n', "be a table with balanced quotes")
bad_file("broken JSON", "a.jsonl", BROKEN, "Got Expecting ':' delimiter in line 2 of a.jsonl")
bad_file("bottomless JSON", "a.jsonl", "[" * 200_000, "in line 1 of a.jsonl")
bad_file("endless number", "a.jsonl", '{"text": "a", "label": ' + "9" * 5000 + "}", "in line 1 of a.jsonl")
bad_file("JSON array", "a.json", '["a", "b"]', "hold a JSON object in each line. Got list in line 1")
bad_file("JSON without key", "a.jsonl", json_lines({"text": "a", "label": 1}, {"text": "b"}), "line 2 of a.jsonl")


@bad(InputError, "must exist. Got '")
def _missing_file(bench):
    bench.file("good.csv", CSV)
    ftlab.load_data(bench.folder / "godo.csv")


@bad(InputError, "file must be readable")
def _forbidden_file(bench):
    def forbidden(path):
        raise PermissionError(13, "Permission denied")

    path = bench.file("a.csv", CSV)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", forbidden)
        ftlab.load_data(path)


# Rows that cannot be learned from

NO_LABELS = json_lines(*[{"text": f"a {i}", "label": None} for i in range(10)])
NAN_LABEL = json_lines({"text": "a", "label": 0.5}, {"text": "b", "label": math.nan}, {"text": "c", "label": 1.5})
MIXED = json_lines({"text": "a", "label": 1}, {"text": None, "label": 0}, {"text": 3, "label": 1})
WORDS_AS_NUMBERS = "text,label\na,1.5\nb,much\n"

bad_file("no text column", "a.csv", "body,label\na,x\n", "have a column 'text' or 'sentence'. Got columns body, label")
bad_file("no label column", "a.csv", "text,verdict\na,x\n", "have a column 'label'. Got columns text, verdict")
bad_file("unknown column asked for", "a.csv", CSV, "have a column 'verdict'", label="verdict")
bad_file("empty text", "a.csv", "text,label\na,x\n,y\n", "text of a.csv must not be empty. Got '' in row 2")
bad_file("white text", "a.csv", 'text,label\na,x\n" ",y\n', "must not be empty. Got ' ' in row 2")
bad_file("mixed texts", "a.jsonl", MIXED, "text of a.jsonl must not be empty. Got None in rows 2, 3")
bad_file("no label in any row", "a.jsonl", NO_LABELS, "Got None in rows 1, 2, 3 (and 7 more)")
bad_file("empty label", "a.csv", CSV + "a film,\n", "label of a.csv must be there in every row. Got '' in row 21")
bad_file("NaN label", "a.jsonl", NAN_LABEL, "be there in every row. Got nan in row 2")
bad_file("NaN in a regression", "a.jsonl", NAN_LABEL, "Got nan in row 2", task="regression")
bad_file("text in a regression", "a.csv", WORDS_AS_NUMBERS, "be a finite number. Got 'much'", task="regression")
bad_file("inf in a regression", "a.csv", "text,label\na,1.5\nb,inf\n", "be a finite number", task="regression")
bad_file("one number", "a.csv", CSV.replace("yes", "1").replace("no", "1"), "must differ", task="regression")
bad_file("one class", "a.csv", CSV.replace("yes", "no"), "be of two classes at least. Got only 'no'")
bad_file("too few rows to split", "a.csv", "text,label\na,x\nb,y\n", "have at least 10 rows to be split. Got 2")
bad_file("huge number", "a.jsonl", json_lines({"text": "a", "label": 10**400}), "be a finite number", task="regression")


@bad(InputError, "labels of test of d must be known from training. Got 'maybe' in row 2. The known labels are no, yes")
def _unknown_label_in_test(bench):
    bench.file("d/train.csv", CSV)
    bench.file("d/test.csv", "text,label\nfine,yes\nso so,maybe\n")
    ftlab.load_data(bench.folder / "d")


@bad(InputError, "labels of test of d must be known from training. Got 'old' in row 1")
def _unknown_label_among_several(bench):
    bench.file("d/train.csv", "text,label\na,new|red\nb,red\n")
    bench.file("d/test.csv", "text,label\nc,new|old\n")
    ftlab.load_data(bench.folder / "d")


@bad(InputError, "folder must hold a train file. Got test.csv in")
def _folder_without_train(bench):
    bench.file("d/test.csv", CSV)
    ftlab.load_data(bench.folder / "d")


@bad(InputError, "split 'train' must come from one file. Got train.csv and train.jsonl")
def _two_train_files(bench):
    bench.file("d/train.csv", CSV)
    bench.file("d/train.jsonl", json_lines({"text": "a", "label": "yes"}))
    ftlab.load_data(bench.folder / "d")


@bad(InputError, "the data given must have a split 'train'. Got test")
def _no_train_split(bench):
    ftlab.load_data(labelled(["yes", "no"], ("test",)))


@bad(InputError, "label of train of the data given must be there in every row. Got None in rows 1")
def _withheld_labels_in_train(bench):
    ftlab.load_data(bench.data | {"train": bench.data["train"].map(lambda row: row | {"label": -1})})


@bad(InputError, "The embedded sets are reviews, tricky_reviews and digits; a hub id needs a network")
def _unknown_embedded_name(bench):
    ftlab.load_data("revues")


@bad(InputError, "a hub id that can be reached. Got 'stanfordnlp/sst2'")
def _hub_id_without_network(bench):
    ftlab.load_data("stanfordnlp/sst2")


@bad(InputError, "a hub id that can be reached. Got 'text,label")
def _rows_in_place_of_a_file(bench):
    ftlab.load_data(CSV)


@bad(ArgumentError, "be a name, a path or a DatasetDict. Got 7")
def _data_that_are_a_number(bench):
    bench.finetune(7)


@bad(ArgumentError, "be a name, a path or a DatasetDict. Got ['a film']")
def _data_that_are_a_list(bench):
    bench.finetune(["a film"])


@bad(ArgumentError, "data must be a DatasetDict with a train split. Got list")
def _model_for_a_list(bench):
    ftlab.load_model(bench.bert, ["a film"])


@bad(ArgumentError, "task must be one of 'sentiment', 'topic', 'phenomenon'. Got 'mood'")
def _wrong_task_of_reviews(bench):
    ftlab.load_data("reviews", task="mood")


@bad(ArgumentError, "task must be one of 'classification', 'multilabel', 'regression'. Got 'ranking'")
def _wrong_task(bench):
    ftlab.load_data(bench.file("a.csv", CSV), task="ranking")


# Invalid arguments

LR = "lr must be a number greater than 0. Got "
bad_argument("lr 0", LR + "0", lr=0)
bad_argument("lr below 0", LR + "-0.001", lr=-1e-3)
bad_argument("lr NaN", LR + "nan", lr=math.nan)
bad_argument("lr inf", LR + "inf", lr=math.inf)
bad_argument("lr a string", LR + "'5e-5'", lr="5e-5")
bad_argument("lr true", LR + "True", lr=True)
bad_argument("epochs 0", "epochs must be a whole number of at least 1. Got 0", epochs=0)
bad_argument("epochs 1.5", "epochs must be a whole number of at least 1. Got 1.5", epochs=1.5)
bad_argument("batch_size 0", "batch_size must be a whole number of at least 1. Got 0", batch_size=0)
bad_argument("accumulate 5 of 4", "accumulate must be at most batch_size, 4. Got 5", batch_size=4, accumulate=5)
bad_argument("max_length 2", "max_length must be a whole number of at least 4. Got 2", max_length=2)
bad_argument("seed below 0", "seed must be a whole number of at least 0. Got -5", seed=-5)
bad_argument("three seeds", "seed must be one whole number or two. Got (1, 2, 3)", seed=(1, 2, 3))
bad_argument(
    "unknown engine", "engine must be one of 'auto', 'reference', 'fast', 'fast-fp32'. Got 'warp'", engine="warp"
)
bad_argument("unknown device", "device must be one of 'auto', 'cpu', 'cuda', 'mps'. Got 'tpu'", device="tpu")
bad_argument("unknown optimizer", "optimizer must be one of 'adamw', 'sgd', 'signsgd', ", optimizer="adam")
bad_argument("loss a string", "loss must be a function. Got 'focal'", loss="focal")
bad_argument("step a string", "step must be a function. Got 'sam'", step="sam")
bad_argument("save_every 0", "save_every must be a whole number of at least 1. Got 0", save_every=0, output="new")
bad_argument("save_every without output", "save_every must come with output", save_every=5)
bad_argument("resume without output", "resume must come with output", resume=True)
bad_argument("overwrite without output", "overwrite must come with output", overwrite=True)
bad_argument("overwrite with resume", "not be asked for together", output="new", overwrite=True, resume=True)


@bad(ArgumentError, "device must be on this machine (cpu). Got 'cuda'")
def _device_that_is_not_there(bench):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        patch.setattr(torch.backends.mps, "is_available", lambda: False)
        bench.finetune(device="cuda")


# Recipes

PLAIN = "must be a plain value"
bad_argument("unknown rule", "rule must be one that ftlab has. Got 'ClipNrom'", recipe=["ClipNrom(1.0)"])
bad_argument("rule without arguments", "be a rule's name with its arguments", recipe=["ClipNorm"])
bad_argument("half a rule", "be a rule's name with its arguments", recipe=["ClipNorm(1.0"])
bad_argument("code for a rule", "be a rule's name", recipe=["__import__('os').system('touch PWNED')"])
bad_argument("code in a rule", PLAIN, recipe=["ClipNorm(__import__('os').system('touch PWNED'))"])
bad_argument("sum in a rule", f"argument of ClipNorm {PLAIN}", recipe=["ClipNorm(1 + 1)"])
bad_argument("stars in a rule", PLAIN, recipe=["ClipNorm(**{'max_norm': 1})"])
bad_argument("unknown argument", "arguments of ClipNorm must fit the rule", recipe=["ClipNorm(norm=1.0)"])
bad_argument("missing argument", "arguments of Decay must fit the rule", recipe=["Decay()"])
bad_argument("bad value", "max_norm must be a number greater than 0. Got -1", recipe=["ClipNorm(-1)"])
bad_argument("rule class", "hold rules only. Got the class ClipNorm", recipe=[ClipNorm])
bad_argument("number in a recipe", "hold rules only. Got 3", recipe=[3])
bad_argument("recipe a string", "recipe must be a list of rules. Got 'ClipNorm(1.0)'", recipe="ClipNorm(1.0)")
bad_argument("recipe a rule", "recipe must be a list of rules", recipe=ClipNorm(1.0))
bad_argument("pattern of nothing", "pattern '*.layer.99.*' must match", recipe=[Reinit(0.1, pattern="*.layer.99.*")])


# Models


@bad(InputError, "name must be a model that can be found. Got 'maxilm'")
def _unknown_model(bench):
    ftlab.finetune("maxilm", bench.data)


@bad(InputError, "name must be a folder that exists, or a hub id. Got './nowhere'")
def _missing_model_folder(bench):
    ftlab.finetune("./nowhere", bench.data)


@bad(ArgumentError, "name must be a name or a path. Got 7")
def _model_that_is_a_number(bench):
    ftlab.finetune(7, bench.data)


@bad(InputError, "folder must hold config.json")
def _model_without_config(bench):
    folder = bench.model_folder()
    (folder / "config.json").unlink()
    ftlab.finetune(folder, bench.data)


@bad(InputError, "hold model.safetensors. Got no weights in")
def _model_without_weights(bench):
    folder = bench.model_folder()
    (folder / "model.safetensors").unlink()
    ftlab.finetune(folder, bench.data)


@bad(InputError, "hold model.safetensors. Got pickled weights only in")
def _model_with_pickled_weights(bench):
    folder = bench.model_folder()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    ftlab.finetune(folder, bench.data)


@bad(InputError, "model folder must be one that transformers can open")
def _model_with_truncated_weights(bench):
    weights = bench.model_folder() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    ftlab.finetune(weights.parent, bench.data)


@bad(InputError, "model folder must be one that transformers can open")
def _model_with_broken_config(bench):
    folder = bench.model_folder()
    (folder / "config.json").write_text("{")
    ftlab.finetune(folder, bench.data)


@bad(InputError, "must be those of the config")
def _model_of_another_architecture(bench):
    config = bench.model_folder() / "config.json"
    other = {"model_type": "distilbert", "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2}
    config.write_text(json.dumps(json.loads(config.read_text()) | other))
    ftlab.finetune(config.parent, bench.data)


@bad(InputError, "model must come with its tokenizer")
def _model_without_tokenizer(bench):
    folder = bench.model_folder()
    for path in folder.glob("*token*"):
        path.unlink()
    ftlab.finetune(folder, bench.data)


@bad(InputError, "tokenizer must have at most")
def _tokenizer_larger_than_the_embedding(bench):
    folder = bench.model_folder()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["zeugma", "syzygy"])
    tokenizer.save_pretrained(folder)
    ftlab.finetune(folder, bench.data)


@bad(InputError, "must be those of the config")
def _model_of_another_width(bench):
    config = bench.model_folder() / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"intermediate_size": 128}))
    ftlab.finetune(config.parent, bench.data)


@bad(InputError, "model's labels must be no, yes. Got a head for blue, red")
def _head_for_two_other_labels(bench):
    coloured = ftlab.load_model(bench.bert, ftlab.load_data(labelled(["red", "blue"])))
    folder = bench.model_folder()
    coloured.net.save_pretrained(folder)
    ftlab.finetune(folder, bench.data)


@bad(InputError, "model's labels must be no, yes. Got a head for blue, green, red")
def _head_for_other_labels(bench):
    coloured = ftlab.load_model(bench.bert, ftlab.load_data(labelled(["red", "green", "blue"])))
    folder = bench.model_folder()
    coloured.net.save_pretrained(folder)
    ftlab.finetune(folder, bench.data)


@bad(ArgumentError, "model must be made for Task(kind='classification', names=('blue', 'red')")
def _model_made_for_other_labels(bench):
    bench.finetune(labelled(["red", "blue"]))


@bad(InputError, "without data must have a trained head")
def _model_without_head_and_data(bench):
    ftlab.load_model(bench.bert)


# Outputs


@bad(InputError, "output must be a folder. Got the file")
def _output_that_is_a_file(bench):
    bench.finetune(output=bench.file("taken", "a letter"))


@bad(InputError, "output must be a folder that can be written")
def _output_below_a_file(bench):
    bench.finetune(output=bench.file("taken", "a letter") / "run")


@bad(InputError, "output must be empty or hold a run. Got other files in")
def _output_that_holds_other_files(bench):
    bench.finetune(output=bench.file("taken/letter.txt", "a letter").parent, overwrite=True)


@bad(InputError, "output must not hold another run")
def _output_that_holds_another_run(bench):
    bench.finetune(output=bench.file("taken/run.json", "{}").parent)


@bad(InputError, "run.json must be whole")
def _resume_of_what_is_no_run(bench):
    bench.finetune(output=bench.file("taken/run.json", "{}").parent, resume=True)


@bad(InputError, "run must be unfinished. Got one that finished all 3 steps")
def _resume_of_a_finished_run(bench):
    run = {"status": "finished", "steps": 3, "arguments": {}, "data_fingerprint": ""}
    bench.finetune(output=bench.file("taken/run.json", json.dumps(run)).parent, resume=True)


@bad(InputError, "arguments must be those of the run. Got lr=5e-05 (it began with 0.1)")
def _resume_with_another_lr(bench):
    arguments = {
        "model": bench.model.name,
        **ftlab.training.settings.Settings(recipe=(ftlab.WarmupLinear(),)).to_dict(),
    }
    run = {"status": "running", "steps": 3, "arguments": arguments | {"lr": 0.1}, "data_fingerprint": ""}
    bench.finetune(output=bench.file("taken/run.json", json.dumps(run)).parent, resume=True)


@bad(InputError, "output must be a folder that can be written. Got '/proc/ftlab/run'")
def _output_that_cannot_be_written(bench):
    bench.finetune(output="/proc/ftlab/run")


@bad(InputError, "output must be a folder that can be written")
def _output_with_too_long_a_name(bench):
    bench.finetune(output="x" * 5000)


# Use of a model


@bad(ArgumentError, "inputs must be a list. Got 'a good film'")
def _predict_on_a_bare_string(bench):
    ftlab.predict(bench.model, "a good film")


@bad(ArgumentError, "inputs must be texts that are not empty. Got ' ' at position 2")
def _predict_on_an_empty_text(bench):
    ftlab.predict(bench.model, ["a good film", " "])


@bad(ArgumentError, "max_length must be a whole number of at least 1. Got 0")
def _predict_with_no_length(bench):
    ftlab.predict(bench.model, ["a good film"], max_length=0)


@bad(ArgumentError, "labels must be no, yes. Got blue, red")
def _evaluate_on_other_labels(bench):
    ftlab.evaluate(bench.model, ftlab.load_data(labelled(["red", "blue"]))["test"])


@pytest.mark.parametrize(("kind", "message", "act"), BAD)
def test_is_refused(bench, kind, message, act):
    with pytest.raises(InputError) as caught:
        act(bench)
    line = str(caught.value)
    assert type(caught.value) is kind, line
    assert message in line, line
    assert in_grammar(line), line
    assert not (bench.folder / "PWNED").exists()
    assert not list(bench.folder.glob("**/history.jsonl"))


def test_there_are_many_bad_inputs():
    assert len(BAD) >= 45


@pytest.mark.parametrize(
    "line",
    [
        "something went wrong",
        "load_data: file must exist.",
        "load_data: file must exist. Got 'a.csv'.",
        "load_data: file must exist.\nGot 'a.csv'. Check the spelling.",
    ],
)
def test_grammar_is_not_empty(line):
    assert not in_grammar(line)


# The command line says the same in one line, with exit code 2 for invalid arguments and 1 for the rest.

COMMANDS = [
    (2, "lr must be a number greater than 0", ["finetune", "--lr", "0"]),
    (2, "lr must be a number greater than 0. Got nan", ["finetune", "--lr", "nan"]),
    (2, "epochs must be a whole number", ["finetune", "--epochs", "0"]),
    (2, "seed must be a whole number", ["finetune", "--seed", "-1"]),
    (2, "rule must be one that ftlab has", ["finetune", "--rule", "Clip(1.0)"]),
    (2, "be a plain value", ["finetune", "--rule", "ClipNorm(__import__('os').system('touch PWNED'))"]),
    (2, "be a rule's name", ["explain", "--rule", "__import__('os').system('touch PWNED')"]),
    (2, "task must be one of", ["finetune", "--data", "reviews", "--task", "mood"]),
    (2, "resume must come with output", ["finetune", "--data", "good", "--model", "bert", "--resume"]),
    (2, "split must be one of train, test", ["evaluate", "tuned", "--data", "good", "--split", "dev"]),
    (2, "inputs must be texts that are not empty", ["predict", "tuned", " "]),
    (1, "file must exist", ["finetune", "--data", "missing.csv"]),
    (1, "be UTF-8 text", ["finetune", "--data", "latin.csv"]),
    (1, "have a column 'body'", ["finetune", "--data", "good", "--text", "body"]),
    (1, "be a model that can be found", ["finetune", "--data", "good", "--model", "maxilm"]),
    (1, "output must be empty or hold a run", ["finetune", "--data", "good", "--output", "good"]),
    (1, "output must be a folder", ["finetune", "--data", "good", "--output", "latin.csv"]),
    (1, "hold config.json", ["predict", "good", "a good film"]),
    (1, "be known from training", ["evaluate", "tuned", "--data", "other.csv"]),
]


@pytest.mark.parametrize(("code", "message", "command"), COMMANDS, ids=[" ".join(one[2]) for one in COMMANDS])
def test_command_line_refuses_in_one_line(bench, capsys, code, message, command):
    bench.file("latin.csv", LATIN)
    bench.file("other.csv", "text,label\na,red\nb,blue\n")
    bench.file("good/train.csv", CSV)
    bench.file("good/test.csv", CSV)
    tiny_bert(bench.folder / "bert")
    bench.model.net.save_pretrained(bench.folder / "tuned")
    bench.model.processor.save_pretrained(bench.folder / "tuned")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(command)
    error = capsys.readouterr().err
    assert stop.value.code == code
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert in_grammar(error.removeprefix("error: ").strip()), error
    assert message in error
    assert not Path("PWNED").exists()


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("No such option: --learning-rate", ["finetune", "--learning-rate", "1"]),
        ("Invalid value for '--epochs'", ["finetune", "--epochs", "1.5"]),
        ("No such command 'tune'", ["tune"]),
        ("Missing argument", ["predict", "folder"]),
    ],
)
def test_wrong_usage_says_how_to_use_it(bench, capsys, message, command):
    with pytest.raises(SystemExit) as stop:
        main(command)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.startswith("Usage: ")
    assert message in error
    assert "Traceback" not in error
