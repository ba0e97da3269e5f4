# %% [markdown]
# # 4. Learning-rate decay
#
# One factor, α ← α·γ, and one question that the article leaves open: how often do you multiply? You will see how much
# depends on the answer. You will also see when a schedule, which is a rule for how the learning rate changes during a
# run, can rescue that run.
#
# **When you are through** (about 60 minutes to read and work through, about 2 minutes to run) you can
#
# - turn a γ per epoch into a γ per update, and say after how many updates the learning rate is halved;
# - say when a run needs a schedule, and recognise a run that its decay has stopped too early;
# - compare two schedules fairly.
#
# You need [chapter 1](01_cross_entropy.ipynb), which explains power, and [chapter 2](02_gradient_descent.ipynb), which
# explains gradient descent and AdamW.
#
# **Formulas:** `decay`, `step_decay`, `warmup`, `slanted_triangular`, `plateau`, `clip_rate`, `adabound`, `layerwise_decay`, `gradual_unfreezing`

# %%
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd
import torch
import transformers
from datasets import DatasetDict
from matplotlib.figure import Figure
from torch.optim import lr_scheduler

import ftlab
from ftlab import (
    ClipRate,
    Decay,
    Plateau,
    Schedule,
    StepDecay,
    WarmupCosine,
    WarmupLinear,
    explore,
    slider,
)
from ftlab.display.plots import BLUE, GREY, ORANGE, Picture, running_mean
from ftlab.experiments.paired import Paired
from ftlab.formulas.decay import decay
from ftlab.rule import Now

# %% [markdown]
# ## Why
#
# A training step does not see the true gradient. It sees the gradient of a few rows, which is the true gradient plus
# noise. To find out what the noise does, take the simplest loss there is, $J = \frac12\theta^2$. It has its minimum at
# θ = 0, and its gradient is θ. To every gradient we add a random number with mean 0 and variance 1. We start at θ = 10.
#
# One step with the learning rate α changes the mean $m$ and the variance $v$ of θ like this, exactly:
#
# $$
# m \leftarrow (1-\alpha)\,m, \qquad v \leftarrow (1-\alpha)^2\,v + \alpha^2, \qquad
# \mathbb{E}\,J = \tfrac12\,(m^2+v)
# $$

# %%


def expected(rates, start=10.0):
    """Return the expected loss before the first and after every step."""
    mean, variance, losses = start, 0.0, [start**2 / 2]
    for rate in rates:
        mean, variance = (1 - rate) * mean, (1 - rate) ** 2 * variance + rate**2
        losses.append((mean**2 + variance) / 2)
    return losses


def one_run(rates, seed=0, start=10.0):
    """Return the losses of one run with noise."""
    chance = torch.Generator().manual_seed(seed)
    theta, losses = start, [start**2 / 2]
    for rate in rates:
        noise = torch.randn((), generator=chance, dtype=torch.float64).item()
        theta -= rate * (theta + noise)
        losses.append(theta**2 / 2)
    return losses


WAYS = {
    "constant 0.5": [0.5] * 120,
    "constant 0.02": [0.02] * 120,
    "0.5, times 0.96 a step": [decay(0.5, 0.96, step) for step in range(120)],
}
for name, rates in WAYS.items():
    print(f"{name:23} expected loss after 120 steps {expected(rates)[-1]:.4f}")

# %% tags=["hide-input"]
figure = Figure(figsize=(7, 3.2), layout="constrained", facecolor="white")
axes = figure.subplots()
styles = zip((ORANGE, GREY, BLUE), ("--", ":", "-"), strict=True)
for (name, rates), (colour, line) in zip(WAYS.items(), styles, strict=True):
    axes.plot(one_run(rates), color=colour, linewidth=0.6, alpha=0.6)
    axes.plot(expected(rates), color=colour, linestyle=line, linewidth=2, label=name)
axes.set(xlabel="step", ylabel="loss", yscale="log", ylim=(1e-4, 100))
axes.legend(frameon=False, fontsize="small", ncols=3, loc="upper right")
axes.spines[["top", "right"]].set_visible(False)
Picture(
    figure,
    "With the constant learning rate 0.5 the expected loss falls in a few steps and "
    "then stays at 0.17; with 0.02 it is still falling after 120 steps; with the "
    "decaying learning rate it falls as fast as the first and goes on below 0.01.",
)

