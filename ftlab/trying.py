"""Try a rule: does it keep the contract, and does fine-tuning with it differ from fine-tuning without?"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ftlab.comparing import METRIC
from ftlab.contract import examine
from ftlab.data import checked, task_of
from ftlab.errors import check_number, check_whole, misused
from ftlab.models import Pretrained, load_model
from ftlab.paired import Paired
from ftlab.procedure import finetune
from ftlab.recipe import check_recipe
from ftlab.rule import Rule

FEWEST, MOST = 3, 30


@dataclass(frozen=True)
class Trial:
    """What came of a trial."""

    rule: str
    broken: tuple[str, ...]
    """The clauses of the contract that the rule breaks; with any, nothing was trained."""
    metric: str = ""
    split: str = ""
    n: int = 0
    """Rows that each pair was measured on."""
    rows: int = 0
    """Rows that each arm was trained on."""
    without: tuple[float, ...] = ()
    with_it: tuple[float, ...] = ()
    found: Paired | None = None
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        """``"refused"``, ``"better"``, ``"worse"`` or ``"undecided"``."""
        return self.found.verdict if self.found else "refused"

    def __str__(self) -> str:
        if not self.found:
            lines = [f"{self.rule} does not keep the contract, so nothing was trained:"]
            return "\n".join([*lines, *(f"  {clause}" for clause in self.broken)])
        found, pairs = self.found, len(self.without)
        said = {
            "better": "It helps: the interval lies above 0.",
            "worse": "It hurts: the interval lies below 0.",
            "undecided": "No difference was seen: the interval holds 0.",
        }[found.verdict]
        power = f"So many pairs show a true difference of {found.detectable:.4f} four times in five."
        if not any(found.differences):
            said, power = f"In no pair did the {self.metric} differ at all.", ""
        return (
            f"{self.rule}: it keeps the contract.\n"
            f"{self.metric} on {self.n} {self.split} rows with the rule minus without, {pairs} pairs of seeds, "
            f"{self.rows} rows to train on:\n"
            f"  {found.mean:+.4f}, 95 % interval {found.low:+.4f} to {found.high:+.4f}\n"
            f"{f'{said} {power}'.strip()}\n"
            f"It took {self.seconds:.0f} s."
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{seed}</td><td>{one:.4f}</td><td>{other:.4f}</td><td>{other - one:+.4f}</td></tr>"
            for seed, (one, other) in enumerate(zip(self.without, self.with_it, strict=True))
        )
        head = "<tr><th>seed</th><th>without</th><th>with</th><th>difference</th></tr>"
        table = f"<details><summary>every pair</summary><table>{head}{rows}</table></details>" if rows else ""
        return f"<pre>{escape(str(self))}</pre>{table}"


def trial(
    rule: Rule | str,
    data: Any = "reviews",
    model: Any = "minilm",
    *,
    minutes: float = 5.0,
    pairs: int | None = None,
    rows: int = 256,
    beside: Sequence[Rule | str] = (),
    **arguments: Any,
) -> Trial:
    """Examine a rule, then fine-tune with and without it over paired seeds, and say what came of it.

    Both arms of a pair share the head, the order of the data, the dropout and everything else. Pairs are run until the
    time is used up; when to stop never depends on what they gave.

    Args:
        rule: An instance, yours or one of ftlab; or its text.
        data: What :func:`ftlab.load_data` gives, or a name for it.
        model: What :func:`ftlab.load_model` gives, or a name for it.
        minutes: About how long it may take, above 0. At least 3 pairs are run, however long they take.
        pairs: How many pairs, at least 2, in place of ``minutes``.
        rows: How many training rows each arm gets, at least 2, drawn once.
        beside: Rules that both arms have.
        **arguments: For :func:`ftlab.finetune`, the same in both arms: ``epochs``, ``lr``, ``loss`` ...

    Returns:
        The differences, their mean with its interval, the smallest difference that could have been seen, a verdict.

    Raises:
        Misused: If an argument cannot be meant. Refused: If model or data cannot be used.
        Diverged: If an arm diverges; a rule that makes a run diverge needs no statistics.

    Example:
        >>> from ftlab.data import load_data
        >>> data = load_data("reviews")
        >>> data["test"] = data["test"].select(range(50))
        >>> print(trial("SignPrune(0.0)", data, pairs=2, rows=16, epochs=1))  # doctest: +ELLIPSIS
        SignPrune(strength=0.0): it keeps the contract.
        accuracy on 50 test rows with the rule minus without, 2 pairs of seeds, 16 rows to train on:
          +0.0000, 95 % interval +0.0000 to +0.0000
        In no pair did the accuracy differ at all.
        It took ... s.
    """
    check_number("trial", "minutes", minutes, "5 is usual", above=0)
    check_whole("trial", "rows", rows, "256 is usual", at_least=2)
    if pairs is not None:
        check_whole("trial", "pairs", pairs, "10 pairs show a difference of one spread", at_least=2)
    for name in ("seed", "recipe", "output"):
        if name in arguments:
            raise misused("trial", name, "be left out", repr(arguments[name]), "Both arms set it; use beside for rules")
    (rule,) = check_recipe([rule])
    shared = list(check_recipe(list(beside)))
    broken = examine(rule)
    if broken:
        return Trial(repr(rule), tuple(broken))
    data = _part(checked(data), rows)
    pretrained = model if isinstance(model, Pretrained) else load_model(model, data)
    metric = METRIC[task_of(data).kind]
    arms: tuple[list[float], list[float]] = ([], [])
    started = time.monotonic()
    measured: Any = None
    for seed in range(pairs or MOST):
        for arm, recipe in zip(arms, (shared, [*shared, rule]), strict=True):
            run = finetune(pretrained, data, seed=seed, recipe=recipe, progress=False, **arguments)
            measured = run.metrics
            arm.append(measured[metric])
        spent = (time.monotonic() - started) / 60
        if not pairs and seed + 1 >= FEWEST and spent * (seed + 2) / (seed + 1) > minutes:
            break
    without, with_it = map(tuple, arms)
    found = Paired.of([other - one for one, other in zip(without, with_it, strict=True)])
    return Trial(
        repr(rule), (), metric, measured.split, measured.n, len(data["train"]), without, with_it, found,
        time.monotonic() - started,
    )  # fmt: skip


def _part(data: Any, rows: int) -> Any:
    """Return some training rows, and the one split to measure on: test, else validation."""
    from datasets import DatasetDict

    split = "test" if "test" in data else "validation"
    if split not in data:
        raise misused("trial", "data", "have a split to measure on", f"only {', '.join(data)}", "Give a test split too")
    train = data["train"].shuffle(seed=0).select(range(min(rows, len(data["train"]))))
    return DatasetDict({"train": train, split: data[split]})
