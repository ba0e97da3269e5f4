"""Ask a model more than its accuracy: plain sentences it must get right, and what it still knows of meaning."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ftlab.data.load import EMBEDDED, load_pairs
from ftlab.errors import argument_error
from ftlab.evaluation.metrics import RESAMPLES, Metrics

KINDS = {
    "minimum": "a sentence has the label that any reader would give it",
    "invariance": "a change that means nothing leaves the label as it is",
    "direction": "a change of meaning moves the probability the right way",
}
"""The kinds of checks, and what each one asks."""
HEADER = ("kind", "capability", "checks", "passed", "95 % interval")


@dataclass(frozen=True)
class Answer:
    """One check and what the model made of it."""

    kind: str
    capability: str
    text: str
    changed: str
    """The text after the change; empty in a check of kind ``minimum``."""
    expected: str
    """``"positive"`` or ``"negative"``, ``"same"``, or ``"up"`` or ``"down"``."""
    positive: float
    """The probability of positive for ``text``."""
    positive_changed: float
    """The same for ``changed``; that of ``text`` where there is none."""

    @property
    def passed(self) -> bool:
        """Whether the model did what was expected."""
        before, after = self.positive, self.positive_changed
        return {
            "positive": before > 0.5,
            "negative": before < 0.5,
            "same": (before > 0.5) == (after > 0.5),
            "up": after > before,
            "down": after < before,
        }[self.expected]


@dataclass(frozen=True)
class Behaviour:
    """What a sentiment model made of the behavioural checks."""

    answers: tuple[Answer, ...]

    def share(self, kind: str, capability: str | None = None) -> tuple[float, float, float]:
        """Return the share of checks passed, with its 95 % interval (Wilson).

        Args:
            kind: ``"minimum"``, ``"invariance"`` or ``"direction"``.
            capability: One capability of that kind, such as ``"plain"``; all of them if left out.
        """
        from scipy.stats import binomtest

        passed = [one.passed for one in self.answers if one.kind == kind and capability in (None, one.capability)]
        if not passed:
            known = ", ".join(f"{kind} {capability}" for kind, capability in self._parts())
            got = f"{kind!r}, {capability!r}"
            raise argument_error("check_behaviour", "kind and capability", f"be one of: {known}", got, "Choose one")
        interval = binomtest(sum(passed), len(passed)).proportion_ci(method="wilson")
        return sum(passed) / len(passed), float(interval.low), float(interval.high)

    @property
    def failures(self) -> list[Answer]:
        """The checks that the model failed, most confident mistakes first."""
        failed = [one for one in self.answers if not one.passed]
        return sorted(failed, key=lambda one: -abs(one.positive - 0.5))

    def rows(self) -> list[tuple[str, str, int, float, float, float]]:
        """Return kind, capability, number of checks, share passed and its interval, a row each."""
        counts = {part: sum((one.kind, one.capability) == part for one in self.answers) for part in self._parts()}
        return [(*part, count, *self.share(*part)) for part, count in counts.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return the shares as one flat dictionary, for a file."""
        flat: dict[str, Any] = {}
        for kind in KINDS:
            flat |= dict(zip((kind, f"{kind}_low", f"{kind}_high"), self.share(kind), strict=True))
        return flat | {f"{kind} {capability}": share for kind, capability, _, share, _, _ in self.rows()}

    def _parts(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys((one.kind, one.capability) for one in self.answers))

    def __str__(self) -> str:
        from ftlab.display.table import as_text

        return as_text([HEADER, *self._cells()], "<<>><")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from ftlab.display.table import as_html

        return as_html(HEADER, self._cells())

    def _cells(self) -> list[tuple[str, str, int, str, str]]:
        return [
            (kind, capability, count, f"{share:.2f}", f"{low:.2f} to {high:.2f}")
            for kind, capability, count, share, low, high in self.rows()
        ]


