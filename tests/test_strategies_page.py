"""The page of strategies is what the package says, and lists everything that a recipe, a loss or an optimizer can name."""

import re
from pathlib import Path

from benchmarks.catalogue import LOSSES, OPTIMIZERS, entries, page
from ftlab.recipes.catalogue import rules
from ftlab.training.optimizers import NAMES

PAGE = Path(__file__).parent.parent / "book/strategies.md"


def test_the_page_is_the_one_that_is_made():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m benchmarks.strategies --page"


def test_every_rule_optimizer_and_loss_stands_on_it_with_its_formula_and_source():
    found = entries()
    names = [entry.name for entry in found]
    assert {name.partition("(")[0] for name in names} >= {*rules(), *OPTIMIZERS.keys() & set(NAMES)}
    assert {repr(loss) for loss, _ in LOSSES} <= set(names)
    assert set(NAMES) - {"adamw"} <= set(OPTIMIZERS)
    for entry in found:
        assert entry.formula.strip("`$ "), entry.name
        assert entry.source, entry.name
    for line in page().splitlines():
        assert not line.startswith("|") or line.count("|") == 5, line


def test_each_strategy_has_its_own_source_and_words():
    found = {entry.name.partition("(")[0]: entry for entry in entries()}
    assert "Child-Tuning-D" in found["ChildTuningD"].source
    assert "Child-Tuning-F" in found["ChildTuningF"].source
    assert "magnitude criterion" in found["RemoveNeurons"].source
    assert "running mean" not in found["signsgd"].words
    assert "m_t" not in found["signsgd"].formula


def test_asterisks_are_shown_and_not_read_as_emphasis():
    text = page()
    assert r"\*.embeddings.\*" in text
    outside = "".join(re.sub(r"\$[^$]*\$", "", part) for part in re.split(r"`[^`]*`", text))
    assert re.findall(r"\S*(?<!\\)\*\S*", outside) == ["*Cost*", "θ*,"]