# %% tags=["hide-cell"]
ends = [expected(rates)[-1] for rates in WAYS.values()]
assert round(expected(WAYS["constant 0.5"])[30], 2) == round(ends[0], 2) == 0.17
assert expected(WAYS["constant 0.02"])[-1] < expected(WAYS["constant 0.02"])[-2]
assert ends[2] < 0.01 < 0.1 * min(ends[:2])

# %% [markdown]
# The thick lines are expected losses, and each thin line is one run. With the constant learning rate 0.5 the loss falls
# fast and then stops at 0.17, because each step brings in as much new noise as it removes. With 0.02 there is less
# noise, but θ needs a long time to arrive. The decaying learning rate takes **large steps first and small steps
# later**, and so ends below both. This is what the article's formula (4) is for.
#
# The calculation is exact. Here is a check by simulation: the mean loss of 20,000 runs with the learning rate 0.5.

# %%
chance = torch.Generator().manual_seed(0)
theta = torch.full((20000,), 10.0, dtype=torch.float64)
for rate in WAYS["constant 0.5"]:
    noise = torch.randn(20000, generator=chance, dtype=torch.float64)
    theta = theta - rate * (theta + noise)
simulated = (theta.square() / 2).mean().item()
print(f"after 120 steps: simulated {simulated:.2f}, calculated {ends[0]:.2f}")

# %% tags=["hide-cell"]
assert abs(simulated / ends[0] - 1) < 0.03

# %% [markdown]
# ## The formula

# %%
ftlab.formula(decay)

# %% [markdown]
# With γ = 1 the learning rate stays constant, and above 1 it grows. The closer γ is to 0, the sooner the run comes to a
# standstill. After $\log\frac12/\log\gamma$ steps half of the learning rate is left. This number of steps is the
# **half-life**.
#
# What is a step here? It may be an update or an epoch, and the same γ then means two very different things:

# %%
print(
    f"γ = 0.9 per epoch: after 3 epochs {decay(1.0, 0.9, 3):.3f} of the learning rate"
)
print(f"γ = 0.9 per update: after 100 updates {decay(1.0, 0.9, 100):.1e} of it")
print(f"half-life of γ = 0.9: {math.log(1 / 2) / math.log(0.9):.2f} epochs, or updates")
for updates in (35, 1000):
    per_update = 0.9 ** (1 / updates)
    print(f"{updates:4} updates an epoch: 0.9 per epoch is {per_update:.6f} per update")

# %% tags=["hide-cell"]
assert math.isclose(decay(1.0, 0.9, 3), 0.729)
assert f"{decay(1.0, 0.9, 100):.1e}" == "2.7e-05"
assert math.isclose((0.9 ** (1 / 35)) ** 35, 0.9)

# %% [markdown]
# This is why the rule `Decay` must be told what a step is. It warns you when γ looks like a value meant for the other
# kind of step:

# %%
print(ftlab.explain([Decay(0.9, per="step")]))

# %% [markdown]
# ### How far can the run still go?
#
# Adam's first step moves every weight by about α. Suppose that every update moved a weight by the full learning rate and
# always in the same direction. Then the weight would travel the sum of all learning rates. With decay this sum has a
# limit, because it is a geometric series:
#
# $$
# \sum_{t=0}^{\infty}\alpha_0\,\gamma^t = \frac{\alpha_0}{1-\gamma}
# $$

# %%
for gamma in (0.9, 0.99, 0.999):
    worth = 1 / (1 - gamma)
    print(
        f"γ = {gamma:<5} per update: the whole run is worth {worth:4.0f} first updates"
    )
used = 1 - 0.9**44
print(f"γ = 0.9: the first 44 updates use up {used:.0%} of that")

# %% tags=["hide-cell"]
assert 0.99 < used < 0.995

# %% [markdown]
# With γ = 0.9 per update, a run of any length takes the weight no farther than ten updates at the first learning rate
# would.
#
# ## By hand
#
# Start with α₀ = 8·10⁻⁵ and γ = ½. Three steps on paper give 4, 2 and 1 (times 10⁻⁵).
#
# Where does the noisy loss stop if the learning rate is constant? It stops where the variance no longer changes:
# $v = (1-\alpha)^2 v + \alpha^2$, so $v = \frac{\alpha}{2-\alpha}$. For α = ½ the variance is ⅓ and the loss is ⅙.