def check_behaviour(model: Any, *, positive: str = "positive") -> Behaviour:
    """Check what a sentiment model makes of sentences that any reader would understand.

    The checks are of three kinds. A *minimum* check is a sentence with an obvious label ("The soup was wonderful.").
    An *invariance* check changes something that carries no feeling, such as a name; the label must stay. A *direction*
    check changes the feeling; the probability of positive must move the right way.

    Args:
        model: A run, what :func:`ftlab.load_model` gives, or a function from a list of texts to the probability of
            positive for each.
        positive: The name of the positive label, where the model is not a function.

    Returns:
        The share passed by kind and capability, each with its 95 % interval, and the failures.

    Raises:
        ArgumentError: If the model has no label of that name.

    Source:
        Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList", arXiv 2005.04118.
        *Departure:* the sentences were written one by one for this package, not made from templates.

    Example:
        >>> def gullible(texts):
        ...     return [0.9 for _ in texts]
        >>> found = check_behaviour(gullible)
        >>> found.share("minimum", "plain")[0], found.share("invariance")[0], found.share("direction")[0]
        (0.5, 1.0, 0.0)
    """
    checks = [json.loads(line) for line in (EMBEDDED / "behaviour.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = list(dict.fromkeys(text for one in checks for text in (one["text"], one["changed"]) if text))
    scored = dict(zip(texts, _scorer(model, positive)(texts), strict=True))
    return Behaviour(
        tuple(
            Answer(**one, positive=scored[one["text"]], positive_changed=scored[one["changed"] or one["text"]])
            for one in checks
        )
    )


def _scorer(model: Any, positive: str) -> Callable[[list[str]], Sequence[float]]:
    """Return what gives the probability of positive for each text."""
    from ftlab.evaluation.inference import predict
    from ftlab.models.load import Pretrained

    pretrained = getattr(model, "model", model)
    if not isinstance(pretrained, Pretrained):
        if callable(model):
            return model  # type: ignore[no-any-return]
        do = "Give a run, a loaded model, or a function from texts to probabilities"
        raise argument_error("check_behaviour", "model", "be a sentiment model", type(model).__name__, do)
    names = pretrained.task.names
    if positive not in names or len(names) != 2:
        do = "Name the positive label, as in check_behaviour(run, positive='1')"
        raise argument_error(
            "check_behaviour", "positive", "be one of the model's two labels", f"{positive!r} of {names}", do
        )
    return lambda texts: [one["probabilities"][positive] for one in predict(pretrained, texts)]


def check_similarity(model: Any, *, seed: int = 0) -> Metrics:
    r"""Measure how well a text model still tells which sentences mean the same.

    .. math:: \rho = \text{Spearman}(\cos(v_1, v_2),\ \text{grade})

    The model's vectors (the mean over the tokens of the last hidden states) are compared on the 330 embedded pairs with
    the similarity that people would give them. Fine-tuning is not asked to keep this, so what it loses is forgetting.

    Args:
        model: A run, or what :func:`ftlab.load_model` gives.
        seed: Of the bootstrap.

    Returns:
        ``spearman``, from -1 to 1, with its 95 % interval over pairs (percentile bootstrap, 1,000 times).

    Example:
        >>> from ftlab import load_data, load_model
        >>> found = check_similarity(load_model("minilm", load_data("reviews")))
        >>> round(found["spearman"], 3), found.n
        (0.519, 330)
    """
    import numpy as np
    from scipy.stats import spearmanr

    from ftlab.evaluation.inference import embed

    pretrained = getattr(model, "model", model)
    pairs = load_pairs()
    first, second = (embed(pretrained, list(pairs[side])) for side in ("first", "second"))
    cosines, grades = (first * second).sum(1).numpy(), np.array(pairs["similarity"])
    chance = np.random.default_rng(seed)
    drawn = [chance.integers(0, len(grades), len(grades)) for _ in range(RESAMPLES)]
    values = [spearmanr(cosines[rows], grades[rows]).statistic for rows in drawn]
    low, high = np.percentile(values, [2.5, 97.5])
    value = float(spearmanr(cosines, grades).statistic)
    return Metrics({"spearman": value}, {"spearman": (float(low), float(high))}, n=len(grades), split="pairs")
