"""Try a rule: does it pass the conformance checks, and does it change the result of fine-tuning?"""

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ftlab.data.load import as_dataset_dict, task_of
from ftlab.errors import DivergenceError, check_int, check_number
from ftlab.evaluation.metrics import MAIN_METRIC
from ftlab.experiments.compare import check_arguments, evaluation_split, finetuned_metric
from ftlab.experiments.conformance import examine
from ftlab.experiments.paired import Paired
from ftlab.models.load import Pretrained, load_model
from ftlab.recipes.parse import check_recipe, complete
from ftlab.rule import Rule, Schedule

MIN_PAIRS, MAX_PAIRS = 3, 30
"""Bounds on the number of pairs when ``minutes`` decides it."""


@dataclass(frozen=True)
class Trial:
    """The result of a trial."""

    rule: str
    failed_checks: tuple[str, ...] = ()
    """The conformance checks that the rule fails, one sentence each; if there are any, nothing was trained."""
    diverged: str = ""
    """The error with which a run with the rule diverged, which ended the trial."""
    note: str = ""
    """The default schedule that only the arm without the rule has, if there is one."""
    metric: str = ""
    split: str = ""
    n: int = 0
    """The number of rows that each run was evaluated on."""
    rows: int = 0
    """The number of rows that each run was trained on."""
    without: tuple[float, ...] = ()
    """The metric of each run without the rule, by seed."""
    with_rule: tuple[float, ...] = ()
    """The metric of each run with the rule, by seed."""
    paired: Paired | None = None
    majority_baseline: float = math.nan
    """The accuracy of always predicting the most frequent label of the evaluated rows; NaN in other tasks."""
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """``"refused"``, ``"diverged"``, ``"better"``, ``"worse"`` or ``"undecided"``."""
        return self.paired.verdict if self.paired else "diverged" if self.diverged else "refused"

    def __str__(self) -> str:
        if self.failed_checks:
            lines = [f"{self.rule} fails conformance checks, so nothing was trained:"]
            return "\n".join([*lines, *(f"  {check}" for check in self.failed_checks)])
        passes = f"{self.rule} passes the conformance checks"
        if not self.paired:
            seed = len(self.with_rule)
            return f"{passes}, but training diverges with it and not without it (seed {seed}):\n  {self.diverged}"
        paired, pairs = self.paired, len(self.without)
        lines = [
            f"{passes}.",
            self.note,
            f"{self.metric} on {self.n} {self.split} rows, {pairs} paired seeds, {self.rows} training rows:",
            f"  without {_mean(self.without):.4f}, with {_mean(self.with_rule):.4f}",
            f"  difference {paired.mean:+.4f}, 95 % interval over seeds {paired.low:+.4f} to {paired.high:+.4f}",
            *_in_words(paired, self.metric),
            self._baseline_warning,
            f"It took {self.seconds:.0f} s.",
        ]
        return "\n".join(line for line in lines if line)

    @property
    def _baseline_warning(self) -> str:
        """A warning if neither arm is better than the majority baseline, so that no rule could show an effect."""
        noise = math.sqrt(self.majority_baseline * (1 - self.majority_baseline) / max(1, self.n))
        if not max(map(_mean, (self.without, self.with_rule))) < self.majority_baseline + 2 * noise:  # true for NaN
            return ""
        return (
            f"Neither arm clearly beats always predicting the most frequent label ({self.majority_baseline:.4f}): "
            "use more rows, more epochs or a higher learning rate before you judge the rule."
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from ftlab.display.table import as_html

        rows = [
            (seed, f"{without:.4f}", f"{with_rule:.4f}", f"{with_rule - without:+.4f}")
            for seed, (without, with_rule) in enumerate(zip(self.without, self.with_rule, strict=False))
        ]
        table = as_html(("seed", "without", "with", "difference"), rows)
        pairs = f"<details><summary>every pair</summary>{table}</details>" if rows else ""
        return f"<pre>{escape(str(self))}</pre>{pairs}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _in_words(paired: Paired, metric: str) -> list[str]:
    """Return the verdict in words, and the minimum detectable effect."""
    pairs = len(paired.differences)
    if not any(paired.differences):
        return [f"The {metric} is the same in every pair."]
    verdict = {
        "better": "It helps: the interval lies above 0.",
        "worse": "It hurts: the interval lies below 0.",
        "undecided": "Undecided: the interval contains 0.",
    }[paired.verdict]
    if paired.spread:
        mde = f"{paired.mde():.4f} (minimum detectable effect)"
        return [verdict, f"With this spread, {pairs} pairs detect a true difference of {mde} with a power of 80 %."]
    equal = f"All {pairs} differences are equal; the sign test gives p = {paired.p:.2g}"
    return [f"{equal}: too few pairs to decide." if paired.verdict == "undecided" else f"{verdict} {equal}."]


def trial(
    rule: Rule | str,
    data: Any = "reviews",
    model: Any = "minilm",
    *,
    minutes: float = 5.0,
    pairs: int | None = None,
    rows: int = 256,
    base_recipe: Sequence[Rule | str] = (),
    **arguments: Any,
) -> Trial:
    """Check a rule, fine-tune with and without it over paired seeds, and return the difference with a verdict.

    Both runs of a pair share the new head, the order of the data and the dropout; they differ only in the rule. Pairs
    are run until the time is used up, at most 30; when to stop never depends on their results.

    Args:
        rule: A rule of your own or of ftlab, or its text.
        data: The result of :func:`ftlab.load_data`, or a name to load.
        model: The result of :func:`ftlab.load_model`, or a name to load.
        minutes: About how long the trial may take, greater than 0. At least 3 pairs are run, however long they take.
        pairs: The number of pairs, at least 2, instead of ``minutes``.
        rows: The number of training rows, at least 2, drawn once for all runs. The split that the runs are evaluated on
            is kept whole; any other split gets at most as many rows.
        base_recipe: Rules in both arms.
        **arguments: Arguments of :func:`ftlab.finetune` for both arms: ``epochs``, ``lr``, ``loss`` ...

    Returns:
        The verdict, the paired differences, and their mean with its interval over seeds and the minimum detectable
        effect. If training diverges with the rule and not without it, the verdict is ``"diverged"``.

    Raises:
        ArgumentError: If an argument is invalid. InputError: If model or data cannot be used.
        DivergenceError: If a run without the rule diverges.

    Example:
        >>> from ftlab.data.load import load_data
        >>> data = load_data("reviews")
        >>> data["test"] = data["test"].select(range(50))
        >>> print(trial("SignPrune(0.0)", data, pairs=2, rows=16, epochs=1))  # doctest: +ELLIPSIS
        SignPrune(strength=0.0) passes the conformance checks.
        accuracy on 50 test rows, 2 paired seeds, 16 training rows:
          without 0..., with 0...
          difference +0.0000, 95 % interval over seeds +0.0000 to +0.0000
        The accuracy is the same in every pair.
        ...
        It took ... s.
    """
    check_number("trial", "minutes", minutes, "5 is usual", above=0)
    check_int("trial", "rows", rows, "256 is usual", at_least=2)
    if pairs is not None:
        check_int(
            "trial", "pairs", pairs, "10 detect a difference of one standard deviation with a power of 80 %", at_least=2
        )
    check_arguments("trial", "arguments", arguments, reserved=("recipe",))
    (rule,) = check_recipe([rule])
    shared = check_recipe(list(base_recipe))
    data = as_dataset_dict(data)
    if failed_checks := examine(rule, "llama" if task_of(data).kind == "generation" else "bert"):
        return Trial(repr(rule) if dataclasses.is_dataclass(rule) else type(rule).__name__, tuple(failed_checks))
    data, split = _subset(data, rows)
    pretrained = model if isinstance(model, Pretrained) else load_model(model, data)
    metric = MAIN_METRIC[task_of(data).kind]
    started = time.monotonic()
    without, with_rule = list[float](), list[float]()
    from ftlab.display.progress import count_runs

    diverged, bar = "", count_runs(2 * pairs if pairs else None)
    try:
        for seed in range(pairs or MAX_PAIRS):
            for arm, recipe in ((without, shared), (with_rule, (*shared, rule))):
                arm.append(finetuned_metric(pretrained, data, metric, seed=seed, recipe=recipe, **arguments))
                bar.update()
            spent = (time.monotonic() - started) / 60
            if not pairs and seed + 1 >= MIN_PAIRS and spent * (seed + 2) / (seed + 1) > minutes:
                break
    except DivergenceError as error:
        if len(without) == len(with_rule):  # the run without the rule diverged
            raise
        diverged = str(error)
    finally:
        bar.close()
    return Trial(
        repr(rule),
        diverged=diverged,
        note=_note(rule, shared),
        metric=metric,
        split=split,
        n=len(data[split]),
        rows=len(data["train"]),
        without=tuple(without),
        with_rule=tuple(with_rule),
        paired=None if diverged else Paired.of([b - a for a, b in zip(without, with_rule, strict=True)]),
        majority_baseline=_majority_baseline(data[split]),
        seconds=time.monotonic() - started,
    )


def _note(rule: Rule, shared: Sequence[Rule]) -> str:
    """Return a note if the rule is a schedule that replaces the default schedule."""
    if not isinstance(rule, Schedule) or any(isinstance(base, Schedule) for base in shared):
        return ""
    (default,) = complete([])
    return (
        "The rule is a schedule, so it replaces the default schedule; "
        f"base_recipe=[{str(default)!r}] keeps the default in both arms."
    )


def _majority_baseline(rows: Any) -> float:
    """Return the share of the most frequent label; NaN unless each row has one class label."""
    from datasets import ClassLabel

    if not isinstance(rows.features.get("label"), ClassLabel):
        return math.nan
    return max(Counter(rows["label"]).values()) / len(rows)


def _subset(data: Any, rows: int) -> tuple[Any, str]:
    """Return the data with at most ``rows`` rows per split, and the name of the evaluation split, which is kept whole."""
    from datasets import DatasetDict

    split = evaluation_split("trial", data)
    drawn = {name: part.shuffle(seed=0).select(range(min(rows, len(part)))) for name, part in data.items()}
    return DatasetDict({**drawn, split: data[split]}), split
