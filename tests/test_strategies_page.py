"""The page of strategies is what the package says, and lists everything that a recipe, a loss or an optimizer can name."""

from pathlib import Path

from benchmarks.catalogue import LOSSES, OPTIMIZERS, entries, page
from ftlab.optimizers import NAMES
from ftlab.recipe import rules

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
        assert not line.startswith("|") or line.count("|") == 6, line
