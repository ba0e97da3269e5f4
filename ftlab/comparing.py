"""Compare strategies: every arm is fine-tuned with the same seeds, and each is held against the first, pair by pair."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ftlab.data import checked, task_of
from ftlab.errors import check_whole, misused, refused
from ftlab.models import Pretrained, load_model
from ftlab.paired import Paired, holm
from ftlab.procedure import finetune
from ftlab.recipe import check_recipe

METRIC = {"classification": "accuracy", "multilabel": "f1_micro", "regression": "pearson"}
"""The metric by which arms of a kind of task are compared."""


@dataclass(frozen=True)
class Comparison:
    """What each arm reached with each seed."""

    values: dict[str, tuple[float, ...]]
    metric: str
    split: str
    n: int
    """Rows that every run was measured on."""

    @property
    def reference(self) -> str:
        """The first arm, against which the others are held."""
        return next(iter(self.values))

    def against(self, arm: str) -> Paired:
        """Return the differences of an arm to the first, seed by seed."""
        return Paired.of(
            [one - other for one, other in zip(self.values[arm], self.values[self.reference], strict=True)]
        )

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return a row an arm: name, mean, difference with interval, p after Holm, verdict."""
        others = [arm for arm in self.values if arm != self.reference]
        found = {arm: self.against(arm) for arm in others}
        adjusted = dict(zip(others, holm([one.p for one in found.values()]), strict=True))
        lines = []
        for arm, values in self.values.items():
            mean = f"{sum(values) / len(values):.3f}"
            if arm == self.reference:
                lines.append((arm, mean, "", "", ""))
                continue
            one, p = found[arm], adjusted[arm]
            verdict = one.verdict if p < 0.05 else f"undecided (sees {one.detectable:.3f})"
            lines.append((arm, mean, f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})", f"{p:.3f}", verdict))
        return lines

    @property
    def head(self) -> tuple[str, str, str, str, str]:
        """The titles of the columns."""
        return ("", self.metric, f"against {self.reference}", "p (Holm)", "verdict")

    def __str__(self) -> str:
        table = [self.head, *self.rows()]
        widths = [max(len(row[place]) for row in table) for place in range(len(self.head))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        seeds = len(self.values[self.reference])
        return "\n".join([*lines, "", f"{seeds} paired seeds, {self.n} {self.split} rows; intervals of 95 %"])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows())
        return f"<table><tr>{head}</tr>{body}</table>"

    def figure(self) -> Any:
        """Return a figure of every arm's differences to the first, with their means and intervals."""
        from ftlab.plots import differences

        found = {arm: self.against(arm) for arm in self.values if arm != self.reference}
        return differences(found, f"{self.metric}, difference to {self.reference}")


def compare(
    arms: Mapping[str, Any] | str | Path,
    data: Any = "reviews",
    model: Any = "minilm",
    *,
    seeds: int = 10,
    **shared: Any,
) -> Comparison:
    """Fine-tune every arm with the same seeds and hold each against the first.

    Args:
        arms: By name, a recipe or a dictionary of arguments of :func:`ftlab.finetune`; or the path of a TOML file with
            a table an arm. The first is the reference.
        data: What :func:`ftlab.load_data` gives, or a name for it.
        model: What :func:`ftlab.load_model` gives, or a name for it.
        seeds: How many, at least 2: 0, 1, 2 ... Arms with one seed share head, order of the data, and dropout.
        **shared: Arguments of :func:`ftlab.finetune` that every arm has.

    Returns:
        The values, and each arm's differences with interval, p-value after Holm, and verdict.

    Raises:
        Misused: If an arm or an argument cannot be meant. Refused: If file, model or data cannot be used.

    Example:
        >>> from ftlab.data import load_data
        >>> data = load_data("reviews")
        >>> for split in data:
        ...     data[split] = data[split].select(range(16))
        >>> found = compare({"plain": [], "clipped": ["ClipNorm(1.0)"]}, data, seeds=2, epochs=1)
        >>> list(found.values), found.n
        (['plain', 'clipped'], 16)
    """
    check_whole("compare", "seeds", seeds, "10 show a difference of one spread", at_least=2)
    given = _read(arms) if isinstance(arms, str | Path) else arms
    chosen = {name: _arguments(name, arm) for name, arm in given.items()}
    if len(chosen) < 2:
        raise misused("compare", "arms", "be at least two", f"{len(chosen)}", "The first is the reference")
    data = checked(data)
    model = model if isinstance(model, Pretrained) else load_model(model, data)
    metric = METRIC[task_of(data).kind]
    values: dict[str, list[float]] = {name: [] for name in chosen}
    measured: Any = None
    for seed in range(seeds):
        for name, arguments in chosen.items():
            measured = finetune(model, data, **{"progress": False, **shared, **arguments, "seed": seed}).metrics
            if measured is None:
                do = "Give a validation or test split"
                raise misused("compare", "data", "have a split to measure on", "only train", do)
            values[name].append(measured[metric])
    return Comparison({name: tuple(one) for name, one in values.items()}, metric, measured.split, measured.n)


def _read(path: str | Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        do = "Write a table an arm: [clipped], then recipe = ['ClipNorm(1.0)']"
        raise refused("compare", "arms", "be a TOML file that can be read", f"{path}: {error}", do) from error
    return found


def _arguments(name: str, arm: Any) -> dict[str, Any]:
    arguments = dict(arm) if isinstance(arm, Mapping) else {"recipe": arm}
    for word in ("seed", "output", "resume"):
        if word in arguments:
            raise misused("compare", f"arm {name!r}", f"leave {word} out", repr(arguments[word]), "compare sets it")
    return arguments | {"recipe": check_recipe(arguments.get("recipe", []))}