# %%
for steps, on_paper in ((1, 4e-5), (2, 2e-5), (3, 1e-5)):
    by_function = decay(8e-5, 0.5, steps)
    print(f"after {steps} steps: on paper {on_paper:.0e}, function {by_function:.0e}")
    assert math.isclose(by_function, on_paper)
print(f"a constant 1/2: on paper {1 / 6:.4f}, after 120 steps {ends[0]:.4f}")
assert math.isclose(ends[0], 1 / 6)

# %% [markdown]
# ## Against torch
#
# A schedule needs no model: it gives the learning rate of every update once it knows how many updates there are in the
# run and in one epoch. So we can compare whole runs with the schedulers of torch and transformers, here 60 or 120
# updates each.

# %%


def rates_of(rule, steps, per_epoch, evaluations=()):
    """Return a rule's learning rate of every update, as a share of the peak."""
    moments = [
        Now(step=step, steps=steps, steps_per_epoch=per_epoch, evaluations=evaluations)
        for step in range(steps)
    ]
    return [rule.schedule({"w": 1.0}, None, now)[0]["w"] for now in moments]


def after_losses(rule, losses, per_epoch=20):
    """Return the same of a rule that sees one more validation loss in each epoch."""
    rates = []
    for epoch in range(len(losses)):
        seen = tuple({"loss": loss} for loss in losses[:epoch])
        rates += per_epoch * rates_of(rule, 1, per_epoch, seen)
    return rates


