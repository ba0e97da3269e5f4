"""Figures, drawn without pyplot, which would keep every figure in memory."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ftlab.errors import argument_error

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
"""Colours that colour-blind readers can tell apart; blue and orange are from the palette of Okabe and Ito."""


def curves(history: list[dict[str, Any]], evaluations: list[dict[str, Any]], steps_per_epoch: int) -> Any:
    """Draw the loss of each step with its running mean, the learning rate, and the validation metrics per epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained", facecolor="white")
    left, middle, right = figure.subplots(1, 3)
    steps = [record["step"] for record in history]
    losses = np.array([record["loss"] for record in history])
    left.plot(steps, losses, ".", markersize=3, color=GREY, label="one batch")
    left.plot(steps, running_mean(losses), color=BLUE, label="running mean")
    left.set(title="training loss", xlabel="step", ylim=(0, None))
    left.legend(frameon=False, fontsize="small")
    middle.plot(steps, [record["lr"] for record in history], color=BLUE)
    middle.set(title="learning rate", xlabel="step", ylim=(0, None))
    middle.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))
    _validation(right, evaluations)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _validation(axes: Any, evaluations: list[dict[str, Any]]) -> None:
    epochs = range(1, len(evaluations) + 1)
    for name, colour, mark in (("accuracy", BLUE, "o-"), ("pearson", BLUE, "o-"), ("loss", ORANGE, "s--")):
        if evaluations and evaluations[0].get(name) is not None:
            axes.plot(epochs, [metrics[name] for metrics in evaluations], mark, color=colour, label=name)
    axes.set(title="validation" if evaluations else "no validation split", xlabel="epoch")
    if evaluations:
        axes.set_xticks(list(epochs))
        axes.legend(frameon=False, fontsize="small")


def differences(arms: Mapping[str, Any], title: str) -> Any:
    """Draw the paired differences of several arms: each pair as a dot, the mean as a diamond with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1 + 0.45 * len(arms)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for index, (name, paired) in enumerate(list(arms.items())[::-1]):
        colour = {"better": BLUE, "worse": ORANGE}.get(paired.verdict, GREY)
        heights = [index] * len(paired.differences)
        axes.plot(paired.differences, heights, ".", color=GREY, alpha=0.5, label=f"{name}, pairs")
        axes.plot([paired.low, paired.high], [index, index], color=colour, linewidth=2)
        axes.plot([paired.mean], [index], "D", color=colour, markersize=6)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(yticks=range(len(arms)), xlabel=title, ylim=(-0.6, len(arms) - 0.4))
    axes.set_yticklabels(list(arms)[::-1])
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def check_figure(where: str, path: str) -> None:
    """Refuse a file into which a figure cannot be written, before any work.

    >>> check_figure("compare", "differences.png")
    """
    from matplotlib.figure import Figure

    kinds = Figure().canvas.get_supported_filetypes()
    if Path(path).suffix.lstrip(".").lower() not in kinds or not Path(path).parent.is_dir():
        do = "Give a name such as differences.png, in a folder that exists"
        raise argument_error(where, "figure", f"be a file of a supported type ({', '.join(kinds)})", path, do)


def in_words(history: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> str:
    """Describe the curves in words, as alternative text.

    >>> in_words([{"step": 1, "loss": 0.7}, {"step": 2, "loss": 0.3}], [{"accuracy": 0.5}, {"accuracy": 0.75}])
    'The running mean of the training loss goes from 0.70 to 0.49 in 2 steps; validation accuracy by epoch: 0.50, 0.75.'
    """
    if not history:
        return "No step was taken."
    means = running_mean([record["loss"] for record in history])
    text = f"The running mean of the training loss goes from {means[0]:.2f} to {means[-1]:.2f} in {len(means)} steps"
    for name in ("accuracy", "pearson"):
        values = [metrics[name] for metrics in evaluations if metrics.get(name) is not None]
        if values:
            text += f"; validation {name} by epoch: {', '.join(f'{value:.2f}' for value in values)}"
    return f"{text}."


def running_mean(values: Any, half_life: float = 5.0) -> Any:
    """Return the exponential moving average, corrected for its start at 0; the half-life is in steps.

    >>> running_mean(np.array([1.0, 1.0])).round(6).tolist()
    [1.0, 1.0]
    """
    import pandas as pd

    return pd.Series(values, dtype=float).ewm(halflife=half_life).mean().to_numpy()


def as_img(figure: Any, alt: str) -> str:
    """Return a figure as an HTML image with alternative text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return f'<img alt="{escape(alt)}" src="{data_uri(buffer.getvalue())}">'


def data_uri(png: bytes) -> str:
    """Return a PNG as a data URI, for the ``src`` of an HTML image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@dataclass(frozen=True)
class Picture:
    """A figure with a sentence that describes it: an image in a notebook, the sentence elsewhere."""

    figure: Any
    alt: str

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        return as_img(self.figure, self.alt)
