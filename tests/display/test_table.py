"""One renderer draws every table, as text and as HTML."""

import pytest

from ftlab.display.table import as_html, as_text

ROWS = [("metric", "value", ""), ("accuracy", "0.5", "0.4 to 0.6"), ("F1", "undefined", "")]


def test_a_column_is_as_wide_as_its_longest_cell():
    assert as_text(ROWS).splitlines() == [
        "metric    value",
        "accuracy  0.5        0.4 to 0.6",
        "F1        undefined",
    ]


def test_a_column_may_be_right_aligned_or_have_a_fixed_width_that_a_cell_may_exceed():
    assert as_text(ROWS, ("<", ">7", "<")).splitlines() == [
        "metric      value",
        "accuracy      0.5  0.4 to 0.6",
        "F1        undefined",
    ]
    assert as_text([("a", 1), ("b", 23)], "<>") == "a   1\nb  23"


def test_no_row_gives_no_text():
    assert as_text([]) == ""


def test_html_escapes_titles_and_cells():
    text = as_html(["<a>"], [[1], ["x & y"]])
    assert "<th>&lt;a&gt;</th>" in text
    assert "<tr><td>1</td></tr><tr><td>x &amp; y</td></tr>" in text


@pytest.mark.parametrize("rows", [[], [("a",)]])
def test_html_is_one_table_with_a_header(rows):
    text = as_html(["title"], rows)
    assert text.startswith("<table><thead><tr><th>title</th></tr></thead><tbody>")
    assert text.count("<tr>") == 1 + len(rows)
