"""The page about the embedded data: their content, and how accuracy grows with the number of rows."""

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import ftlab
from benchmarks.record import RESULTS
from ftlab.files import write_text

BOOK = Path(__file__).parent.parent / "book"
STYLES = {
    "majority": ("#8a8a8a", ":", ""),
    "bag of words": ("#8a8a8a", "--", "s"),
    "frozen": ("#E69F00", "-", "^"),
    "fine-tuned": ("#0072B2", "-", "o"),
}
WORDS = {
    "majority": "always the most frequent label",
    "bag of words": "bag of words, logistic regression",
    "frozen": "frozen MiniLM, logistic regression",
    "fine-tuned": "fine-tuned MiniLM",
}
UNNAMED = "Slow and so very gloomy"
"""A test row about a film that does not mention it."""
Bits = npt.NDArray[np.float64]


def recorded() -> Any:
    """Return the recorded learning curve, or None if there is no record yet."""
    file = RESULTS / "learning_curve.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def write() -> None:
    """Write the page and its figure, for the light and the dark theme."""
    found = recorded()
    for name, ink in (("light", "#333333"), ("dark", "#d0d0d0")) if found else ():
        figure(found, ink).savefig(
            BOOK / f"_static/learning_curve_{name}.svg", transparent=True, metadata={"Date": None}
        )
    write_text(BOOK / "data.md", page(found))


def right(found: Any, task: str, method: str, rows: int) -> Bits:
    """Return which test rows were predicted correctly (0 or 1), one row per seed."""
    count = found["test_rows"][task]
    packed = [found["runs"][f"{task} {method} {rows} {seed}"]["right"] for seed in range(found["seeds"])]
    bits = [np.unpackbits(np.frombuffer(base64.b64decode(one), np.uint8))[:count] for one in packed]
    return np.array(bits, dtype=float)


