# %% [markdown]
# # 4. Learning-rate decay
#
# One factor, α ← α·γ, and one question that the article leaves open: how often? You see what hangs on it, and what a
# schedule of the learning rate can do for a run.
#
# **When you are through** (about 35 minutes to read, about 1 minute to run) you can
#
# - turn a γ per epoch into one per update, and say after how many updates the rate is halved;
# - tell when a decaying rate helps, when it makes a run stop short, and when the two cannot be told apart;
# - compare schedules fairly: at the same peak, at the same sum, and with the uncertainty of few runs.
#
# You need the quickstart and chapter 2: gradient descent, and what a recipe is.
#
# **Formulas:** `decay`, `step_decay`, `warmup`, `slanted_triangular`, `plateau`, `clip_rate`, `adabound`, `layerwise_decay`, `gradual_unfreezing`

# %% tags=["nbval-skip"]
import subprocess
import sys

if "google.colab" in sys.modules:  # on Colab: install your copy of the repository; its torch stays
    REPOSITORY = ""  # the address of your copy, as in https://github.com/you/ftlab
    assert REPOSITORY, "Write the address of your copy of the repository into REPOSITORY, then run this cell again."
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"ftlab[embedded] @ git+{REPOSITORY}"], check=True)

# %%
import math
from dataclasses import dataclass

import pandas as pd
import torch
import transformers
from datasets import DatasetDict
from IPython.display import Markdown
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
    formulas,
    slider,
)  # fmt: skip
from ftlab.formulas import adabound, decay, gradual_unfreezing, layerwise_decay
from ftlab.paired import Paired, detectable_effect
from ftlab.parameters import depths
from ftlab.plots import BLUE, GREY, ORANGE, Picture
from ftlab.rule import Now

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# %% [markdown]
# ## Why
#
# A gradient from a few rows is the true gradient plus noise. Take the simplest loss there is, $J = \frac12\theta^2$ with
# its minimum 0 at 0, and let every gradient be $\theta$ plus a random number of variance 1. Start at θ = 10. For one step
# with the rate α the mean and the variance of θ can be worked out exactly:
#
# $$
# m \leftarrow (1-\alpha)\,m, \qquad v \leftarrow (1-\alpha)^2\,v + \alpha^2, \qquad
# \mathbb{E}\,J = \tfrac12\,(m^2+v)
# $$

# %%


def expected(rates, start=10.0):
    """Return the expected loss before the first and after every step, exactly."""
    mean, variance, losses = start, 0.0, [start**2 / 2]
    for rate in rates:
        mean, variance = (1 - rate) * mean, (1 - rate) ** 2 * variance + rate**2
        losses.append((mean**2 + variance) / 2)
    return losses


def one_run(rates, seed=0, start=10.0):
    """Return the losses of one run with noise."""
    chance, theta, losses = torch.Generator().manual_seed(seed), start, [start**2 / 2]
    for rate in rates:
        theta -= rate * (theta + torch.randn((), generator=chance, dtype=torch.float64).item())
        losses.append(theta**2 / 2)
    return losses


WAYS = {
    "constant 0.5": [0.5] * 120,
    "constant 0.02": [0.02] * 120,
    "0.5, times 0.96 a step": [decay(0.5, 0.96, step) for step in range(120)],
}
for name, rates in WAYS.items():
    print(f"{name:23} expected loss after 120 steps {expected(rates)[-1]:.4f}")
ends = [expected(rates)[-1] for rates in WAYS.values()]
assert ends[2] < 0.1 * min(ends[:2])

# %%
figure = Figure(figsize=(7, 3.2), layout="constrained", facecolor="white")
axes = figure.subplots()
for (name, rates), colour, line in zip(WAYS.items(), (ORANGE, GREY, BLUE), ("--", ":", "-"), strict=True):
    axes.plot(one_run(rates), color=colour, linewidth=0.6, alpha=0.6)
    axes.plot(expected(rates), color=colour, linestyle=line, linewidth=2, label=name)
axes.set(xlabel="step", ylabel="loss", yscale="log", ylim=(1e-4, 100))
axes.legend(frameon=False, fontsize="small", ncols=3, loc="upper right")
axes.spines[["top", "right"]].set_visible(False)
Picture(
    figure,
    "The expected loss of the rate 0.5 falls in a few steps and then stays at 0.17; that of the rate 0.02 is still falling "
    "after 120 steps; the decaying rate falls as fast as the first and goes on below 0.01.",
)

