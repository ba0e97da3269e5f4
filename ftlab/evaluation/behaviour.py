"""Test a model beyond its accuracy: behavioural checks of sentiment, and similarity of sentence meaning."""

import json
from collections import Counter
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
"""The kinds of checks, and what each requires."""
HEADER = ("kind", "capability", "checks", "passed", "95 % interval")


@dataclass(frozen=True)
class Answer:
    """A behavioural check and the model's probabilities."""

    kind: str
    """One of :data:`KINDS`."""
    capability: str
    """What the check tests within its kind, such as ``"plain"``."""
    text: str
    changed: str
    """The text after the change; empty for kind ``minimum``."""
    expected: str
    """``"positive"`` or ``"negative"`` (minimum), ``"same"`` (invariance), ``"up"`` or ``"down"`` (direction)."""
    positive: float
    """The probability of positive for ``text``."""
    positive_changed: float
    """The probability of positive for ``changed``, or for ``text`` if ``changed`` is empty."""

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
    """The results of a sentiment model on the behavioural checks."""

    answers: tuple[Answer, ...]

    def share(self, kind: str, capability: str | None = None) -> tuple[float, float, float]:
        """Return the share of checks passed, with its 95 % interval (Wilson).

        Args:
            kind: ``"minimum"``, ``"invariance"`` or ``"direction"``.
            capability: A capability of that kind, such as ``"plain"``; by default all of them.

        Returns:
            The share, and the low and high end of its interval.

        Raises:
            ArgumentError: If there is no such kind or capability.
        """
        from scipy.stats import binomtest

        passed = [
            answer.passed for answer in self.answers if answer.kind == kind and capability in (None, answer.capability)
        ]
        if not passed:
            known = ", ".join(f"{kind} {capability}" for kind, capability in self._parts())
            got = f"{kind!r}, {capability!r}"
            raise argument_error("check_behaviour", "kind and capability", f"be one of: {known}", got, "Choose one")
        interval = binomtest(sum(passed), len(passed)).proportion_ci(method="wilson")
        return sum(passed) / len(passed), float(interval.low), float(interval.high)

    @property
    def failures(self) -> list[Answer]:
        """The checks that the model failed, the most confident ones first."""
        failed = [answer for answer in self.answers if not answer.passed]
        return sorted(failed, key=lambda answer: -abs(answer.positive - 0.5))

    def rows(self) -> list[tuple[str, str, int, float, float, float]]:
        """Return a row per kind and capability: kind, capability, number of checks, share passed, low, high."""
        counts = Counter((answer.kind, answer.capability) for answer in self.answers)
        return [(*part, count, *self.share(*part)) for part, count in counts.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return the shares as one flat dictionary, to be saved."""
        flat: dict[str, Any] = {}
        for kind in KINDS:
            flat |= dict(zip((kind, f"{kind}_low", f"{kind}_high"), self.share(kind), strict=True))
        return flat | {f"{kind} {capability}": share for kind, capability, _, share, _, _ in self.rows()}

    def _parts(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys((answer.kind, answer.capability) for answer in self.answers))

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
    """Test a sentiment model on sentences that every reader understands.

    There are three kinds of checks. A *minimum* check is a sentence with an obvious label ("The soup was wonderful.").
    An *invariance* check changes something that carries no sentiment, such as a name; the label must stay the same. A
    *direction* check changes the sentiment; the probability of positive must move in the right direction.

    Args:
        model: A run, a model from :func:`ftlab.load_model`, or a function from a list of texts to the probability of
            positive for each.
        positive: The name of the positive label; not used if the model is a function.

    Returns:
        The share of checks passed by kind and capability, with 95 % intervals, and the failures.

    Raises:
        ArgumentError: If the model does not have two labels, one of them with this name.

    Source:
        Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList", arXiv 2005.04118.
        *Departure:* the sentences were written one by one for this package, not generated from templates.

    Example:
        >>> def always_positive(texts):
        ...     return [0.9 for _ in texts]
        >>> result = check_behaviour(always_positive)
        >>> result.share("minimum", "plain")[0], result.share("invariance")[0], result.share("direction")[0]
        (0.5, 1.0, 0.0)
    """
    checks = [json.loads(line) for line in (EMBEDDED / "behaviour.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = list(dict.fromkeys(text for check in checks for text in (check["text"], check["changed"]) if text))
    positives = dict(zip(texts, _scorer(model, positive)(texts), strict=True))
    return Behaviour(
        tuple(
            Answer(
                **check,
                positive=positives[check["text"]],
                positive_changed=positives[check["changed"] or check["text"]],
            )
            for check in checks
        )
    )


def _scorer(model: Any, positive: str) -> Callable[[list[str]], Sequence[float]]:
    """Return a function from texts to the probability of positive for each."""
    from ftlab.evaluation.inference import predict
    from ftlab.models.load import Pretrained

    pretrained = getattr(model, "model", model)
    if not isinstance(pretrained, Pretrained):
        if callable(model):
            return model  # type: ignore[no-any-return]
        do = "Give a run, a loaded model or a function from texts to probabilities"
        raise argument_error("check_behaviour", "model", "be a sentiment model", type(model).__name__, do)
    names = pretrained.task.names
    if positive not in names or len(names) != 2:
        do = "Name the positive label, as in check_behaviour(run, positive='1')"
        raise argument_error(
            "check_behaviour", "positive", "be one of the model's two labels", f"{positive!r} of {names}", do
        )
    return lambda texts: [prediction["probabilities"][positive] for prediction in predict(pretrained, texts)]


def check_similarity(model: Any, *, seed: int = 0) -> Metrics:
    r"""Measure how well a text model's vectors reflect the similarity of sentences.

    .. math:: \rho = \text{Spearman}(\cos(v_1, v_2),\ \text{grade})

    On the 330 embedded sentence pairs, the cosine similarity of the model's vectors (last hidden states averaged over
    the tokens) is correlated with the grades. Fine-tuning does not train for this, so a lower correlation than before
    is a sign of forgetting.

    Args:
        model: A run, or a model from :func:`ftlab.load_model`.
        seed: The seed of the bootstrap.

    Returns:
        ``spearman``, from -1 to 1, with its 95 % interval over pairs (percentile bootstrap, 1,000 resamples).

    Example:
        >>> from ftlab import load_data, load_model
        >>> metrics = check_similarity(load_model("minilm", load_data("reviews")))
        >>> round(metrics["spearman"], 3), metrics.n
        (0.519, 330)
    """
    import numpy as np
    from scipy.stats import spearmanr

    from ftlab.evaluation.inference import embed

    pretrained = getattr(model, "model", model)
    pairs = load_pairs()
    first, second = (embed(pretrained, list(pairs[side])) for side in ("first", "second"))
    cosines, grades = (first * second).sum(1).numpy(), np.array(pairs["similarity"])
    generator = np.random.default_rng(seed)
    resamples = [generator.integers(0, len(grades), len(grades)) for _ in range(RESAMPLES)]
    values = [spearmanr(cosines[rows], grades[rows]).statistic for rows in resamples]
    low, high = np.percentile(values, [2.5, 97.5])
    value = float(spearmanr(cosines, grades).statistic)
    return Metrics({"spearman": value}, {"spearman": (float(low), float(high))}, n=len(grades), split="pairs")