def interval(values: Bits, resamples: int = 2000) -> tuple[float, float, float]:
    """Return the mean with its 95 % bootstrap interval over seeds and test rows.

    >>> [round(one, 2) for one in interval(np.ones((5, 40)))]
    [1.0, 1.0, 1.0]
    """
    chance = np.random.default_rng(0)
    seeds, rows = values.shape
    means = [
        values[chance.integers(0, seeds, seeds)][:, chance.integers(0, rows, rows)].mean() for _ in range(resamples)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def figure(found: Any, ink: str) -> Any:
    """Draw both tasks side by side."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "ftlab", "font.family": "sans-serif"}
    drawn = Figure(figsize=(8.4, 3.6), layout="constrained")
    for axes, task in zip(drawn.subplots(1, 2, sharey=True), ("sentiment", "topic"), strict=True):
        sizes = [int(rows) for rows in found["epochs"]]
        for method, (colour, line, mark) in STYLES.items():
            points = [interval(right(found, task, method, rows)) for rows in sizes]
            axes.plot(sizes, [one[0] for one in points], line, marker=mark, color=colour, label=WORDS[method])
            axes.fill_between(
                sizes, *zip(*(one[1:] for one in points), strict=True), color=colour, alpha=0.18, linewidth=0
            )
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{one:,}" for one in sizes])
        axes.minorticks_off()
        axes.set_ylim(0, 1)
        axes.set_title(task, color=ink)
        axes.set_xlabel("training rows", color=ink)
        axes.tick_params(colors=ink)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(ink)
    drawn.axes[0].set_ylabel("test accuracy", color=ink)
    drawn.axes[0].legend(frameon=False, fontsize="small", labelcolor=ink, loc="lower right")
    return drawn


def table(found: Any, task: str) -> list[str]:
    """Return the table of one task: a row per method, a column per number of rows."""
    sizes = [int(rows) for rows in found["epochs"]]
    lines = [f"| {task} | {' | '.join(f'{one:,} rows' for one in sizes)} |", f"| --- |{' --- |' * len(sizes)}"]
    for method, words in WORDS.items():
        cells = [interval(right(found, task, method, rows)) for rows in sizes]
        shown = " | ".join(f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in cells)
        lines.append(f"| {words} | {shown} |")
    return lines


def gains(found: Any, task: str, other: str) -> str:
    """Return the gain of fine-tuning over another method with all rows, paired by seed and test row."""
    rows = max(int(one) for one in found["epochs"])
    mean, low, high = interval(right(found, task, "fine-tuned", rows) - right(found, task, other, rows))
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def page(found: Any) -> str:
    """Return the page."""
    data = ftlab.load_data("reviews")
    kinds = {name: Counter(names_of(name)) for name in ("reviews", "tricky_reviews")}
    shares = "\n".join(
        f"| {kind} | " + " | ".join(f"{counts[kind] / counts.total():.0%}" for counts in kinds.values()) + " |"
        for kind, _ in kinds["reviews"].most_common()
    )
    return f"""# The data

Four data sets come with ftlab, so that everything works without a network. They were written for this project and are in
the public domain (CC0). The writers and second readers were language models.

## `reviews`

{sum(map(len, data.values())):,} English reviews of books, courses, films, gadgets, hotels and restaurants, half of them
positive: {len(data["train"]):,} to train on, {len(data["validation"])} to validate, {len(data["test"]):,} to test. They
run from two words to sixty, with lower case, typos and exclamation marks where people would have them. Most say plainly
what the writer thinks, and ordinary words mean what they usually mean. The same rows carry three labels:

- `sentiment`: positive or negative;
- `topic`: which of the six kinds of things;
- `phenomenon`: how the opinion is expressed (plain, contrast, negation, mixed, understatement, irony).

```python
data = ftlab.load_data("reviews", task="topic")
```

{curve(found) if found else NOT_YET}

## `tricky_reviews`

1,920 reviews with the same columns, written so that single words mislead: *terrible* stands in positive texts, *loved* in
negative ones. It is a contrast set. A model that looks good on `reviews` can fail here, and
[Which texts does it get wrong?](notebooks/12_which_texts.ipynb) shows how to find that out. Do not take it as a first
training set: a model that learns from it learns that *loved* is a bad sign.

| phenomenon | `reviews` | `tricky_reviews` |
| --- | --- | --- |
{shares}

## `pairs`

330 pairs of sentences with a similarity from 0 to 5, the mean of two graders. They measure what a model knows about
meaning, and so what fine-tuning makes it forget (`ftlab.check_similarity`).

## `behaviour`

308 checks in the style of CheckList: plain sentences that a sentiment model must get right, changes that must not matter,
and changes that must. `ftlab.check_behaviour(run)` gives the share passed for each kind, with the failures.
"""


NOT_YET = """## How much data does fine-tuning need?

`python -m benchmarks.learning_curve` measures test accuracy against the number of training rows for a majority vote, a bag of
words, the frozen model and the fine-tuned one. It has not been recorded yet."""


def curve(found: Any) -> str:
    """Return the section with the learning curve."""
    reached = {task: interval(right(found, task, "fine-tuned", 2000)) for task in ("sentiment", "topic")}
    return f"""## How much data does fine-tuning need?

The curves show test accuracy against the number of training rows for four ways to learn, from {found["seeds"]} seeds each.
Every seed draws its own training rows. The bands are 95 % intervals over seeds and test rows.

```{{image}} _static/learning_curve_light.svg
:class: only-light
:alt: {alt(found)}
```
```{{image}} _static/learning_curve_dark.svg
:class: only-dark
:alt: {alt(found)}
```

{chr(10).join(table(found, "sentiment"))}

{chr(10).join(table(found, "topic"))}

Read the curves from left to right. With 16 rows fine-tuning has learned little: on sentiment it is close to a coin, and on
topic the frozen vectors do better, since all-MiniLM-L6-v2 was trained to tell what texts are about. With 1,000 rows
fine-tuning is ahead on both. With 2,000 rows it reaches {reached["sentiment"][0]:.3f} on sentiment and
{reached["topic"][0]:.3f} on topic. The differences to the other methods, on the same rows and with the same seeds:

| with 2,000 rows | sentiment | topic |
| --- | --- | --- |
| fine-tuned minus bag of words | {gains(found, "sentiment", "bag of words")} | {gains(found, "topic", "bag of words")} |
| fine-tuned minus frozen | {gains(found, "sentiment", "frozen")} | {gains(found, "topic", "frozen")} |

Topic is the harder task, although its frozen vectors start ahead. Some reviews never name what they are about: "{UNNAMED}"
could be a book or a film, and the bag of words has seen few of the nouns in the test rows.

The fine-tuned model used lr 1e-4, batches of 16, gradient clipping at 1, 10 % warm-up and linear decay. The number of
epochs depends on the rows ({", ".join(f"{int(rows):,} rows: {epochs}" for rows, epochs in found["epochs"].items())}). These
settings were chosen once and not tuned for any point of the curve. `python -m benchmarks.learning_curve` makes the
numbers again; the record is `benchmarks/results/learning_curve.json`."""


def alt(found: Any) -> str:
    """Return a sentence that describes the figure."""
    said = []
    for task in ("sentiment", "topic"):
        few, many = (interval(right(found, task, "fine-tuned", rows))[0] for rows in (16, 2000))
        said.append(f"{task} from {few:.2f} with 16 rows to {many:.2f} with 2,000")
    return f"Test accuracy of the fine-tuned model grows with the training rows: {', '.join(said)}."


def names_of(name: str) -> list[str]:
    """Return the phenomenon of every row of an embedded set."""
    data = ftlab.load_data(name, task="phenomenon")
    return [rows.features["label"].int2str(label) for rows in data.values() for label in rows["label"]]
