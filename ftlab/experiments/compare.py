"""Compare strategies: every arm is fine-tuned with the same seeds and compared with the first arm, seed by seed."""

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
from ftlab.evaluation.metrics import MAIN_METRIC
from ftlab.experiments.paired import Paired, holm
from ftlab.models.load import Pretrained, load_model
from ftlab.recipes.parse import check_recipe
from ftlab.training.finetune import finetune
from ftlab.training.settings import Settings

RESERVED = ("seed", "save_every")
"""Arguments of finetune that an arm may not have: the comparison sets the seed and saves no checkpoints."""


@dataclass(frozen=True)
class Comparison:
    """The metric of each arm with each seed."""

    values: dict[str, tuple[float, ...]]
    """By arm, one value per seed; NaN where a run diverged or the metric is undefined."""
    metric: str
    split: str
    n: int
    """The number of rows that each run was evaluated on."""

    @property
    def reference(self) -> str:
        """The first arm, with which the others are compared."""
        return next(iter(self.values))

    @property
    def compared(self) -> list[str]:
        """The arms that are compared with the reference: those in which every run has a value."""
        return [arm for arm, values in self.values.items() if arm != self.reference and all(map(math.isfinite, values))]

    def against(self, arm: str) -> Paired:
        """Return the paired differences between an arm and the reference."""
        pairs = zip(self.values[arm], self.values[self.reference], strict=True)
        return Paired.of([value - reference for value, reference in pairs])

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return a row for each arm: name, mean, difference with interval, p-value after Holm, verdict."""
        paired = {arm: self.against(arm) for arm in self.compared}
        adjusted = dict(zip(paired, holm([result.p for result in paired.values()]), strict=True))
        rows = []
        for arm, values in self.values.items():
            mean = f"{sum(values) / len(values):.3f}"
            if arm == self.reference:
                rows.append((arm, mean, "", "", ""))
            elif arm in paired:
                result, p = paired[arm], adjusted[arm]
                mde = f" (MDE {result.mde(0.05 / len(paired)):.3f})" if result.spread else ""
                difference = f"{result.mean:+.3f} ({result.low:+.3f} to {result.high:+.3f})"
                rows.append((arm, mean, difference, f"{p:.3f}", result.verdict if p < 0.05 else f"undecided{mde}"))
            else:
                failed = sum(map(math.isnan, values))
                rows.append((arm, "", f"{failed} of {len(values)} runs diverged or had no {self.metric}", "", "failed"))
        return rows

    @property
    def header(self) -> tuple[str, str, str, str, str]:
        """The titles of the columns."""
        return ("", self.metric, f"against {self.reference}", "p (Holm)", "verdict")

    @property
    def notes(self) -> str:
        """An explanation of the numbers in the table."""
        seeds, count = len(self.values[self.reference]), len(self.compared)
        lines = [f"{seeds} paired seeds, {self.n} {self.split} rows; each interval is a 95 % interval over seeds."]
        if count > 1:
            lines.append(f"p-values and verdicts are adjusted for {count} comparisons (Holm); the intervals are not.")
        if any("MDE" in row[4] for row in self.rows()):
            lines.append("MDE: minimum detectable effect, the smallest true difference found with a power of 80 %.")
        return "\n".join(lines)

    def __str__(self) -> str:
        from ftlab.display.table import as_text

        return f"{as_text([self.header, *self.rows()])}\n\n{self.notes}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from ftlab.display.table import as_html

        return f"{as_html(self.header, self.rows())}<p>{escape(self.notes)}</p>"

    def figure(self) -> Any:
        """Return a figure of the differences between each arm and the reference, with their means and intervals."""
        from ftlab.display.plots import differences

        paired = {arm: self.against(arm) for arm in self.compared}
        return differences(paired, f"{self.metric}, difference to {self.reference}")


def compare(
    arms: Mapping[str, Any] | str | Path,
    data: Any = "reviews",
    model: Any = "minilm",
    *,
    seeds: int = 10,
    **shared: Any,
) -> Comparison:
    """Fine-tune every arm with the same seeds and compare each arm with the first.

    Args:
        arms: By name, a recipe or a dictionary of arguments of :func:`ftlab.finetune`; or the path of a TOML file with
            one table per arm. The first arm is the reference.
        data: The result of :func:`ftlab.load_data`, or a name to load.
        model: The result of :func:`ftlab.load_model`, or a name to load.
        seeds: The number of seeds, at least 2; they are 0, 1, 2 ... With the same seed, arms share the new head, the
            order of the data and the dropout.
        **shared: Arguments of :func:`ftlab.finetune` for every arm.

    Returns:
        The values, and for each arm the differences with their interval, p-value (Holm) and verdict. An arm with a
        diverged run is not compared, and the table says so.

    Raises:
        ArgumentError: If an arm or an argument is invalid. InputError: If file, model or data cannot be used.
        DivergenceError: If a run of the first arm diverges.

    Example:
        >>> from ftlab.data.load import load_data
        >>> data = load_data("reviews")
        >>> for split in data:
        ...     data[split] = data[split].select(range(16))
        >>> comparison = compare({"plain": [], "clipped": ["ClipNorm(1.0)"]}, data, seeds=2, epochs=1)
        >>> list(comparison.values), comparison.n
        (['plain', 'clipped'], 16)
    """
    check_int(
        "compare", "seeds", seeds, "10 detect a difference of one standard deviation with a power of 80 %", at_least=2
    )
    arms = _read_arms(arms) if isinstance(arms, str | Path) else arms
    arguments = {name: _arguments(name, arm, shared) for name, arm in arms.items()}
    if len(arguments) < 2:
        raise argument_error("compare", "arms", "be at least two", f"{len(arguments)}", "The first is the reference")
    data = as_dataset_dict(data)
    split = evaluation_split("compare", data)
    model = model if isinstance(model, Pretrained) else load_model(model, data)
    metric = MAIN_METRIC[task_of(data).kind]
    values: dict[str, list[float]] = {name: [] for name in arguments}
    reference = next(iter(arguments))
    from ftlab.display.progress import count_runs

    bar = count_runs(seeds * len(arguments))
    try:
        for seed in range(seeds):
            for name in arguments:
                try:
                    values[name].append(finetuned_metric(model, data, metric, seed=seed, **arguments[name]))
                except DivergenceError:
                    if name == reference:
                        raise
                    values[name].append(math.nan)
                bar.update()
    finally:
        bar.close()
    return Comparison({name: tuple(numbers) for name, numbers in values.items()}, metric, split, len(data[split]))


def finetuned_metric(model: Pretrained, data: Any, metric: str, **arguments: Any) -> float:
    """Fine-tune and return the metric; a run in which the metric is undefined counts as diverged."""
    metrics = finetune(model, data, **{"progress": False, **arguments}).metrics
    assert metrics  # evaluation_split has checked that there is a split to evaluate on
    if math.isnan(metrics[metric]):
        got = f"{metrics.undefined.get(metric, 'NaN')} (seed {arguments['seed']})"
        raise DivergenceError(format_error("finetune", metric, "be a number", got, "Train longer, or with a lower lr"))
    return metrics[metric]


def evaluation_split(where: str, data: Any) -> str:
    """Return the split on which finetune evaluates the finished run: test, else validation.

    >>> evaluation_split("compare", {"train": [], "validation": []})
    'validation'
    """
    split = "test" if "test" in data else "validation"
    if split not in data:
        do = "Give a validation or test split"
        raise argument_error(where, "data", "have a split to evaluate on", f"only {', '.join(data)}", do)
    return split


def check_arguments(where: str, name: str, arguments: Mapping[str, Any], reserved: tuple[str, ...] = ()) -> None:
    """Refuse arguments that finetune does not accept or that are reserved, before any work.

    >>> check_arguments("compare", "arm 'plain'", {"epochs": 1, "progress": False})
    """
    reserved = (*RESERVED, *reserved)
    allowed = [setting.name for setting in dataclasses.fields(Settings) if setting.name not in reserved]
    for argument in arguments:
        if argument not in (*allowed, "progress"):
            do = f"Leave {argument} out"
            raise argument_error(where, name, f"hold only {', '.join(allowed)}", repr(argument), do)
    Settings(**{argument: value for argument, value in arguments.items() if argument != "progress"})


def _read_arms(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        do = "Write one table per arm: [clipped], then recipe = ['ClipNorm(1.0)']"
        raise input_error("compare", "arms", "be a readable TOML file", f"{path}: {error}", do) from error


def _arguments(name: str, arm: Any, shared: Mapping[str, Any]) -> dict[str, Any]:
    own = dict(arm) if isinstance(arm, Mapping) else {"recipe": arm}
    arguments = {"recipe": [], **shared, **own}
    arguments["recipe"] = check_recipe(arguments["recipe"])
    check_arguments("compare", f"arm {name!r}", arguments)
    return arguments