# %%
assert round(expected(WAYS["constant 0.5"])[30], 2) == round(ends[0], 2) == 0.17
assert ends[2] < 0.01

# %% [markdown]
# The thin lines are one run each. The constant rate does not settle: each step carries in new noise, as much as it takes
# away. A small rate has less of it and takes long to arrive. The decaying rate does both in turn, **far first, then
# fine**. That is what formula (4) is for.
#
# The recursion is exact, but do the runs keep to it? 20,000 of them, drawn:

# %%
chance = torch.Generator().manual_seed(0)
theta = torch.full((20000,), 10.0, dtype=torch.float64)
for rate in WAYS["constant 0.5"]:
    theta = theta - rate * (theta + torch.randn(20000, generator=chance, dtype=torch.float64))
found = (theta.square() / 2).mean().item()
print(f"within 3 % of the exact value: {abs(found / ends[0] - 1) < 0.03}")
assert abs(found / ends[0] - 1) < 0.03

# %% [markdown]
# ## The formula

# %%
ftlab.formula(decay)

# %% [markdown]
# Limit cases: γ = 1 leaves the rate constant; the nearer γ is to 0, the sooner the run stands still; above 1 the rate
# grows. After $\log\frac12/\log\gamma$ steps, the **half-life**, half of it is left.
#
# But what is a step? "Old" and "new" may mean two updates or two epochs, and with the same γ these are two different
# worlds:

# %%
print(f"γ = 0.9 per epoch, after   3 epochs:  {decay(1.0, 0.9, 3):.3f} of the rate")
print(f"γ = 0.9 per update, after 100 updates: {decay(1.0, 0.9, 100):.1e} of the rate")
print(f"half-life of γ = 0.9: {math.log(1 / 2) / math.log(0.9):.2f} epochs, or updates")
for updates in (35, 1000):
    print(f"with {updates:4} updates an epoch, 0.9 per epoch is {0.9 ** (1 / updates):.6f} per update")
assert math.isclose(decay(1.0, 0.9, 3), 0.729)
assert math.isclose((0.9 ** (1 / 35)) ** 35, 0.9)

# %% [markdown]
# So `Decay` has to be told which, and it warns where the one was probably meant for the other:

# %%
print(ftlab.explain([Decay(0.9, per="step")]))

# %% [markdown]
# ### How far can it still go?
#
# Add up all rates of a run. Adam's first step moves every weight by α. If each step moved it by as much as that, always in
# one direction, the sum of the rates would be how far it gets. A geometric series has an end:
#
# $$
# \sum_{t=0}^{\infty}\alpha_0\,\gamma^t = \frac{\alpha_0}{1-\gamma}
# $$

# %%
for gamma in (0.9, 0.99, 0.999):
    print(f"γ = {gamma} per update: all updates together are worth {1 / (1 - gamma):.0f} at the first rate")
late = sum(decay(1.0, 0.9, step) for step in range(44, 10000)) * (1 - 0.9)
print(f"γ = 0.9: all updates from the 45th on have {late:.1%} of that sum")
assert late < 0.01

# %% [markdown]
# ### The other schedules
#
# All that come with ftlab, each with what it is for. The last two are not about time: they tell the layers apart.

# %%
FAMILY = {
    "step_decay": "Stairs: the same factor, but only every few epochs.",
    "warmup_linear": "The usual one for a BERT: up for a tenth of the run, then down to 0 in a line.",
    "warmup_cosine": "The same with a curve: longer near the peak, longer near 0.",
    "slanted_triangular": "The schedule of ULMFiT, which does not start or end at 0.",
    "plateau": "The only one that looks at results: it waits until the validation loss no longer falls.",
    "clip_rate": "Bounds for the rate, whatever another schedule wants.",
    "adabound": "An optimizer: Adam's rate of every single weight is kept between two bounds that close.",
    "layerwise_decay": "Lower layers learn more slowly than upper ones.",
    "gradual_unfreezing": "Lower layers begin to learn later than upper ones.",
}
shown = {name: ftlab.formula(getattr(formulas, name)) for name in FAMILY}
Markdown("\n\n".join(f"**`{name}`**: {FAMILY[name]}\n\n$$\n{one.mathematics}\n$$" for name, one in shown.items()))

