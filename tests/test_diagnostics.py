"""What ``ftlab doctor`` prints, for people and for machines."""

import json

import pytest

from ftlab.data.load import REVIEWS
from ftlab.diagnostics import doctor, facts


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr("ftlab.diagnostics.reachable", lambda: False)


def test_every_line_has_a_name_and_a_value_in_two_columns():
    lines = doctor().splitlines()
    wide = max(len(line.split("  ")[0]) for line in lines)
    assert all(line[wide : wide + 2] == "  " and line[wide + 2] != " " for line in lines)
    names = [line[:wide].strip() for line in lines]
    assert names[:5] == ["device", "engine", "memory", "threads", "versions"]
    assert {f"data {name}" for name in REVIEWS} <= set(names)


def test_what_is_embedded_is_counted_and_nothing_is_empty():
    text = doctor()
    assert "not reachable; everything embedded works without it" in text
    assert "train 0" not in text
    assert "  0 pairs" not in text
    assert "  0 checks" not in text


def test_the_facts_are_json_with_the_versions_that_the_text_prints():
    found = json.loads(facts())
    assert found["engine"] in doctor()
    assert all(f"{name} {number}" in doctor() for name, number in found["versions"].items())
