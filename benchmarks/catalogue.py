"""Every strategy of ftlab, collected from the package, and the page that lists them."""

import inspect
import json
import re
import statistics
from dataclasses import dataclass, field
from typing import Any

import ftlab
from benchmarks.record import RESULTS
from ftlab.display.formula_card import formula, source_and_departure
from ftlab.experiments.conformance import every_rule
from ftlab.losses.adversarial import FreeLB, Smart
from ftlab.losses.classification import CrossEntropy, Focal, RDrop
from ftlab.losses.contrastive import SupervisedContrastive
from ftlab.recipes.catalogue import functions
from ftlab.rule import Finish, GradientRule, Penalty, Prepare, Project, Schedule
from ftlab.training import optimizers

KINDS = {
    Prepare: "θ₀, once before the first update",
    Penalty: "Ω, added to the loss",
    GradientRule: "G, the gradient before the optimizer sees it",
    Schedule: "α, the learning rate",
    Project: "Π, the parameters after an update",
    Finish: "θ*, once after the last update",
}


@dataclass(frozen=True)
class Entry:
    """One strategy: its name, what it does, and the arguments with which a run uses it, if a single run can."""

    group: str
    name: str
    formula: str
    words: str
    source: str
    arguments: dict[str, Any] | None = field(default=None, compare=False)


def entries() -> list[Entry]:
    """Return every rule, optimizer, loss and step, in the order of the page."""
    found = []
    for kind, group in KINDS.items():
        for rule in every_rule():
            if next(one for one in KINDS if isinstance(rule, one)) is kind:
                source = source_of(inspect.getmodule(type(rule)), type(rule))
                words = rule.description[0].upper() + rule.description[1:]
                rate = {"lr": RATES[type(rule).__name__]} if type(rule).__name__ in RATES else {}
                found.append(Entry(group, repr(rule), f"`{rule.equation}`", words, source, {"recipe": [rule]} | rate))
    for name, stem in OPTIMIZERS.items():
        arguments = {"optimizer": name, "lr": RATES[name]}
        if name == "signsgd":
            found.append(Entry("opt, the optimizer", name, SIGNSGD, SIGNSGD_WORDS, SIGNSGD_SOURCE, arguments))
        elif name in optimizers.NAMES:
            found.append(from_formula("opt, the optimizer", name, stem, arguments))
    for loss, stem in LOSSES:
        found.append(from_formula("J, the loss", repr(loss), stem, {"loss": loss}))
    found.append(from_formula("J, the loss", "Distill(teacher)", "distill"))
    found.append(from_formula("The step itself", "SAM(rho=0.05)", "sam", {"step": ftlab.SAM(0.05)}))
    found.append(from_formula("Beside a run", "soup(runs)", "uniform_soup"))
    found.append(from_docstring("Beside a run", "greedy_soup(runs)", ftlab.greedy_soup, found[-1].formula))
    found.append(from_docstring("Beside a run", "find_lr(model, batches)", ftlab.find_lr, RISING))
    return found


def measurable() -> list[Entry]:
    """Return the entries that a single run can use."""
    return [entry for entry in entries() if entry.arguments is not None]


RISING = r"$\alpha_i = \alpha_0\left(\alpha_{n-1} / \alpha_0\right)^{i/(n-1)}$"
"""The learning rates of the range test."""
SIGNSGD = r"$\theta_t = \theta_{t-1} - \alpha\,\mathrm{sign}(g_t)$"
SIGNSGD_WORDS = "Move every entry by the same length, against the sign of its gradient"
SIGNSGD_SOURCE = 'Bernstein et al. 2018, "signSGD", arXiv 1802.04434'
"""signSGD is Signum without a running mean, so it has no function of its own."""
OPTIMIZERS = {
    "sgd": "gradient_descent",
    "signsgd": "signsgd",
    "signum": "signum",
    "lion": "lion",
    "adabound": "adabound",
}
"""The formula of each optimizer, by name."""
RATES = {"sgd": 1e-1, "signsgd": 4e-5, "signum": 4e-5, "lion": 4e-5, "adabound": 2e-4, "BitFit": 2e-3, "LoRA": 2e-3}
"""Learning rates other than the default. A sign step is as long as its rate, so it takes a smaller one; plain gradient
descent takes a larger one, and so do rules that train few of the parameters."""
LOSSES = (
    (CrossEntropy(smoothing=0.1), "cross_entropy"),
    (Focal(), "focal"),
    (RDrop(), "r_drop"),
    (SupervisedContrastive(), "contrastive"),
    (Smart(), "smart"),
    (FreeLB(), "free_lb"),
)
"""Losses with usual arguments, and their formulas; ``Distill`` needs a teacher, so it is not here."""


