"""Every strategy that ftlab has, read off the package itself, and the page that lists them."""

import inspect
import json
from dataclasses import dataclass, field
from typing import Any

import ftlab
from benchmarks.record import RESULTS
from ftlab import formulas, losses, optimizers
from ftlab.contract import every_rule
from ftlab.docstrings import formula, said_of
from ftlab.rule import Finish, GradientRule, Penalty, Prepare, Project, Schedule

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
    """One strategy: what it is called, what it does, and how a run is told to use it, if a single run can."""

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
                words = rule.sentence[0].upper() + rule.sentence[1:]
                rate = {"lr": RATES[type(rule).__name__]} if type(rule).__name__ in RATES else {}
                found.append(Entry(group, repr(rule), f"`{rule.equation}`", words, source, {"recipe": [rule]} | rate))
    for name, stem in OPTIMIZERS.items():
        if name in optimizers.NAMES:
            found.append(from_formula("opt, the optimizer", name, stem, {"optimizer": name, "lr": RATES[name]}))
    for loss, stem in LOSSES:
        found.append(from_formula("J, the loss", repr(loss), stem, {"loss": loss}))
    found.append(from_formula("J, the loss", "Distill(teacher)", "distill"))
    found.append(from_formula("The step itself", "SAM(rho=0.05)", "sam", {"step": ftlab.SAM(0.05)}))
    found.append(from_formula("Beside a run", "soup(runs)", "mean_of"))
    found.append(from_docstring("Beside a run", "greedy_soup(runs)", ftlab.greedy_soup, found[-1].formula))
    found.append(from_docstring("Beside a run", "find_rate(model, batches)", ftlab.find_rate, RISING))
    return found


def measurable() -> list[Entry]:
    """Return the entries that a single run can use."""
    return [entry for entry in entries() if entry.arguments is not None]


RISING = r"$\alpha_i = \alpha_0\left(\alpha_{n-1} / \alpha_0\right)^{i/(n-1)}$"
"""The rates of the learning-rate range test."""
OPTIMIZERS = {
    "sgd": "gradient_descent",
    "signsgd": "signum",
    "signum": "signum",
    "lion": "lion",
    "adabound": "adabound",
}
"""Which formula an optimizer's name stands for."""
RATES = {"sgd": 1e-1, "signsgd": 4e-5, "signum": 4e-5, "lion": 4e-5, "adabound": 2e-4, "BitFit": 2e-3, "LoRA": 2e-3}
"""Sign steps are as long as their rate, so they take a smaller one; plain descent takes a greater, and so do rules that
train few of the parameters."""
LOSSES = (
    (losses.CrossEntropy(smoothing=0.1), "cross_entropy"),
    (losses.Focal(), "focal"),
    (losses.RDrop(), "r_drop"),
    (losses.SupervisedContrastive(), "contrastive"),
    (losses.Smart(), "smart"),
    (losses.FreeLB(), "free_lb"),
)
"""Losses as they would usually be written, with their formulas; ``Distill`` needs a teacher."""


def from_formula(group: str, name: str, function: str, arguments: dict[str, Any] | None = None) -> Entry:
    """Return the entry of what is no rule, from its formula's docstring."""
    found = formula(getattr(formulas, function))
    mathematics = found.mathematics.replace("|", r"\vert ")
    return Entry(group, name, f"${mathematics}$", found.sentence.rstrip("."), found.source, arguments)


def from_docstring(group: str, name: str, function: Any, mathematics: str) -> Entry:
    """Return the entry of what is neither a rule nor a formula, from its own docstring."""
    text = inspect.getdoc(function) or ""
    return Entry(group, name, mathematics, text.partition("\n")[0].rstrip("."), said_of(text)[0])


def source_of(module: Any, cls: type) -> str:
    """Return where a rule comes from: from its own docstring, else from the formulas beside it."""
    beside = [one for one in vars(module).values() if inspect.isfunction(one) and one.__module__ == module.__name__]
    beside.sort(key=lambda one: one.__name__.replace("_", "") != cls.__name__.lower())
    return next((source for one in (cls, *beside) if (source := said_of(inspect.getdoc(one) or "")[0])), "")


def results(name: str) -> dict[str, Any]:
    """Return a recorded result, or nothing."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def page() -> str:
    """Return the page: one table a place in the equation, costs and accuracies as they were recorded."""
    costs, reached = results("cost").get("costs", {}), results("strategies")
    lines = [
        "# Strategies", "",
        "One table for each place in the equation of an update. *Cost*: milliseconds that it adds to one update of 32",
        f"reviews with the embedded model ({results('cost').get('device', 'not measured')}). *Difference*: test accuracy",
        f"with minus without, mean and 95 % interval over {reached.get('seeds', 0)} paired seeds",
        f"({reached.get('data', 'not measured')}). With so few seeds an interval that holds 0 says little; what lies",
        "clearly below 0 hurts. What no single run can use has neither number. This page is made by `python -m benchmarks.strategies --page`.",
    ]  # fmt: skip
    group = ""
    for entry in entries():
        if entry.group != group:
            group = entry.group
            lines += ["", f"## {group}", ""]
            lines += ["| what it does, and as it is written | formula | cost, ms | difference | source |"]
            lines += ["| --- | --- | ---: | --- | --- |"]
        cost, found = costs.get(entry.name), reached.get("strategies", {}).get(entry.name, {})
        added = f"{cost['with_ms'] - cost['plain_ms']:+.0f} of {cost['plain_ms']:.0f}" if cost else ""
        difference = f"{found['mean']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})" if "mean" in found else ""
        difference = "diverged" if "diverged" in found else difference
        rate = f" at lr {entry.arguments['lr']:g}" if "lr" in (entry.arguments or {}) else ""
        cells = (f"{entry.words}: `{entry.name}`{rate}", entry.formula, added, difference, entry.source)
        lines.append(f"| {' | '.join(cell.replace('|', '∣') for cell in cells)} |")
    return "\n".join(lines) + "\n"