# %% tags=["hide-input"]
def by_torch(make, steps=60, per_epoch=20, losses=None):
    """Return the rates of a torch scheduler that is asked after every epoch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % per_epoch == 0:
            scheduler.step(*([] if losses is None else [losses[step // per_epoch]]))
    return rates


def exponential(optimizer):
    return lr_scheduler.ExponentialLR(optimizer, 0.9)


def stairs(optimizer):
    return lr_scheduler.StepLR(optimizer, 2, 0.5)


def waiting(optimizer):
    return lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)


def linear(optimizer):
    return transformers.get_linear_schedule_with_warmup(optimizer, 7, 61)


def cosine(optimizer):
    return transformers.get_cosine_schedule_with_warmup(optimizer, 7, 61)


seen_losses = [0.7, 0.5, 0.6, 0.6, 0.4, 0.4]
twins = {
    "Decay per epoch | ExponentialLR": (
        rates_of(Decay(0.9, per="epoch"), 60, 20),
        by_torch(exponential),
    ),
    "Decay per step | ExponentialLR": (
        rates_of(Decay(0.9, per="step"), 60, 20),
        by_torch(exponential, per_epoch=1),
    ),
    "StepDecay | StepLR": (
        rates_of(StepDecay(0.5, every=2), 60, 10),
        by_torch(stairs, per_epoch=10),
    ),
    "Plateau | ReduceLROnPlateau": (
        after_losses(Plateau(0.1, patience=0), seen_losses),
        by_torch(waiting, 120, losses=seen_losses),
    ),
    "WarmupLinear | transformers, from its 2nd update": (
        rates_of(WarmupLinear(0.1), 60, 20),
        by_torch(linear, 61, 1)[1:],
    ),
    "WarmupCosine | transformers, from its 2nd update": (
        rates_of(WarmupCosine(0.1), 60, 20),
        by_torch(cosine, 61, 1)[1:],
    ),
}
rows = []
for name, (ours, theirs) in twins.items():
    apart = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    assert apart < 1e-12
    ftlab_name, torch_name = name.split(" | ")
    columns = [len(ours), f"{ours[30]:.6f}", f"{theirs[30]:.6f}", round(apart, 12)]
    rows.append([ftlab_name, torch_name, *columns])
titles = ["ftlab", "torch", "updates", "31st, ftlab", "31st, torch"]
pd.DataFrame(rows, columns=[*titles, "largest difference"]).set_index("ftlab")

# %%
print(f"the first rate of transformers' warm-up: {by_torch(linear, 1, 1)[0]}")
print(f"the first rate of WarmupLinear: {rates_of(WarmupLinear(0.1), 60, 20)[0]:.3f}")

# %% [markdown]
# A **warm-up** lets the learning rate rise from a low value at the start of a run. In transformers it begins with the
# learning rate 0, so the first batch changes nothing. ftlab counts from 1. Apart from this shift by one update, the
# schedules are the same.
#
# ## Explore
#
# This is the noisy loss from the beginning of the page, with the start θ = 10 and α₀ = 0.5. You choose γ per step and the
# number of steps. Before you move a slider, guess: does γ = 0.7 reach the goal if it has enough steps?

# %% tags=["hide-input"]


def chosen(gamma, steps):
    return [decay(0.5, gamma, step) for step in range(steps)]


def draw(gamma, steps):
    rates = chosen(gamma, steps)
    end, left = expected(rates)[-1], 10 * math.prod(1 - rate for rate in rates)
    colour = BLUE if end <= 0.05 else ORANGE
    figure = Figure(figsize=(6, 3.1), facecolor="white")
    axes = figure.add_axes((0.12, 0.17, 0.85, 0.79))
    axes.plot(one_run(rates), ".", color=GREY, markersize=3, label="one run")
    axes.plot(expected(rates), color=colour, linewidth=2, label="expected")
    axes.axhline(0.05, color="black", linestyle="--", linewidth=1, label="goal, 0.05")
    axes.set(xlabel="step", ylabel="loss", yscale="log")
    axes.set(xlim=(0, 1.03 * steps), ylim=(1e-4, 100))
    axes.legend(frameon=False, fontsize="small", loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    said = (
        f"Expected loss at the end {end:.3f}: {left**2 / 2:.3f} because θ has not "
        f"arrived, {end - left**2 / 2:.3f} because of noise."
    )
    return figure, f"{said} {'Goal reached.' if end <= 0.05 else 'Not there yet.'}"


GAMMAS = [0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0]
STEPS = [5, 10, 20, 40, 80, 160, 320]
explore(
    draw,
    goal="end with an expected loss of at most 0.05",
    gamma=slider(GAMMAS, start=0.98),
    steps=slider(STEPS, start=40),
)

# %% [markdown]
# With γ = 1 no number of steps is enough, because the noise stays. With γ = 0.7 no number is enough either, because the
# run comes to a standstill before it has arrived. The more steps you have, the closer γ may be to 1:

# %%
reached = {
    steps: [gamma for gamma in GAMMAS if expected(chosen(gamma, steps))[-1] <= 0.05]
    for steps in STEPS
}
for steps, good in reached.items():
    print(f"{steps:3} steps: γ = {', '.join(map(str, good)) or 'none of them'}")

# %% tags=["hide-cell"]
assert not any({0.7, 1.0} & set(good) for good in reached.values())
assert reached[40]
assert max(reached[320]) > max(reached[40])

# %% [markdown]
# The article says that decay avoids "premature convergence and oscillation". Decay does reduce the oscillation. But
# coming to a standstill before the minimum *is* premature convergence, and a γ that is too small causes it.
#
# ## On the real model
#
# A schedule matters when a run has time to get near a minimum, but its learning rate is too high to settle there. So we
# give MiniLM four epochs of 15 updates. The **peak** is the highest learning rate of a run. We use a usual peak,
# 2·10⁻⁴, and one that is five times as high, 10⁻³.
#
# ### A recorded experiment
#
# All schedules with several seeds take too long for a page. So we ran them once, with `python -m benchmarks.schedules`,
# and recorded the results. The task is `topic`. Each seed draws its own 240 training reviews (of at most 20 words), its
# own new head and its own order of the rows, and all schedules with that seed share them. All runs are measured on the
# same 300 test reviews.

# %%
RECORD = Path("../benchmarks/results/schedules.json")
HIGH, USUAL = 1e-3, 2e-4
recorded_runs = []
if RECORD.exists():
    kept = json.loads(RECORD.read_text(encoding="utf-8"))
    recorded_runs = [one for one in kept["runs"] if one["peak"] in (HIGH, USUAL)]
    seeds = sorted({one["seed"] for one in recorded_runs})
    print(f"{len(recorded_runs)} runs with the seeds {', '.join(map(str, seeds))}")
    print(f"always the most frequent topic: accuracy {kept['majority']:.3f}")
else:
    print(
        "The record is missing here; it lies in benchmarks/results of the repository."
    )

# %% tags=["hide-input"]
CONSTANT, LINEAR, FAST = "constant", "WarmupLinear(0.1)", "Decay(0.9, per='step')"


def recorded(peak, course, measure="accuracy"):
    """Return what the runs with one schedule gave, by seed."""
    runs = [one for one in recorded_runs if one["peak"] == peak]
    return {one["seed"]: one[measure] for one in runs if one["course"] == course}


def gain(course, other):
    """Compare two arms, each a peak and a schedule, in pairs of the same seed."""
    first, second = recorded(*course), recorded(*other)
    both = sorted(first.keys() & second.keys())
    differences = [first[seed] - second[seed] for seed in both]
    return Paired.of(differences) if len(both) > 1 else None


def in_words(found):
    """Return a mean difference with its 95 % interval."""
    if found is None:
        return "one pair only"
    return f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def table(peak):
    """Return what came of each schedule at this peak."""
    rows = {}
    runs = [one for one in recorded_runs if one["peak"] == peak]
    for name in dict.fromkeys(one["course"] for one in runs):
        found = gain((peak, name), (peak, CONSTANT))
        totals, scores = (recorded(peak, name, m) for m in ("rates", "accuracy"))
        rows[name] = {
            "sum of rates, in peaks": f"{fmean(totals.values()):.1f}",
            "seeds": len(scores),
            "accuracy": f"{fmean(scores.values()):.3f}",
            "minus constant": "" if name == CONSTANT else in_words(found),
            "log loss": f"{fmean(recorded(peak, name, 'loss').values()):.2f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


table(HIGH)

# %% [markdown]
# This table is for the **high peak**, 10⁻³. "Sum of rates, in peaks" is the sum of all learning rates of a run, divided
# by the peak. "Log loss" is the cross-entropy on the test reviews. "Minus constant" is the mean difference in accuracy
# from the constant learning rate with the same seeds, and its 95 % interval over seeds. With so few seeds the intervals
# are wide. "Warm-up only" rises like `WarmupLinear(0.1)` and then stays at the peak; `WarmupLinear(0.0)` falls without
# rising first.
#
# - **Decay rescues the run.** With the constant learning rate the model gets about a quarter of the reviews right, and
#   with one of the seeds it does no better than the most frequent topic. With `WarmupLinear(0.1)` it gets about seven in
#   ten, and the interval of the difference lies above 0.
# - The decay does the work here, not the warm-up. The straight line without warm-up is also clearly better than the
#   constant learning rate. For warm-up alone the interval includes 0: its seeds differ so much that three of them decide
#   nothing.
# - The fastest decay, 0.9 per update, does well. Its learning rates add up to a sixth of what the constant ones add up
#   to, and at this high peak that is enough.
#
# Now the same at the **usual peak**, 2·10⁻⁴:

# %% tags=["hide-input"]
table(USUAL)

# %% tags=["hide-input"]
for peak, words in ((USUAL, "the same peak"), (HIGH, "the high peak")):
    if found := gain((peak, LINEAR), (USUAL, CONSTANT)):
        print(f"{LINEAR} at {words} minus constant at the usual one:")
        print(f"  {in_words(found)}, detectable with 80 % power: {found.mde():.3f}")

# %% [markdown]
# - At this peak the constant learning rate works too. `WarmupLinear(0.1)` differs from it by a few hundredths, and the
#   interval includes 0. The first comparison above also says how large a true difference must be for these pairs to show
#   it with 80 % power; a smaller one may exist.
# - The same γ = 0.9 per update that did well at the high peak now **stops the run short**: its log loss is far higher
#   than that of the constant learning rate. A γ is neither good nor bad by itself. What counts is the sum of all
#   learning rates, which limits how far the run can go.
# - In the second comparison each schedule has a peak that it can use: warm-up with linear decay has the high one, and
#   the constant learning rate has the usual one. Now the large gap is gone. "It got better with decay" may only mean
#   that the peak was too high for a run without decay. **Compare two schedules at the peak that suits each.**

# %% tags=["hide-input"]
figure = Figure(figsize=(7.6, 3.3), layout="constrained", facecolor="white")
axes_of = dict(zip((HIGH, USUAL), figure.subplots(1, 2, sharey=True), strict=True))
lines = {CONSTANT: (ORANGE, "--"), LINEAR: (BLUE, "-"), FAST: (GREY, ":")}
for peak, axes in axes_of.items():
    for name, (colour, line) in lines.items():
        batches = zip(*recorded(peak, name, "trained").values(), strict=True)
        mean = running_mean([fmean(batch) for batch in batches])
        axes.plot(mean, color=colour, linestyle=line, linewidth=2, label=name)
    axes.set(title=f"peak {peak:g}", xlabel="update", ylim=(0, 2))
    axes.spines[["top", "right"]].set_visible(False)
axes_of[HIGH].set(ylabel="training loss, mean of the seeds")
axes_of[USUAL].legend(frameon=False, fontsize="small", loc="lower left")
Picture(
    figure,
    "Training loss by update. At the high peak that of the constant learning rate "
    "stays above 1, while the two decays fall below 0.7; at the usual peak constant "
    "and warm-up with linear decay fall, and 0.9 per update goes flat near 1.5.",
)

# %% tags=["hide-cell"]
for seed in recorded(HIGH, CONSTANT).keys() & recorded(HIGH, FAST).keys():
    constant = recorded(HIGH, CONSTANT)[seed]
    assert constant < 0.4
    for name in (LINEAR, "WarmupLinear(0.0)", FAST):
        assert recorded(HIGH, name)[seed] > max(0.5, constant + 0.2)
    assert fmean(recorded(HIGH, CONSTANT, "trained")[seed][-15:]) > 1
    fast, constant = (recorded(USUAL, n, "loss")[seed] for n in (FAST, CONSTANT))
    assert fast > 1.5 * constant
    assert recorded(USUAL, CONSTANT)[seed] > 0.7
    assert 0.16 < recorded(HIGH, FAST, "rates")[seed] / 60 < 0.17
if recorded_runs:
    for name in (LINEAR, "WarmupLinear(0.0)", FAST):
        assert gain((HIGH, name), (HIGH, CONSTANT)).low > 0
    alone = gain((HIGH, "warm-up only"), (HIGH, CONSTANT))
    assert alone.low < 0 < alone.high
    assert 0.2 < fmean(recorded(HIGH, CONSTANT).values()) < 0.3
    assert min(recorded(HIGH, CONSTANT).values()) <= kept["majority"]
    assert 0.65 < fmean(recorded(HIGH, LINEAR).values()) < 0.75
    found = gain((USUAL, LINEAR), (USUAL, CONSTANT))
    assert abs(found.mean) < 0.05
    assert found.low < 0 < found.high
    assert abs(gain((HIGH, LINEAR), (USUAL, CONSTANT)).mean) < 0.1

# %% [markdown]
# ### A small version
#
# Here are two such runs on a smaller scale, both with the peak 10⁻³: 64 short reviews, three epochs of eight updates. The
# two runs share the head, the batches and the dropout; only γ differs.

# %% tags=["nbval-ignore-output"]
data = ftlab.load_data("reviews", task="topic")
data = data.filter(lambda text: len(text.split()) <= 10, input_columns="text")
del data["validation"]  # else it would be measured after every epoch
data["test"] = data["test"].shuffle(seed=0).select(range(100))
few = DatasetDict({"train": data["train"].shuffle(seed=0).select(range(64))})
model = ftlab.load_model("minilm", data)
SETTINGS = {"epochs": 3, "lr": 1e-3, "batch_size": 8}
small, scores = {}, {}
for rule in (Decay(1.0, per="step"), Decay(0.9, per="step")):
    run = ftlab.finetune(model, few, seed=0, recipe=[rule], progress=False, **SETTINGS)
    measured = ftlab.evaluate(run.model, data["test"])
    small[repr(rule)] = [step["loss"] for step in run.history]
    scores[repr(rule)] = measured
    low, high = measured.intervals["accuracy"]
    print(f"{rule!r}: accuracy {measured['accuracy']:.2f} ({low:.2f} to {high:.2f})")

# %% tags=["hide-input", "nbval-ignore-output"]
figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
axes = figure.subplots()
for (name, trained), colour, line in zip(
    small.items(), (ORANGE, BLUE), ("--", "-"), strict=True
):
    axes.plot(trained, ".", color=colour, markersize=4, alpha=0.5)
    axes.plot(running_mean(trained), color=colour, linestyle=line, label=name)
axes.set(xlabel="update", ylabel="training loss", ylim=(0, None))
axes.legend(frameon=False, fontsize="small")
axes.spines[["top", "right"]].set_visible(False)
without, with_decay = scores.values()
assert with_decay["accuracy"] > without["accuracy"] + 0.1
Picture(
    figure,
    "Training loss of 24 updates at the peak 1e-3: with decay it ends lower than with "
    "the constant learning rate.",
)

# %% tags=["hide-cell"]
most = max(map(list(data["test"]["label"]).count, set(data["test"]["label"])))
assert with_decay.intervals["accuracy"][0] > most / len(data["test"])

# %% [markdown]
# ## Where it hurts
#
# Suppose that you mean 0.9 per epoch and write `per="step"`. These are the recorded runs at the usual peak, epoch by
# epoch:

# %% tags=["hide-input"]
rows = {}
for name in ("Decay(0.9, per='epoch')", FAST) if recorded_runs else ():
    rule = Decay(0.9, per="step" if name == FAST else "epoch")
    rates = rates_of(rule, 60, 15)[::15]
    batches = zip(*recorded(USUAL, name, "trained").values(), strict=True)
    mean = [fmean(batch) for batch in batches]
    losses = [fmean(mean[first : first + 15]) for first in range(0, 60, 15)]
    rows[f"{name}, learning rate in peaks"] = [f"{rate:.3f}" for rate in rates]
    rows[f"{name}, training loss"] = [f"{loss:.2f}" for loss in losses]
titles = [f"epoch {epoch}" for epoch in (1, 2, 3, 4)]
pd.DataFrame.from_dict(rows, orient="index", columns=titles)

# %% tags=["hide-cell"]
if recorded_runs:
    assert losses[2] - losses[3] < 0.05  # of the last one, 0.9 per update: flat ...
    assert losses[3] > 1.2  # ... and far from learned
    assert rates[2] < 1 / 20

# %% [markdown]
# There is no error, and the loss curve goes flat as if the run had converged. In fact it has stopped: in the third
# epoch less than a twentieth of the learning rate is left. The only warning is in the plan that `explain` prints. If a
# loss goes flat early, **look at the learning rate before you look at the model**.
#
# ## Also called
#
# - Formula (4) is **exponential decay** or *geometric* decay. The article's list of decay strategies names exponential
#   decay twice.
# - `StepDecay` is a *staircase*. `WarmupCosine` is *cosine annealing* without restarts. *Annealing* is any slow lowering of
#   the learning rate.
# - The article also has **学习率裁剪**, learning-rate *clipping*, and explains it as "gradually reducing the learning rate".
#   That is decay under another name. Clipping a learning rate means keeping it between two bounds, and it changes nothing
#   while the learning rate lies between them:

# %%
wanted = [5e-5 * rate for rate in rates_of(WarmupLinear(0.2), 10, 10)]
bounds = ClipRate(2e-5, 4e-5)
bounded = [bounds.schedule({"w": rate}, None, Now())[0]["w"] for rate in wanted]
print("WarmupLinear(0.2):  ", " ".join(f"{rate:.1e}" for rate in wanted))
print("then clipped:       ", " ".join(f"{rate:.1e}" for rate in bounded))

# %% tags=["hide-cell"]
inside = [rate for rate in wanted if 2e-5 <= rate <= 4e-5]
assert inside
assert set(inside) <= set(bounded)
assert (min(bounded), max(bounded)) == (2e-5, 4e-5)

# %% [markdown]
# ### The other schedules of the catalogue
#
# [Strategies](../strategies.md) has their formulas and sources.
#
# | formula | in one line |
# | --- | --- |
# | `step_decay` | the same factor, but only after every few epochs |
# | `warmup` | `WarmupLinear` and `WarmupCosine`: rise at first, then fall to 0 in a line or a curve; the first is the default |
# | `slanted_triangular` | the triangle of ULMFiT: a short rise and a long fall that does not end at 0 |
# | `plateau` | multiplies by a factor when the validation loss has stopped falling |
# | `clip_rate` | keeps the learning rate between two bounds |
# | `adabound` | an optimizer: Adam with step sizes kept between two bounds that move closer together over time |
# | `layerwise_decay` | lower layers learn with a lower learning rate than upper ones |
# | `gradual_unfreezing` | lower layers begin to learn later than upper ones |
#
# ## Is your own rule better?
#
# A half-life is easier to choose than a γ. So here is a rule that takes its half-life, in updates, and decays accordingly.
#
# What is it compared with? A recipe without a schedule gets warm-up and linear decay by default, so the runs without
# your rule would not have a constant learning rate. `base_recipe=` gives the runs with and without your rule a constant one
# first. Rules apply one after the other, so your rule then multiplies it.


# %% tags=["nbval-ignore-output"]
@dataclass(frozen=True)
class HalfLife(Schedule):
    updates: float

    def schedule(self, rates, memory, now):
        left = 0.5 ** (now.step / self.updates)
        return {name: rate * left for name, rate in rates.items()}, memory


constant_first = [Decay(1.0, per="step")]
verdict = ftlab.trial(
    HalfLife(5), data, model, pairs=4, rows=64, base_recipe=constant_first, **SETTINGS
)
print(verdict)

# %% tags=["hide-cell"]
assert verdict.failed_checks == ()
assert verdict.verdict == "better"
assert verdict.paired.low > 0

# %% [markdown]
# At this high learning rate your rule **helps**, and four pairs are enough to show it: the interval lies above 0. The last
# sentence but one of the verdict states the power. At a learning rate that suits a constant schedule the effect of decay
# is much smaller, as the recorded experiment shows.
#
# ## Exercises
#
# ### Exercise 04.1
#
# An epoch has 35 updates. Which γ per update has the same effect over one epoch as γ = 0.9 per epoch? Give four
# significant digits.

# %% tags=["solution"]
per_update = 0.9 ** (1 / 35)
ftlab.check.exercise("04.1", per_update)

# %% [markdown]
# ### Exercise 04.2
#
# Let γ be 0.98 per update. After how many updates is the learning rate halved? Give three significant digits; the answer
# need not be a whole number.

# %% tags=["solution"]
half_life = math.log(1 / 2) / math.log(0.98)
ftlab.check.exercise("04.2", half_life)

# %% [markdown]
# ### Exercise 04.3
#
# Write `rates_per_epoch(rate, gamma, steps, steps_per_epoch)`. It returns the list of the learning rates of all `steps`
# updates, in order, of a run that decays after every epoch. In the first epoch the learning rate is `rate`.


# %% tags=["solution"]
def rates_per_epoch(rate, gamma, steps, steps_per_epoch):
    return [rate * gamma ** (step // steps_per_epoch) for step in range(steps)]


ftlab.check.exercise("04.3", rates_per_epoch)

# %% [markdown]
# ### Exercise 04.4
#
# Let α₀ be 1e-4 and γ be 0.9 per update. Suppose that a weight moves by the learning rate in each update, always in the
# same direction. How far can it get, however long the run is? Give two significant digits.

# %% tags=["solution"]
farthest = 1e-4 / (1 - 0.9)
ftlab.check.exercise("04.4", farthest)

# %% [markdown]
# ### Exercise 04.5
#
# Write `expected_loss(rates, start)` for the noisy loss of this page. It returns the expected loss after one step with each
# of these learning rates, starting from θ = `start`. The gradient is θ plus noise of variance 1, and $J = \frac12\theta^2$.


# %% tags=["solution"]
def expected_loss(rates, start):
    mean, variance = start, 0.0
    for rate in rates:
        mean, variance = (1 - rate) * mean, (1 - rate) ** 2 * variance + rate**2
    return (mean**2 + variance) / 2


ftlab.check.exercise("04.5", expected_loss)

# %% [markdown]
# ### Exercise 04.6
#
# The article calls something 学习率裁剪 and explains it as "gradually reducing the learning rate". Which of the two is it
# really, `"decay"` or `"clipping"`?

# %% tags=["solution"]
really = "decay"
ftlab.check.exercise("04.6", really)

# %% [markdown]
# ## Key points
#
# - γ means nothing without its step. 0.9 per epoch leaves 0.729 of the learning rate after three epochs; 0.9 per update
#   leaves 2.7·10⁻⁵ of it after a hundred updates.
# - With noisy gradients a constant learning rate does not settle. A decaying one does settle, unless it stops the run
#   first: the sum of a geometric series is finite.
# - At a peak that is too high to stay at, decay rescues the run. At a usual peak it makes little difference, and a decay
#   that is too fast stops the run short.
# - Compare two schedules at the peak that suits each, in pairs of seeds, and state the power.
# - A loss that goes flat may mean that the learning rate is gone.
# - Lowering the learning rate is decay. Clipping keeps it between bounds.