def from_formula(group: str, name: str, function: str, arguments: dict[str, Any] | None = None) -> Entry:
    """Return the entry of a strategy that is not a rule, from the docstring of its formula."""
    found = formula(functions()[function])
    mathematics = found.mathematics.replace("|", r"\vert ")
    return Entry(group, name, f"${mathematics}$", found.sentence.rstrip("."), found.source, arguments)


def from_docstring(group: str, name: str, function: Any, mathematics: str) -> Entry:
    """Return the entry of a function that is neither a rule nor a formula, from its docstring."""
    text = inspect.getdoc(function) or ""
    return Entry(group, name, mathematics, text.partition("\n")[0].rstrip("."), source_and_departure(text)[0])


def source_of(module: Any, cls: type) -> str:
    """Return the source of a rule, from its docstring or else from a formula in the same module."""
    beside = [one for one in vars(module).values() if inspect.isfunction(one) and one.__module__ == module.__name__]
    beside.sort(key=lambda one: one.__name__.replace("_", "") != cls.__name__.lower())
    return next(
        (source for one in (cls, *beside) if (source := source_and_departure(inspect.getdoc(one) or "")[0])), ""
    )


def results(name: str) -> dict[str, Any]:
    """Return a recorded result, or an empty dictionary."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def page() -> str:
    """Return the page: one table for each place in the equation, with the recorded costs."""
    recorded = results("cost-fp32") or results("cost")
    costs = recorded.get("costs", {})
    plain = [one["plain_ms"] for one in costs.values() if "plain_ms" in one and "added_ms" in one]
    took = f"; a plain update takes about {statistics.median(plain):.0f} ms" if plain else ""
    lines = [
        "# Strategies", "",
        "Everything that a recipe, a loss or an optimizer can name, one table for each place in the equation of an update.",
        "Each row gives the words that `explain` prints, how the strategy is written, its formula and its source.", "",
        "*Cost* is the time that a strategy adds to one update of 32 reviews with the embedded model, in milliseconds:",
        "the median, and in brackets the middle half, of updates timed in turns with and without it",
        f"({recorded.get('device', 'not measured')}{took}). Where the",
        "middle half includes 0, no cost was detected. Strategies that work once, before or after the training, or beside",
        "a run, cost nothing in an update. A cell is empty where nothing was measured.", "",
        "The page does not rank strategies by accuracy. That takes a fair comparison, in which every strategy gets the same",
        "number of tries at its settings; the numbers of an untuned comparison say more about the settings than about the",
        "strategies.",
    ]  # fmt: skip
    group = ""
    for entry in entries():
        if entry.group != group:
            group = entry.group
            lines += ["", f"## {group}", ""]
            lines += ["| what it does, and as it is written | formula | cost, ms | source |"]
            lines += ["| --- | --- | ---: | --- |"]
        cost = costs.get(entry.name, {}).get("added_ms")
        added = f"{cost[0]:+.0f} ({cost[1]:+.0f} to {cost[2]:+.0f})" if cost else ""
        rate = f" at lr {entry.arguments['lr']:g}" if "lr" in (entry.arguments or {}) else ""
        cells = (f"{escaped(entry.words)}: `{entry.name}`{rate}", entry.formula, added, escaped(entry.source))
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text with asterisks and underscores escaped, except in code.

    >>> escaped("Keep *.embeddings.* in ``a_b``")
    'Keep \\\\*.embeddings.\\\\* in `a_b`'
    """
    parts = text.replace("``", "`").split("`")
    return "`".join(re.sub(r"([*_])", r"\\\1", part) if index % 2 == 0 else part for index, part in enumerate(parts))