# %% [markdown]
# A rule gives its rates without a model: it needs to know the step, the number of steps and those of an epoch. Here are
# the four that are compared below, over 60 updates in three epochs: first with the same peak, then with the same sum.

# %%


def rates_of(rule, steps, per_epoch, evaluations=()):
    """Return the rates of a rule for the peak 1."""
    now = [Now(step=step, steps=steps, steps_per_epoch=per_epoch, evaluations=evaluations) for step in range(steps)]
    return [rule.schedule({"w": 1.0}, None, moment)[0]["w"] for moment in now]


SCHEDULES = {
    "constant": Decay(1.0, per="epoch"),
    "Decay(0.5, per='epoch')": Decay(0.5, per="epoch"),
    "WarmupLinear(0.1)": WarmupLinear(0.1),
    "WarmupCosine(0.1)": WarmupCosine(0.1),
}
over_time = {name: rates_of(rule, 60, 20) for name, rule in SCHEDULES.items()}
sums = {name: sum(rates) for name, rates in over_time.items()}
for name, total in sums.items():
    print(
        f"{name:24} sum of 60 rates {total:5.2f}, peak for the sum of WarmupLinear {sums['WarmupLinear(0.1)'] / total:.3f}"
    )
assert math.isclose(sums["WarmupLinear(0.1)"], sums["WarmupCosine(0.1)"])

# %%
LOOKS = dict(zip(SCHEDULES, ((GREY, ":"), (ORANGE, "--"), (BLUE, "-"), ("black", "-.")), strict=True))
figure = Figure(figsize=(7.6, 3.2), layout="constrained", facecolor="white")
left, right = figure.subplots(1, 2, sharey=True)
for name, rates in over_time.items():
    colour, line = LOOKS[name]
    left.plot(rates, color=colour, linestyle=line, label=name)
    right.plot([rate * sums["WarmupLinear(0.1)"] / sums[name] for rate in rates], color=colour, linestyle=line)
left.set(title="the same peak", xlabel="update", ylabel="α / peak", ylim=(0, 1.45))
left.legend(frameon=False, fontsize="small", loc="upper left", ncols=2, columnspacing=1.0)
right.set(title="the same sum", xlabel="update")
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
Picture(
    figure,
    "At the same peak the constant rate covers twice the area of the two warm-up schedules; brought to the same sum its "
    "level is half of their peak, and Decay's first stair lies a little below it.",
)

# %% [markdown]
# Whoever says "with decay it got better" has changed two things at once: the shape of the rates and their sum.
#
# ## By hand
#
# α₀ = 8·10⁻⁵ and γ = ½: three steps on paper, 4, 2 and 1. And where does the noisy loss of the first figure stop with a
# constant rate? There the variance no longer changes, $v = (1-\alpha)^2 v + \alpha^2$, so $v = \frac{\alpha}{2-\alpha}$:
# for α = ½ it is ⅓, and the loss ⅙.

# %%
for steps, on_paper in ((1, 4e-5), (2, 2e-5), (3, 1e-5)):
    by_function = decay(8e-5, 0.5, steps)
    print(f"after {steps} steps: on paper {on_paper:.0e}, function {by_function:.0e}")
    assert math.isclose(by_function, on_paper)
print(f"where a constant 1/2 stops: on paper {1 / 6:.4f}, after 120 steps {ends[0]:.4f}")
assert math.isclose(ends[0], 1 / 6)

# %% [markdown]
# ## Against torch
#
# Every rate of a whole run, in arrays of 60, against the schedulers of torch and transformers.

# %%


