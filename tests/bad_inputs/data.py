"""Files, rows and labels that ``load_data`` refuses."""

import math
from pathlib import Path

import pytest

import ftlab
from ftlab import ArgumentError, InputError
from tests.bad_inputs.bench import CSV, bad, bad_file, json_lines, labelled

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


@bad(ArgumentError, "task must be one of 'classification', 'multilabel', 'regression', 'generation'. Got 'ranking'")
def _wrong_task(bench):
    ftlab.load_data(bench.file("a.csv", CSV), task="ranking")
