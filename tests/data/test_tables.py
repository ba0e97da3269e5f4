"""Files as tables: harmless oddities are accepted, and mentioned."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from ftlab.data.load import fingerprint, load_data
from ftlab.data.tables import read_table
from tests.data.rows import ROWS, csv, rows_of


def test_a_plain_file_is_read_without_a_word(write, mentioned):
    assert sorted(rows_of(load_data(write("a.csv", csv())))) == sorted(ROWS)
    assert mentioned() == ""


@pytest.mark.parametrize(
    ("content", "mention"),
    [
        pytest.param(b"\xef\xbb\xbf" + csv().encode(), "begins with a byte order mark", id="byte order mark"),
        pytest.param(csv().replace("\n", "\r\n"), "", id="CRLF"),
        pytest.param(csv().replace("\n", "\r"), "", id="CR"),
        pytest.param(csv().rstrip("\n"), "", id="no last line end"),
        pytest.param("\n" + csv() + "\n \n", "3 blank lines", id="blank lines"),
        pytest.param(csv().replace(",", ";"), "separated by semicolons", id="semicolons"),
        pytest.param(csv(header=" text , label "), "", id="spaces in the header"),
        pytest.param(csv([(text, f" {label}\t") for text, label in ROWS]), "spaces around 20 labels", id="spaces"),
    ],
)
def test_harmless_oddities_change_nothing(write, mentioned, content, mention):
    assert sorted(rows_of(load_data(write("a.csv", content)))) == sorted(ROWS)
    assert mention in mentioned()
    assert bool(mention) == bool(mentioned())


def test_quotes_keep_commas_newlines_and_quotes(write):
    content = 'text,label\n"long, slow",no\n"two\nlines",yes\n"a ""gem""",yes\n'
    assert read_table(write("a.csv", content))["text"] == ["long, slow", "two\nlines", 'a "gem"']


def test_a_lone_quote_in_a_tab_separated_text_is_a_quote(write):
    content = 'text\tlabel\n"so he says\tno\na 6" pizza, hot\tyes\n"a ""gem"""\tyes\n'
    assert read_table(write("a.tsv", content))["text"] == ['"so he says', 'a 6" pizza, hot', 'a "gem"']


def test_a_very_long_text_is_kept(write):
    long = "word " * 60_000
    assert read_table(write("a.csv", f"text,label\n{long},x\n"))["text"] == [long]


def test_a_first_column_that_begins_like_a_zip_archive(write):
    assert read_table(write("a.csv", "PK,text,label\n1,a,x\n"))["PK"] == ["1"]


def test_json_lines_may_hold_any_line_separator_in_a_text(write):
    texts = ["one\u2028two", "three\x85four", "five\nsix"]
    lines = [json.dumps({"text": one, "label": "x"}, ensure_ascii=False) for one in texts]
    assert read_table(write("a.jsonl", "\r\n".join(lines)))["text"] == texts


def test_every_kind_of_file_gives_the_same(write, tmp_path):
    table = pyarrow.table({"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    write("a.csv", csv())
    write("a.tsv", csv().replace(",", "\t"))
    write("a.jsonl", "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS))
    prints = {fingerprint(load_data(tmp_path / f"a.{kind}")) for kind in ("csv", "tsv", "jsonl", "parquet")}
    assert len(prints) == 1
