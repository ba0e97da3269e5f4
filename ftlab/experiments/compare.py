"""Compare strategies: every arm is fine-tuned with the same seeds, and each is held against the first, pair by pair."""

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ftlab.data.load import as_dataset_dict, task_of
from ftlab.errors import DivergenceError, argument_error, check_int, format_error, input_error
from ftlab.experiments.paired import Paired, holm
from ftlab.models.load import Pretrained, load_model
from ftlab.recipes.parse import check_recipe
from ftlab.training.finetune import finetune
from ftlab.training.settings import Settings

METRIC = {"classification": "accuracy", "multilabel": "f1_micro", "regression": "pearson"}
"""The metric by which arms of a kind of task are compared."""
OURS = ("seed", "save_every")
"""Arguments of finetune that a comparison sets itself, or has no use for."""


@dataclass(frozen=True)
class Comparison:
    """What each arm reached with each seed."""

    values: dict[str, tuple[float, ...]]
    """By arm; NaN where a run diverged, or where the metric is undefined."""
    metric: str
    split: str
    n: int
    """Rows that every run was measured on."""

    @property
    def reference(self) -> str:
        """The first arm, against which the others are held."""
        return next(iter(self.values))

    @property
    def whole(self) -> list[str]:
        """The other arms of which every run gave a number."""
        return [arm for arm, values in self.values.items() if arm != self.reference and all(map(math.isfinite, values))]

    def against(self, arm: str) -> Paired:
        """Return the differences of an arm to the first, seed by seed."""
        return Paired.of(
            [one - other for one, other in zip(self.values[arm], self.values[self.reference], strict=True)]
        )

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return a row an arm: name, mean, difference with interval, p after Holm, verdict."""
        found = {arm: self.against(arm) for arm in self.whole}
        adjusted = dict(zip(found, holm([one.p for one in found.values()]), strict=True))
        lines = []
        for arm, values in self.values.items():
            mean = f"{sum(values) / len(values):.3f}"
            if arm == self.reference:
                lines.append((arm, mean, "", "", ""))
            elif arm in found:
                one, p = found[arm], adjusted[arm]
                seen = f"undecided (detects {one.mde(0.05 / len(found)):.3f})" if one.spread else "undecided"
                difference = f"{one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
                lines.append((arm, mean, difference, f"{p:.3f}", one.verdict if p < 0.05 else seen))
            else:
                lost = sum(map(math.isnan, values))
                lines.append((arm, "", f"{lost} of {len(values)} runs diverged or gave no {self.metric}", "", "failed"))
        return lines

    @property
    def head(self) -> tuple[str, str, str, str, str]:
        """The titles of the columns."""
        return ("", self.metric, f"against {self.reference}", "p (Holm)", "verdict")

    @property
    def notes(self) -> str:
        """What the numbers in the table are."""
        seeds = len(self.values[self.reference])
        said = [
            f"{seeds} paired seeds, {self.n} {self.split} rows; each interval is of 95 %, over seeds, for its arm alone."
        ]
        if len(self.whole) > 1:
            said.append(f"p and verdict allow for {len(self.whole)} comparisons at once.")
        if any("detects" in row[4] for row in self.rows()):
            said.append("Beside an undecided arm stands its minimum detectable effect, at a power of 80 %.")
        return "\n".join(said)

    def __str__(self) -> str:
        from ftlab.display.table import as_text

        return f"{as_text([self.head, *self.rows()])}\n\n{self.notes}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from ftlab.display.table import as_html

        return f"{as_html(self.head, self.rows())}<p>{escape(self.notes)}</p>"

    def figure(self) -> Any:
        """Return a figure of every arm's differences to the first, with their means and intervals."""
        from ftlab.display.plots import differences

        found = {arm: self.against(arm) for arm in self.whole}
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
        The values, and each arm's differences with interval, p-value after Holm, and verdict. An arm of which a run
        diverges is not compared, and the table says so.

    Raises:
        ArgumentError: If an arm or an argument is invalid. InputError: If file, model or data cannot be used.
        DivergenceError: If the first arm diverges, against which the others were to be held.

    Example:
        >>> from ftlab.data.load import load_data
        >>> data = load_data("reviews")
        >>> for split in data:
        ...     data[split] = data[split].select(range(16))
        >>> found = compare({"plain": [], "clipped": ["ClipNorm(1.0)"]}, data, seeds=2, epochs=1)
        >>> list(found.values), found.n
        (['plain', 'clipped'], 16)
    """
    check_int("compare", "seeds", seeds, "10 show a difference of one spread", at_least=2)
    given = _read(arms) if isinstance(arms, str | Path) else arms
    chosen = {name: _arguments(name, arm, shared) for name, arm in given.items()}
    if len(chosen) < 2:
        raise argument_error("compare", "arms", "be at least two", f"{len(chosen)}", "The first is the reference")
    data = as_dataset_dict(data)
    split = split_to_measure("compare", data)
    model = model if isinstance(model, Pretrained) else load_model(model, data)
    metric = METRIC[task_of(data).kind]
    values: dict[str, list[float]] = {name: [] for name in chosen}
    first = next(iter(chosen))
    from ftlab.display.progress import count_runs

    bar = count_runs(seeds * len(chosen))
    try:
        for seed in range(seeds):
            for name, arguments in chosen.items():
                try:
                    values[name].append(reach(model, data, metric, seed=seed, **arguments))
                except DivergenceError:
                    if name == first:
                        raise
                    values[name].append(math.nan)
                bar.update()
    finally:
        bar.close()
    return Comparison({name: tuple(one) for name, one in values.items()}, metric, split, len(data[split]))


def reach(model: Pretrained, data: Any, metric: str, **arguments: Any) -> float:
    """Fine-tune, and return the metric that was reached; a run that has none counts as one that diverged."""
    found = finetune(model, data, **{"progress": False, **arguments}).metrics
    value = found[metric] if found else math.nan
    if math.isnan(value):
        got = f"none with seed {arguments['seed']}: all answers are alike"
        raise DivergenceError(
            format_error("finetune", "model", f"reach some {metric}", got, "Train longer, or with a lower lr")
        )
    return value


def split_to_measure(where: str, data: Any) -> str:
    """Return the split on which finetune measures: test, else validation.

    >>> split_to_measure("compare", {"train": [], "validation": []})
    'validation'
    """
    split = "test" if "test" in data else "validation"
    if split not in data:
        do = "Give a validation or test split"
        raise argument_error(where, "data", "have a split to measure on", f"only {', '.join(data)}", do)
    return split


def check_arguments(where: str, name: str, arguments: Mapping[str, Any], ours: tuple[str, ...] = ()) -> None:
    """Refuse arguments that finetune does not have or cannot mean, or that are set here, before any work.

    >>> check_arguments("compare", "arm 'plain'", {"epochs": 1, "progress": False})
    """
    known = [one.name for one in dataclasses.fields(Settings) if one.name not in (*OURS, *ours)]
    for word in arguments:
        if word not in (*known, "progress"):
            raise argument_error(where, name, f"hold only {', '.join(known)}", repr(word), f"Leave {word} out")
    Settings(**{word: value for word, value in arguments.items() if word != "progress"})


def _read(path: str | Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        do = "Write a table an arm: [clipped], then recipe = ['ClipNorm(1.0)']"
        raise input_error("compare", "arms", "be a TOML file that can be read", f"{path}: {error}", do) from error
    return found


def _arguments(name: str, arm: Any, shared: Mapping[str, Any]) -> dict[str, Any]:
    own = dict(arm) if isinstance(arm, Mapping) else {"recipe": arm}
    arguments = {"recipe": [], **shared, **own}
    arguments["recipe"] = check_recipe(arguments["recipe"])
    check_arguments("compare", f"arm {name!r}", arguments)
    return arguments