def by_torch(make, steps=60, per_epoch=20, losses=None):
    """Return the rates of a torch scheduler that is asked once an epoch, or once an update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % per_epoch == 0:
            scheduler.step(*([] if losses is None else [losses[step // per_epoch]]))
    return rates


def after_losses(rule, losses, per_epoch=20):
    """Return the rates of a rule that sees one validation loss more after each epoch."""
    seen = [tuple({"loss": loss} for loss in losses[:epoch]) for epoch in range(len(losses))]
    return [rates_of(rule, 1, per_epoch, evaluations)[0] for evaluations in seen for _ in range(per_epoch)]


linear, cosine = transformers.get_linear_schedule_with_warmup, transformers.get_cosine_schedule_with_warmup
losses = [0.7, 0.5, 0.6, 0.6, 0.4, 0.4]
pairs = {
    "Decay per epoch, ExponentialLR": (rates_of(Decay(0.9, per="epoch"), 60, 20), by_torch(lambda one: lr_scheduler.ExponentialLR(one, 0.9))),
    "Decay per step, ExponentialLR": (rates_of(Decay(0.9, per="step"), 60, 20), by_torch(lambda one: lr_scheduler.ExponentialLR(one, 0.9), per_epoch=1)),
    "StepDecay, StepLR": (rates_of(StepDecay(0.5, every=2), 60, 10), by_torch(lambda one: lr_scheduler.StepLR(one, 2, 0.5), per_epoch=10)),
    "Plateau, ReduceLROnPlateau": (
        after_losses(Plateau(0.1, patience=0), losses),
        by_torch(lambda one: lr_scheduler.ReduceLROnPlateau(one, factor=0.1, patience=0), 120, losses=losses),
    ),
    "WarmupLinear, one update later": (rates_of(WarmupLinear(0.1), 60, 20), by_torch(lambda one: linear(one, 7, 61), 61, 1)[1:]),
    "WarmupCosine, one update later": (rates_of(WarmupCosine(0.1), 60, 20), by_torch(lambda one: cosine(one, 7, 61), 61, 1)[1:]),
}  # fmt: skip
for name, (ours, theirs) in pairs.items():
    apart = max(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    print(f"{name:31} {len(ours):3} rates, largest difference < 1e-12: {apart < 1e-12}")
    assert apart < 1e-12
print(f"the first rate of transformers' warm-up: {by_torch(lambda one: linear(one, 6, 60), 1, 1)[0]}")

# %% [markdown]
# "One update later": in transformers a warm-up begins with the rate 0, so the first batch is computed for nothing. Here
# the count begins at 1. Otherwise the schedules are the same.
#
# AdaBound is an optimizer. While its bounds are wide open, it has to be Adam; where they have closed, the rate is the
# same for every weight. Whole tensors, 20 steps, and ε so small that it does not matter where in the quotient it stands:

# %%
gradients = [torch.randn(30, 40, dtype=torch.float64, generator=chance) for _ in range(20)]
first = torch.randn(30, 40, dtype=torch.float64, generator=chance)


def with_adabound(gamma):
    params, past = {"w": first}, {}
    for grad in gradients:
        params, past = adabound(params, {"w": grad}, past, 0.01, final_rate=0.1, gamma=gamma, eps=1e-16)
    return params["w"]


by_adam = torch.nn.Parameter(first.clone())
adam = torch.optim.Adam([by_adam], lr=0.01, eps=1e-16)
by_momentum, mean = first, torch.zeros_like(first)
for grad in gradients:
    by_adam.grad = grad
    adam.step()
    mean = 0.9 * mean + 0.1 * grad
    by_momentum = by_momentum - 0.1 * mean
for name, gamma, other in (
    ("open, torch.optim.Adam", 1e-12, by_adam.detach()),
    ("closed, momentum", 1e12, by_momentum),
):
    apart = (with_adabound(gamma) - other).abs().max().item()
    print(f"AdaBound, bounds {name:24} largest difference < 1e-6: {apart < 1e-6}")
    assert apart < 1e-6

# %% [markdown]
# ## Explore
#
# The noisy loss from the beginning: start at θ = 10 with α₀ = 0.5. You choose γ per step and the number of steps. The
# line is the expected loss, the dots are one run.

# %%


def chosen(gamma, steps):
    return [decay(0.5, gamma, step) for step in range(steps)]


def draw(gamma, steps):
    rates = chosen(gamma, steps)
    end, left = expected(rates)[-1], 10 * math.prod(1 - rate for rate in rates)
    figure = Figure(figsize=(6, 3.1), facecolor="white")
    axes = figure.add_axes((0.12, 0.17, 0.85, 0.79))
    axes.plot(one_run(rates), ".", color=GREY, markersize=3, label="one run")
    axes.plot(expected(rates), color=BLUE if end <= 0.05 else ORANGE, linewidth=2, label="expected")
    axes.axhline(0.05, color="black", linestyle="--", linewidth=1, label="the goal, 0.05")
    axes.set(xlabel="step", ylabel="loss", yscale="log", xlim=(0, 1.03 * steps), ylim=(1e-4, 100))
    axes.legend(frameon=False, fontsize="small", loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)
    said = f"Expected loss at the end {end:.3f}: {left**2 / 2:.3f} since it has not arrived, {end - left**2 / 2:.3f} of noise."
    return figure, f"{said} {'Goal reached.' if end <= 0.05 else 'Not there yet.'}"


GAMMAS, STEPS = [0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 1.0], [5, 10, 20, 40, 80, 160, 320]
explore(
    draw,
    goal="end within 0.05 of the minimum",
    gamma=slider(GAMMAS, start=0.98),
    steps=slider(STEPS, start=40),
)

# %% [markdown]
# With γ = 1 no number of steps is enough: the noise stays. With γ = 0.7 none is either: the run stands still before it has
# arrived. The more steps you have, the nearer γ may be to 1.

# %%
table = {steps: [gamma for gamma in GAMMAS if expected(chosen(gamma, steps))[-1] <= 0.05] for steps in STEPS}
for steps, good in table.items():
    print(f"{steps:3} steps: γ = {', '.join(map(str, good)) or 'none of them'}")
assert not any({0.7, 1.0} & set(good) for good in table.values())
assert table[40]
assert max(table[320]) > max(table[40])

# %% [markdown]
# The article says that decay avoids "premature convergence and oscillation". It does lessen the oscillation. But standing
# still before the minimum *is* premature convergence, and a γ that is too small is what brings it about.
#
# ## On the real model
#
# MiniLM learns the topic of a review from 20 rows, two epochs of five updates. Four schedules at the same peak, and two
# more with their peak lowered so that the rates have the same sum as those of the warm-ups. Three seeds each. What is
# measured is the loss on 24 other reviews.

# %% tags=["nbval-ignore-output"]
data = ftlab.load_data("reviews", task="topic")
model = ftlab.load_model("minilm", data)
few = DatasetDict({"train": data["train"].shuffle(seed=0).select(range(20))})
held_out = data["test"].shuffle(seed=0).select(range(24))
PEAK = 3e-4


def worth(rule):
    """Return the sum of the rates over the 10 updates of a run, in peaks."""
    return sum(rates_of(rule, 10, 5))


half = worth(WarmupLinear(0.1))
arms = {name: (rule, 1.0) for name, rule in SCHEDULES.items()}
for name in ("constant", "Decay(0.5, per='epoch')"):
    arms[f"{name}, lower"] = (SCHEDULES[name], half / worth(SCHEDULES[name]))
losses, accuracies = {name: [] for name in arms}, {name: [] for name in arms}
for seed in (0, 1, 2):
    for name, (rule, peak) in arms.items():
        run = ftlab.finetune(
            model, few, epochs=2, lr=PEAK * peak, batch_size=4, seed=seed, recipe=[rule], progress=False
        )
        measured = ftlab.evaluate(run.model, held_out, resamples=0)
        losses[name].append(measured["loss"])
        accuracies[name].append(measured["accuracy"])
columns = {
    "peak": [peak for _, peak in arms.values()],
    "sum of rates, in peaks": [worth(rule) * peak for rule, peak in arms.values()],
    **{f"loss, seed {seed}": [losses[name][seed] for name in arms] for seed in (0, 1, 2)},
}
pd.DataFrame(columns, index=list(arms)).round(3)

# %% [markdown]
# Arms with one seed share the head, the order of the rows and the dropout, so they are compared **in pairs**: each against
# `WarmupLinear` with the same seed.

# %% tags=["nbval-ignore-output"]


def against_linear(values):
    reference = values["WarmupLinear(0.1)"]
    others = {name: one for name, one in values.items() if one is not reference}
    return {name: Paired.of([a - b for a, b in zip(one, reference, strict=True)]) for name, one in others.items()}


in_loss, in_accuracy = against_linear(losses), against_linear(accuracies)
for name, one in in_loss.items():
    print(f"{name:31} loss {one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f}), could have seen {one.detectable:.3f}")
print()
for name, one in in_accuracy.items():
    print(f"{name:31} accuracy {one.mean:+.3f}, could have seen {one.detectable:.3f}")
more, same = in_loss["constant"].mean, [in_loss[name].mean for name in in_loss if "lower" in name or "Cosine" in name]
assert more < -0.02
assert more < in_loss["Decay(0.5, per='epoch')"].mean < 0
assert all(abs(one) < abs(more) / 2 for one in same)
assert max(one.detectable for one in in_accuracy.values()) > 0.05

# %% [markdown]
# Read it slowly; it is not what the article would make you expect.
#
# - **At the same peak the constant rate did best**, and the schedules follow in the order of their sums. After
#   10 updates none has arrived, so going farther is still better. Whoever decays just goes less far.
# - **At the same sum** the four lie close together: each difference is less than half of the constant rate's. Where three
#   pairs agree closely, even a small difference can be *seen*; whether it *matters* is another question.
# - In **accuracy** hardly anything can be seen. 24 texts are few, and three pairs are few: the smallest difference
#   that they would show four times in five is printed at the end of each line.

# %%
for pairs in (3, 5, 10, 20):
    print(
        f"{pairs:2} pairs see a difference of {detectable_effect(pairs):.2f} spreads of the pairs, four times in five"
    )

# %% [markdown]
# So this is no verdict against decay. It says: **in a short run a schedule is above all its sum**. What decay is for, the
# noise at the end, appears in a run that is long enough to arrive, as in the first figure. And it says: if you compare
# schedules, give each its own best peak.
#
# ### Warm-up: the first steps
#
# Adam divides each gradient by its own size. In its first step nothing but the sign is left, so every weight moves by the
# whole rate, in the direction of one batch. How good is that direction? We take the gradients of five batches of four rows,
# and ask how many signs of the first agree with those of the other rows.

# %% tags=["nbval-ignore-output"]
batches = [few["train"].select(range(first, first + 4)) for first in range(0, 20, 4)]
net, tokenizer = model.copy().net.eval(), model.processor
by_batch = []
for rows in batches:
    inputs = tokenizer(list(rows["text"]), padding=True, return_tensors="pt")
    loss = torch.nn.functional.cross_entropy(net(**inputs).logits, torch.tensor(rows["label"]))
    wanted = [param for name, param in net.named_parameters() if "encoder.layer" in name and param.ndim == 2]
    by_batch.append(torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, wanted)]))
others = torch.stack(by_batch[1:]).mean(0)
agree = (by_batch[0].sign() == others.sign()).double().mean().item()
print(f"of {others.numel() / 1e6:.1f} million signs of the first batch {agree:.0%} are those of the other 16 rows")
print("a coin agrees in 50%")
assert agree < 0.7

# %% [markdown]
# So the first step is as long as any, and of the rows that are not in its batch it knows next to nothing. Warm-up makes
# the first steps short: with nine updates before the peak the first has a tenth of the rate.

# %%
print(f"first rate of WarmupLinear(0.1) over 90 updates: {rates_of(WarmupLinear(0.1), 90, 90)[0]:.3f} of the peak")
assert math.isclose(rates_of(WarmupLinear(0.1), 90, 90)[0], 0.1)

# %% [markdown]
# ### Not all layers alike
#
# The other way to use less of the rate: give it to the layers that need it. `LayerwiseDecay` multiplies it by the same
# factor for every layer further down, `GradualUnfreezing` lets one group more learn in every epoch.

# %%
depth = depths(model.net)
names = {level: [name for name in depth if depth[name] == level] for level in sorted(set(depth.values()))}
one_each = {name[0]: 1.0 for name in names.values()}
titles = ["embeddings", *[f"layer {number}" for number in range(1, 7)], "pooler, head"]
by_factor = {factor: list(layerwise_decay(one_each, depth, factor).values()) for factor in (0.95, 0.8, 1 / 2.6)}
grads = {name: torch.ones(1) for group in names.values() for name in group}
begins = [
    next(groups for groups in range(1, 9) if names[level][0] in gradual_unfreezing(grads, depth, groups))
    for level in names
]
columns = {f"rate, factor {factor:.3g}": [f"{rate:.4f}" for rate in rates] for factor, rates in by_factor.items()}
pd.DataFrame({**columns, "unfrozen in epoch": begins}, index=titles).iloc[::-1]

# %%
assert by_factor[0.95][0] == 0.95**7
assert begins == [8, 7, 6, 5, 4, 3, 2, 1]

# %% [markdown]
# 1/2.6 is what ULMFiT used between two layers. On a model of six layers that leaves the embeddings almost nothing; 0.95 is
# a gentle slope. With gradual unfreezing, mind the last column: a run of three epochs never gets to the lower half.
#
# ## Where it hurts
#
# γ = 0.9 was meant per epoch, and `per="step"` was written. 48 short reviews, three epochs of twelve updates.

# %% tags=["nbval-ignore-output"]
short = [place for place, text in enumerate(data["train"]["text"]) if len(text.split()) <= 16]
more_rows = DatasetDict({"train": data["train"].select(short).shuffle(seed=0).select(range(48))})
ended = {}
for per in ("epoch", "step"):
    run = ftlab.finetune(
        model, more_rows, epochs=3, lr=2e-4, batch_size=4, seed=0, recipe=[Decay(0.9, per=per)], progress=False
    )
    rates, trained = ([record[key] for record in run.history] for key in ("rate", "loss"))
    epochs = [sum(trained[first : first + 12]) / 12 for first in (0, 12, 24)]
    ended[per] = epochs[-1]
    print(
        f"per {per:5}: sum of the rates {sum(rates) / 2e-4:4.1f} peaks, the last {rates[-1] / 2e-4:.3f} of a peak;",
        end=" ",
    )
    print("training loss by epoch " + ", ".join(f"{one:.3f}" for one in epochs))
assert ended["step"] > ended["epoch"] + 0.05

# %% [markdown]
# No error, and a loss curve that merely goes flat, as if the run had converged. Only the plan had warned. In the third
# epoch the rate per step is below a twelfth of the peak and falling, while the other run still learns at 0.81 of it. If a
# loss goes flat early, **look at the rate before you look at the model**.

# %%
print(f"per step, at the start of the third epoch: {decay(1.0, 0.9, 24):.3f}; per epoch: {decay(1.0, 0.9, 2):.2f}")
assert decay(1.0, 0.9, 24) < 1 / 12
assert round(decay(1.0, 0.9, 2), 2) == 0.81

# %% [markdown]
# ## Also called
#
# - Formula (4) is **exponential decay**, also *geometric* decay; `StepDecay` is *step decay* or a *staircase*. The
#   article's list of decay strategies reads "exponential decay, exponential decay", the same word twice.
# - `WarmupCosine` is *cosine annealing* without restarts; `LayerwiseDecay` is *LLRD*, ULMFiT's *discriminative
#   fine-tuning*. *Annealing* is any slow lowering of the rate.
# - The article also has **学习率裁剪**, learning-rate *clipping*, and explains it as "gradually reducing the learning rate".
#   That is decay under another name. To clip a rate is to bound it. It does nothing at all while the rate lies between the
#   bounds:

# %%
wanted = [5e-5 * rate for rate in rates_of(WarmupLinear(0.2), 10, 10)]
bounded = [ClipRate(2e-5, 4e-5).schedule({"w": rate}, None, Now())[0]["w"] for rate in wanted]
print("WarmupLinear(0.2):        ", " ".join(f"{rate:.1e}" for rate in wanted))
print("then ClipRate(2e-5, 4e-5):", " ".join(f"{rate:.1e}" for rate in bounded))
assert all(one == other for one, other in zip(wanted, bounded, strict=True) if 2e-5 <= one <= 4e-5)
assert (min(bounded), max(bounded)) == (2e-5, 4e-5)

# %% [markdown]
# The order of the recipe counts. A schedule that stands after the bounds may leave them again, and the plan says so:

# %%
plan = ftlab.explain([ClipRate(2e-5, 4e-5), WarmupLinear()])
print(*(line.strip() for line in plan.splitlines() if "acts after" in line))
assert "acts after" in plan

# %% [markdown]
# AdaBound clips for every weight on its own, and its bounds move. With γ = 0.001 and the final rate 0.1:

# %%
for step in (1, 10, 100, 1000, 10000):
    low, high = 0.1 * (1 - 1 / (0.001 * step + 1)), 0.1 * (1 + 1 / (0.001 * step))
    print(f"step {step:5}: every weight's rate is kept between {low:.4f} and {high:8.4f}")

# %% [markdown]
# It begins as Adam and ends as gradient descent with momentum. After 100 updates the bounds are still more than a hundred
# times apart: a short fine-tuning sees the wide end only.
#
# ## Is your own rule better?
#
# A rate that falls with the root of the time falls quickly at first and never stops: its sum has no end. Three lines:


# %% tags=["nbval-ignore-output"]
@dataclass(frozen=True)
class InverseRoot(Schedule):
    def schedule(self, rates, memory, now):
        return {name: rate / (now.step + 1) ** 0.5 for name, rate in rates.items()}, memory


reviews = ftlab.load_data("reviews", task="sentiment")
reviews["test"] = reviews["test"].select(range(30))
verdict = ftlab.trial(InverseRoot(), reviews, pairs=3, rows=32, epochs=1, lr=3e-4, batch_size=8)
print(verdict)
assert verdict.broken == ()
assert len(verdict.with_it) == 3

# %% [markdown]
# What is held against what? A recipe without a schedule gets warm-up and linear decay, so your rule was compared with
# those, and not with a constant rate. After this page you know the next question: were the sums the same?

# %%
for rule in (InverseRoot(), WarmupLinear(0.1)):
    print(f"{type(rule).__name__:12} the rates of 4 updates sum to {sum(rates_of(rule, 4, 4)):.2f} peaks")

# %% [markdown]
# ## Exercises
#
# ### Exercise 04.1
#
# An epoch has 35 updates. Which γ per update does in one epoch what γ = 0.9 per epoch does? To four significant digits.

# %% tags=["solution"]
per_update = 0.9 ** (1 / 35)
ftlab.check.exercise("04.1", per_update)

# %% [markdown]
# ### Exercise 04.2
#
# γ = 0.98 per update. After how many updates is the rate halved? To three significant digits; it need not be whole.

# %% tags=["solution"]
half_life = math.log(1 / 2) / math.log(0.98)
ftlab.check.exercise("04.2", half_life)

# %% [markdown]
# ### Exercise 04.3
#
# Write `rates_per_epoch(rate, gamma, steps, steps_per_epoch)`: the list of the rates of all `steps` updates of a run that
# decays once an epoch, in order. In the first epoch the rate is whole.


# %% tags=["solution"]
def rates_per_epoch(rate, gamma, steps, steps_per_epoch):
    return [rate * gamma ** (step // steps_per_epoch) for step in range(steps)]


ftlab.check.exercise("04.3", rates_per_epoch)

# %% [markdown]
# ### Exercise 04.4
#
# α₀ = 1e-4, γ = 0.9 per update. Say that every weight moves by the rate in each update, and always in the same direction.
# How far does it get, however long the run? To two significant digits.

# %% tags=["solution"]
farthest = 1e-4 / (1 - 0.9)
ftlab.check.exercise("04.4", farthest)

# %% [markdown]
# ### Exercise 04.5
#
# Write `expected_loss(rates, start)` for the noisy loss of this page: the expected loss after the last of these rates,
# from θ = `start`. Gradients are θ plus noise of variance 1; $J = \frac12\theta^2$.


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
# What the article calls 学习率裁剪, is it `"decay"` or `"clipping"`?

# %% tags=["solution"]
really = "decay"
ftlab.check.exercise("04.6", really)

# %% [markdown]
# ## Key points
#
# - γ means nothing without its step. 0.9 per epoch leaves 0.729 of the rate after three epochs, 0.9 per update leaves
#   2.7·10⁻⁵ after a hundred updates.
# - With noisy gradients a constant rate does not settle. A decaying one does, unless it stops first: the sum of a
#   geometric series is finite.
# - In a short run a schedule is above all the sum of its rates. Compare at the same sum, or give each its best peak.
# - Adam's first steps are whole steps in the direction of one batch; warm-up makes them short.
# - Lowering the rate is decay. Clipping bounds it.
