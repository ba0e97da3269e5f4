"""Try a rule: does it keep the contract, and does fine-tuning with it differ from fine-tuning without?"""

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
from ftlab.experiments.compare import METRIC, check_arguments, reach, split_to_measure
from ftlab.experiments.conformance import examine
from ftlab.experiments.paired import Paired
from ftlab.models.load import Pretrained, load_model
from ftlab.recipes.parse import check_recipe, complete
from ftlab.rule import Rule, Schedule

FEWEST, MOST = 3, 30


@dataclass(frozen=True)
class Trial:
    """What came of a trial."""

    rule: str
    broken: tuple[str, ...] = ()
    """The clauses of the contract that the rule breaks; with any, nothing was trained."""
    diverged: str = ""
    """What was said when a run with the rule diverged, which ended the trial."""
    note: str = ""
    """What the arm without the rule has instead, where it has something."""
    metric: str = ""
    split: str = ""
    n: int = 0
    """Rows that each pair was measured on."""
    rows: int = 0
    """Rows that each arm was trained on."""
    without: tuple[float, ...] = ()
    with_rule: tuple[float, ...] = ()
    paired: Paired | None = None
    majority_baseline: float = math.nan
    """The accuracy of always saying the most frequent label of the rows measured on; NaN in other tasks."""
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """``"refused"``, ``"diverged"``, ``"better"``, ``"worse"`` or ``"undecided"``."""
        return self.paired.verdict if self.paired else "diverged" if self.diverged else "refused"

    def __str__(self) -> str:
        if self.broken:
            lines = [f"{self.rule} does not keep the contract, so nothing was trained:"]
            return "\n".join([*lines, *(f"  {clause}" for clause in self.broken)])
        if not self.paired:
            seed = len(self.with_rule)
            return (
                f"{self.rule}: it keeps the contract, but training with it goes wrong, and without it does not "
                f"(seed {seed}):\n  {self.diverged}"
            )
        found, pairs = self.paired, len(self.without)
        lines = [
            f"{self.rule}: it keeps the contract.",
            self.note,
            f"{self.metric} on {self.n} {self.split} rows, {pairs} pairs of seeds, {self.rows} rows to train on:",
            f"  without {_mean(self.without):.4f}, with {_mean(self.with_rule):.4f}",
            f"  difference {found.mean:+.4f}, 95 % interval over seeds {found.low:+.4f} to {found.high:+.4f}",
            *_in_words(found, self.metric),
            self._idle,
            f"It took {self.seconds:.0f} s.",
        ]
        return "\n".join(line for line in lines if line)

    @property
    def _idle(self) -> str:
        """What to know where the model learns so little that no rule could show anything."""
        noise = math.sqrt(self.majority_baseline * (1 - self.majority_baseline) / max(1, self.n))
        if not max(map(_mean, (self.without, self.with_rule))) < self.majority_baseline + 2 * noise:  # not, for NaN
            return ""
        return (
            f"Neither arm does better than always saying the most frequent label ({self.majority_baseline:.4f}): "
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


def _in_words(found: Paired, metric: str) -> list[str]:
    """Say what the pairs say, and what they could have said."""
    pairs = len(found.differences)
    if not any(found.differences):
        return [f"In no pair did the {metric} differ at all."]
    said = {
        "better": "It helps: the interval lies above 0.",
        "worse": "It hurts: the interval lies below 0.",
        "undecided": "Undecided: the interval holds 0.",
    }[found.verdict]
    if found.spread:
        seen = f"{found.mde():.4f} (minimum detectable effect)"
        return [said, f"With this spread, {pairs} pairs detect a true difference of {seen} with a power of 80 %."]
    alike = f"All {pairs} pairs differ alike, which chance alone does with a probability of {found.p:.2g}"
    return [f"{alike}: too few to decide." if found.verdict == "undecided" else f"{said} {alike}."]


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
    """Examine a rule, then fine-tune with and without it over paired seeds, and say what came of it.

    Both arms of a pair share the head, the order of the data, the dropout and everything else. Pairs are run until the
    time is used up, at most 30; when to stop never depends on what they gave.

    Args:
        rule: An instance, yours or one of ftlab; or its text.
        data: What :func:`ftlab.load_data` gives, or a name for it.
        model: What :func:`ftlab.load_model` gives, or a name for it.
        minutes: About how long it may take, above 0. At least 3 pairs are run, however long they take.
        pairs: How many pairs, at least 2, in place of ``minutes``.
        rows: How many training rows each arm gets, at least 2, drawn once; of validation it gets as many.
        base_recipe: Rules that both arms have.
        **arguments: For :func:`ftlab.finetune`, the same in both arms: ``epochs``, ``lr``, ``loss`` ...

    Returns:
        A verdict in words; the differences, their mean with its interval over seeds, the smallest difference that could
        have been seen. Where training with the rule diverges, and without does not, that is the verdict.

    Raises:
        ArgumentError: If an argument is invalid. InputError: If model or data cannot be used.
        DivergenceError: If a run without the rule diverges.

    Example:
        >>> from ftlab.data.load import load_data
        >>> data = load_data("reviews")
        >>> data["test"] = data["test"].select(range(50))
        >>> print(trial("SignPrune(0.0)", data, pairs=2, rows=16, epochs=1))  # doctest: +ELLIPSIS
        SignPrune(strength=0.0): it keeps the contract.
        accuracy on 50 test rows, 2 pairs of seeds, 16 rows to train on:
          without 0..., with 0...
          difference +0.0000, 95 % interval over seeds +0.0000 to +0.0000
        In no pair did the accuracy differ at all.
        ...
        It took ... s.
    """
    check_number("trial", "minutes", minutes, "5 is usual", above=0)
    check_int("trial", "rows", rows, "256 is usual", at_least=2)
    if pairs is not None:
        check_int("trial", "pairs", pairs, "10 pairs show a difference of one spread", at_least=2)
    check_arguments("trial", "arguments", arguments, ours=("recipe",))
    (rule,) = check_recipe([rule])
    shared = check_recipe(list(base_recipe))
    if broken := examine(rule):
        return Trial(repr(rule) if dataclasses.is_dataclass(rule) else type(rule).__name__, tuple(broken))
    data, split = _part(as_dataset_dict(data), rows)
    pretrained = model if isinstance(model, Pretrained) else load_model(model, data)
    metric = METRIC[task_of(data).kind]
    started = time.monotonic()
    arms: tuple[list[float], list[float]] = ([], [])
    from ftlab.display.progress import count_runs

    diverged, bar = "", count_runs(2 * pairs if pairs else None)
    try:
        for seed in range(pairs or MOST):
            for arm, recipe in zip(arms, (shared, (*shared, rule)), strict=True):
                arm.append(reach(pretrained, data, metric, seed=seed, recipe=recipe, **arguments))
                bar.update()
            spent = (time.monotonic() - started) / 60
            if not pairs and seed + 1 >= FEWEST and spent * (seed + 2) / (seed + 1) > minutes:
                break
    except DivergenceError as error:
        if len(arms[0]) == len(arms[1]):  # the run without the rule diverges
            raise
        diverged = str(error)
    finally:
        bar.close()
    differences = [other - one for one, other in zip(*arms, strict=False)]
    return Trial(
        repr(rule),
        diverged=diverged,
        note=_note(rule, shared),
        metric=metric,
        split=split,
        n=len(data[split]),
        rows=len(data["train"]),
        without=tuple(arms[0]),
        with_rule=tuple(arms[1]),
        paired=None if diverged else Paired.of(differences),
        majority_baseline=_guessing(data[split]),
        seconds=time.monotonic() - started,
    )


def _note(rule: Rule, shared: Sequence[Rule]) -> str:
    """Say what a schedule drives out of the recipe."""
    if not isinstance(rule, Schedule) or any(isinstance(one, Schedule) for one in shared):
        return ""
    (usual,) = complete([])
    return f"It is a schedule, so it replaces the default one; base_recipe=[{str(usual)!r}] keeps that in both arms."


def _guessing(rows: Any) -> float:
    """Return the share of the most frequent label; NaN where rows have not one label each."""
    from datasets import ClassLabel

    if not isinstance(rows.features["label"], ClassLabel):
        return math.nan
    return max(Counter(rows["label"]).values()) / len(rows)


def _part(data: Any, rows: int) -> tuple[Any, str]:
    """Return some rows to train on and to validate on, and the name of the split to measure on, which stays whole."""
    from datasets import DatasetDict

    split = split_to_measure("trial", data)
    few = {name: part.shuffle(seed=0).select(range(min(rows, len(part)))) for name, part in data.items()}
    return DatasetDict({**few, split: data[split]}), split
