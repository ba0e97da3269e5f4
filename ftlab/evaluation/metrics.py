"""Metrics over samples, each with a 95 % bootstrap interval; the tests compare them with scikit-learn."""

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ftlab.data.labels import Task
from ftlab.errors import argument_error

Array = npt.NDArray[Any]
RESAMPLES = 1000
TINY = float(np.finfo(np.float64).eps)
"""Probabilities are clipped to at least this before a logarithm, as in scikit-learn."""
TITLES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "f1_macro": "F1 (macro)",
    "f1_micro": "F1 (micro)",
    "auc_roc": "AUC-ROC",
    "loss": "log loss",
    "mse": "mean squared error",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "perplexity": "perplexity",
    "token_accuracy": "token accuracy",
    "exact_match": "exact match",
}
BOUNDS, NO_INTERVAL = ("low", "high"), (math.nan, math.nan)
MAIN_METRIC = {
    "classification": "accuracy",
    "multilabel": "f1_micro",
    "regression": "pearson",
    "generation": "token_accuracy",
}
"""By kind of task, the metric by which runs are compared; higher is better."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of a model on one split, each with its 95 % interval."""

    values: dict[str, float]
    """Values by metric name; NaN where a metric is undefined."""
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The lower and upper bound of each 95 % interval."""
    undefined: dict[str, str] = field(default_factory=dict)
    """The reason why a metric is undefined."""
    n: int = 0
    """The number of samples."""
    split: str = ""
    confusion: Any = None
    """Rows are true classes, columns predicted ones (a ``pandas.DataFrame``); classification only."""

    def __getitem__(self, name: str) -> float:
        """Return a metric, or a bound of its interval: ``metrics["accuracy_low"]``; NaN if it is undefined."""
        metric, _, bound = name.rpartition("_")
        if bound in BOUNDS and metric in self.values:
            return self.intervals.get(metric, NO_INTERVAL)[BOUNDS.index(bound)]
        return self.values[name]

    def to_dict(self) -> dict[str, Any]:
        """Return one flat dictionary, as in ``metrics.json``; an undefined metric is None, with its reason as a note."""
        flat: dict[str, Any] = {}
        for name in self.values:
            for key in (name, f"{name}_low", f"{name}_high"):
                flat[key] = self[key] if math.isfinite(self[key]) else None
            if name in self.undefined:
                flat[f"{name}_note"] = self.undefined[name]
        return flat | {"n": self.n, "split": self.split}

    def rows(self) -> list[tuple[str, str, str]]:
        """Return the title, value and interval of each metric as text."""
        rows = []
        for name, value in self.values.items():
            low, high = self.intervals.get(name, NO_INTERVAL)
            text = self.undefined.get(name) or f"{value:.3f}"
            title = _loss_title(self.values) if name == "loss" else TITLES[name]
            rows.append((title, text, f"{low:.3f} to {high:.3f}" if math.isfinite(low) else ""))
        return rows

    def __str__(self) -> str:
        from ftlab.display.table import as_text

        return as_text([self._header, *self.rows()], ("<", ">8", "<"))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from ftlab.display.table import as_html

        return as_html(self._header, self.rows())

    @property
    def _header(self) -> tuple[str, str, str]:
        return (f"{self.split}, n = {self.n}", "value", "95 % interval")


def _loss_title(values: dict[str, float]) -> str:
    return "loss" if "mse" in values else "loss per token" if "perplexity" in values else TITLES["loss"]


def measure(
    task: Task, logits: Array, labels: Array, *, split: str = "", resamples: int | None = None, seed: int = 0
) -> Metrics:
    """Compute the metrics of predictions; every average is over samples, never over batches.

    ================  ==========================================================================================
    kind of task      metrics
    ================  ==========================================================================================
    two classes       accuracy, F1 of the second class, macro F1, AUC-ROC, log loss, confusion matrix
    more classes      accuracy, macro F1, AUC-ROC (one-vs-rest, macro), log loss, confusion matrix
    multilabel        accuracy (all labels of a row correct), macro and micro F1, AUC-ROC (macro), log loss
    regression        mean squared error (also as the loss), Pearson's and Spearman's correlation
    ================  ==========================================================================================

    Args:
        task: The kind of task and its label names.
        logits: Shape (N, C), or (N,) for a regression.
        labels: Shape (N,), or (N, C) of 0 and 1 for a multilabel task.
        split: The name of the split, kept with the metrics.
        resamples: Bootstrap resamples for the percentile intervals, 1000 by default; 0 for no intervals.
        seed: The seed of the bootstrap.

    Returns:
        The metrics with their intervals; a metric that is undefined for these labels is NaN, with the reason.

    Raises:
        ArgumentError: If there is no sample, or a logit is not finite.

    Source:
        Intervals: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile).

    Example:
        >>> task = Task("classification", ("no", "yes"))
        >>> logits = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 1.0], [3.0, 0.0]])
        >>> measure(task, logits, np.array([0, 1, 0, 0]), resamples=0)["accuracy"]
        0.75
    """
    if not len(labels) or not np.isfinite(logits).all():
        got = "no sample" if not len(labels) else f"{(~np.isfinite(logits)).sum()} that are NaN or infinite"
        raise argument_error("measure", "logits", "be finite, one row per sample", got, "The model may have diverged")
    logits = logits.astype(np.float64)
    outputs = logits if task.kind == "regression" else _probabilities(logits, task.kind)
    values, undefined = _values(task, outputs, labels)
    generator = np.random.default_rng(seed)
    resampled: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(RESAMPLES if resamples is None else resamples):
        rows = generator.integers(0, len(labels), len(labels))
        for name, value in _values(task, outputs[rows], labels[rows])[0].items():
            resampled[name].append(value)
    intervals = {
        name: (float(np.nanpercentile(draws, 2.5)), float(np.nanpercentile(draws, 97.5)))
        for name, draws in resampled.items()
        if draws and name not in undefined and not np.isnan(draws).all()
    }
    confusion = _confusion(task, outputs, labels) if task.kind == "classification" else None
    return Metrics(values, intervals, undefined, len(labels), split, confusion)


def _probabilities(logits: Array, kind: str) -> Array:
    from scipy.special import expit, softmax

    result: Array = expit(logits) if kind == "multilabel" else softmax(logits, axis=1)
    return result


def _values(task: Task, outputs: Array, labels: Array) -> tuple[dict[str, float], dict[str, str]]:
    """Return the metrics of the task, NaN where one is undefined, and the reasons why."""
    from sklearn import config_context

    compute = {"classification": _classification, "multilabel": _multilabel, "regression": _regression}[task.kind]
    with config_context(skip_parameter_validation=True, assume_finite=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compute(task, outputs, labels)


def _classification(task: Task, outputs: Array, labels: Array) -> tuple[dict[str, float], dict[str, str]]:
    classes = np.arange(len(task.names))
    predicted = outputs.argmax(axis=1)
    binary = len(classes) == 2
    per_class = _f1(labels, predicted, len(classes))
    values = {
        "accuracy": float((labels == predicted).mean()),
        "f1": float(per_class[1] if binary else per_class.mean()),
    }
    if binary:
        values["f1_macro"] = float(per_class.mean())
    undefined = {}
    absent = [task.names[index] for index in classes if not (labels == index).any()]
    if absent:
        values["auc_roc"] = math.nan
        one_class = len(set(labels.tolist())) == 1
        reason = "the split holds one class only" if one_class else f"no sample of {absent[0]!r}"
        undefined["auc_roc"] = f"undefined: {reason}"
    else:
        positive = classes[1:] if binary else classes
        values["auc_roc"] = _auc(labels[:, None] == positive, outputs[:, positive])
    values["loss"] = float(-np.log(outputs[np.arange(len(labels)), labels].clip(TINY)).mean())
    return values, undefined


def _f1(labels: Array, predicted: Array, classes: int) -> Array:
    """Return the F1 of each class, 0 for one that is neither true nor predicted; fast, since every resample needs it."""
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    total = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    scores: Array = 2 * hits / total.clip(1)
    return scores


def _auc(positive: Array, scores: Array) -> float:
    """Return the probability that a positive sample scores above a negative one (Mann-Whitney), averaged over columns."""
    from scipy.stats import rankdata

    count = positive.sum(axis=0)
    above = (rankdata(scores, axis=0) * positive).sum(axis=0) - count * (count + 1) / 2
    return float((above / (count * (len(scores) - count))).mean())


def _multilabel(task: Task, outputs: Array, labels: Array) -> tuple[dict[str, float], dict[str, str]]:
    from sklearn import metrics

    predicted = outputs > 0.5
    values = {
        "accuracy": float((predicted == labels).all(axis=1).mean()),
        "f1": float(metrics.f1_score(labels, predicted, average="macro", zero_division=0)),
        "f1_micro": float(metrics.f1_score(labels, predicted, average="micro", zero_division=0)),
    }
    constant = [name for name, column in zip(task.names, labels.T, strict=True) if len(set(column.tolist())) == 1]
    values["auc_roc"] = math.nan if constant else float(metrics.roc_auc_score(labels, outputs, average="macro"))
    values["loss"] = float(-np.log(np.where(labels, outputs, 1 - outputs).clip(TINY)).mean())
    undefined = {"auc_roc": f"undefined: {constant[0]!r} is the same in every row"} if constant else {}
    return values, undefined


def _regression(task: Task, outputs: Array, labels: Array) -> tuple[dict[str, float], dict[str, str]]:
    from scipy import stats
    from sklearn import metrics

    values = {"mse": float(metrics.mean_squared_error(labels, outputs))}
    constant = "labels" if np.ptp(labels) == 0 else "predictions" if np.ptp(outputs) == 0 else ""
    undefined = {}
    for name, correlation in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        values[name] = math.nan if constant else float(correlation(labels, outputs)[0])
        if constant:
            undefined[name] = f"undefined: all {constant} are the same"
    return values | {"loss": values["mse"]}, undefined


def _confusion(task: Task, outputs: Array, labels: Array) -> Any:
    import pandas
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, outputs.argmax(axis=1), labels=list(range(len(task.names))))
    return pandas.DataFrame(
        counts,
        index=pandas.Index(task.names, name="true"),
        columns=pandas.Index(task.names, name="predicted"),
    )
