# %% [markdown]
# # 6. Putting it together: a model that you can defend
#
# You go through the article's six steps on a real task. You combine the rules of all chapters into one recipe, and you
# end with a saved model and the numbers that defend it.
#
# **When you are through** (about 60 minutes to read and work through, about 2 minutes to run) you can
#
# - combine rules into a recipe, and read it as one equation before anything is trained;
# - choose which parameters are trained, and what happens to the weights after the last update;
# - defend a model: compare it with cheaper methods on the same test rows, with intervals;
# - say how large a difference your comparison could have shown.
#
# You need the quickstart and the chapters before this one.
#
# **Formulas:** `freeze`, `head_first`, `bitfit`, `lora`, `interpolate`, `soup`, `ema`, `swa`

# %% tags=["hide-cell"]
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import DatasetDict
from IPython.display import Markdown
from matplotlib.figure import Figure
from scipy.stats import binom, binomtest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import logging, pipeline

import ftlab
from ftlab import (
    EMA,
    L2SP,
    BitFit,
    ClipNorm,
    Freeze,
    Interpolate,
    LayerwiseDecay,
    LoRA,
    Reinit,
    SoftThreshold,
    WarmupLinear,
    explore,
    slider,
)
from ftlab.display.plots import BLUE, GREY, ORANGE, Picture
from ftlab.experiments.paired import minimum_detectable_effect
from ftlab.formulas.ema import ema
from ftlab.formulas.gradient_descent import gradient_descent
from ftlab.formulas.interpolate import interpolate
from ftlab.formulas.lora import lora
from ftlab.formulas.soup import uniform_soup
from ftlab.formulas.swa import swa

logging.disable_progress_bar()  # of transformers

# %% [markdown]
# ## Why
#
# You change a recipe, and the accuracy goes up by 5 points. Did the change do that?
#
# Take two models that are **equally good**: each answers 75 % of all reviews correctly. Measure each of them on its own
# test reviews. How far apart will they look? The number of correct answers is binomial, so the chances can be computed.


# %%
def luck(rows, share=0.75):
    """Return by how many points two equally good models differ, and how often."""
    right = binom.pmf(np.arange(rows + 1), rows, share)
    points = 100 * np.arange(-rows, rows + 1) / rows
    return points, np.convolve(right, right[::-1])


for rows in (100, 1200):
    points, chances = luck(rows)
    lucky = chances[abs(points) > 5 - 1e-9].sum()
    print(f"{rows:5,} test reviews: 5 points apart or more in {lucky:.1%} of all cases")

# %% tags=["hide-input"]
points, chances = luck(100)
shown = abs(points) < 26
far = shown & (abs(points) > 5 - 1e-9)
figure = Figure(figsize=(7, 2.6), layout="constrained", facecolor="white")
axes = figure.subplots()
axes.bar(points[shown], chances[shown], color=GREY, label="less than 5 points apart")
axes.bar(points[far], chances[far], color=ORANGE, label="5 points or more")
axes.set(xlabel="points of accuracy by which they seem to differ", ylabel="chance")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, fontsize="small")
lucky = chances[far].sum() + chances[~shown].sum()
assert 0.45 < lucky < 0.47
assert luck(1200)[1][abs(luck(1200)[0]) > 5 - 1e-9].sum() < 0.01
Picture(
    figure,
    "Two equally good models, measured on 100 reviews each, look 5 points or more "
    f"apart in {lucky:.0%} of all cases.",
)

# %% [markdown]
# With 100 test reviews, a gain of 5 points says little: luck alone makes such a difference in almost half of all cases.
# With 1,200 it says a lot. And this is only the luck of the test reviews; the training seed adds its own luck.
#
# So a score alone defends nothing. You need answers to three questions:
#
# 1. How far off could the score be? That takes an interval.
# 2. What does something cheaper reach on the same rows? That takes baselines.
# 3. Was it the recipe, or the seed? That takes pairs of runs.
#
# ## The formula
#
# This chapter has one equation, and all formulas of the course fit into it:
#
# $$
# \theta_{t+1} = \Pi\Big(\theta_t - \alpha_t\,\mathrm{opt}\big(G(\nabla_\theta[J(\theta_t) + \Omega(\theta_t)])\big)\Big)
# $$
#
# Each symbol marks a place, and each rule belongs to one of these places. θ₀ and θ* are the weights at the start and at
# the end of the run:
#
# | symbol | what goes there | when it acts | for example | chapter |
# | --- | --- | --- | --- | --- |
# | $\theta_0$ | a `Prepare` rule | once, before the first update | `Reinit`, `LoRA` | 3, 6 |
# | $J$ | the argument `loss=` | every update | `CrossEntropy` | 1 |
# | $\Omega$ | a `Penalty` | every update, added to the loss | `L2SP` | 3 |
# | $G$ | a `GradientRule` | every update, after the backward pass | `ClipNorm` | 2 |
# | $\mathrm{opt}$ | the argument `optimizer=` | every update | `"adamw"` | 2 |
# | $\alpha$ | a `Schedule` | every update, before it | `Decay` | 4 |
# | $\Pi$ | a `Project` rule | every update, after it | `SoftThreshold` | 5 |
# | $\theta^*$ | a `Finish` rule | once, after the last update | `Interpolate` | 6 |
#
# A recipe is a list of rules. A symbol appears in the equation as soon as the recipe has a rule for it. Watch the
# equation grow:

# %%
RULES = [
    ClipNorm(1.0),
    L2SP(0.01),
    SoftThreshold(1e-6),
    Reinit(0.15),
    Interpolate(0.75),
]
for count in range(len(RULES) + 1):
    name = f"with {type(RULES[count - 1]).__name__}" if count else "the empty recipe"
    equation = ftlab.explain(RULES[:count]).split("\n\n")[0]
    print(f"{name}:", *equation.splitlines(), sep="\n    ")

# %% [markdown]
# The empty recipe has a schedule, too: a recipe that names none gets 10 % warm-up and linear decay. That is why α is
# written α_t.
#
# The equation is the first line of the plan. The rest of the plan says what each rule does, in the order in which the
# rules act. Here is the recipe of this chapter:

# %%
RECIPE = [LayerwiseDecay(0.9), WarmupLinear(0.1), ClipNorm(1.0), EMA(0.8)]
print(ftlab.explain(RECIPE))

# %% [markdown]
# The equation decides in which order the kinds of rules act, whatever the order of your list. Among rules of one kind,
# the order of your list counts.
#
# Where rules get in each other's way, the plan ends with a warning. This is the warning for the five rules of `RULES`:

# %%
print(ftlab.explain(RULES).partition("take care:\n")[2])

# %% [markdown]
# Read the plan before you train. A conflict that you find here costs a second, and one that you find afterwards costs a
# run.
#
# The formulas that are new in this chapter answer two questions about a run. *Which parameters are trained?* is decided
# before the first update, by `Freeze`, `BitFit`, `HeadFirst` or LoRA. LoRA keeps a large matrix as it is and trains two
# thin ones, whose product is added to it:

# %%
ftlab.formula(lora)

# %% [markdown]
# *What becomes of the weights?* is decided after the last update, by an interpolation or an average:

# %%
ftlab.formula(interpolate)

# %%
ftlab.formula(ema)

# %% [markdown]
# Look at the limits: α = 1 keeps the trained weights, and α = 0 gives the loaded ones back. With d = 0 the average is
# the last weights; with d = 1 it stays at the first ones for ever.
#
# Here are the others in a few words; their formulas are in [Strategies](../strategies.md):
#
# | formula | rule | what it does |
# | --- | --- | --- |
# | `freeze` | `Freeze("*.embeddings.*")` | the parameters that match keep their loaded values |
# | `bitfit` | `BitFit()` | only the biases and the head are trained |
# | `head_first` | `HeadFirst(0.3)` | only the head is trained for the first 30 % of the updates, then everything |
# | `swa` | `SWA(...)` | the plain mean of the weights over the end of a run |
# | `soup` | `ftlab.soup(...)` | the plain mean of several fine-tuned models |
#
# ## By hand
#
# Work these out on paper first:
#
# - a quarter of the way from θ₀ = (0, 2, 1) to θ_T = (4, 2, −1);
# - a moving average with d = ¾ that starts at 8 and then sees 0 three times;
# - the plain mean of 2, 4 and 9.

# %%
origin = {"w": torch.tensor([0.0, 2.0, 1.0])}
trained = {"w": torch.tensor([4.0, 2.0, -1.0])}
quarter = interpolate(origin, trained, 0.25)["w"].tolist()
print("a quarter of the way:", quarter)

mean, means = {"w": torch.tensor(8.0)}, []
for _ in range(3):
    mean = ema(mean, {"w": torch.tensor(0.0)}, 0.75)
    means.append(mean["w"].item())
print("moving average:", means)

plain, weights = {}, [{"w": torch.tensor(value)} for value in (2.0, 4.0, 9.0)]
for count, one in enumerate(weights):
    plain = swa(plain, one, count)
soup = uniform_soup(weights)
print("plain mean:", plain["w"].item(), "step by step,", soup["w"].item(), "at once")

# %% tags=["hide-cell"]
assert quarter == [1.0, 2.0, 0.5]
assert means == [6.0, 4.5, 3.375]
assert plain["w"].item() == soup["w"].item() == 5.0

# %% [markdown]
# ## Against torch
#
# Torch has averages of its own: `AveragedModel`. We make twenty steps of SGD on a small network, and keep torch's
# averages and ours alongside.

# %%
chance = torch.Generator().manual_seed(0)


def draw(*shape):
    return torch.randn(shape, generator=chance, dtype=torch.float64)


net = torch.nn.Sequential(
    torch.nn.Linear(20, 30), torch.nn.Tanh(), torch.nn.Linear(30, 3)
).double()
with torch.no_grad():
    for param in net.parameters():
        param.copy_(draw(*param.shape) / 3)
theirs = {
    "moving average": AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
    "plain mean": AveragedModel(net),
}
ours = {"moving average": {}, "plain mean": {}}
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for count in range(20):
    optimizer.zero_grad()
    net(draw(8, 20)).square().mean().backward()
    optimizer.step()
    params = {name: param.detach() for name, param in net.named_parameters()}
    ours["moving average"] = ema(ours["moving average"], params, 0.9)
    ours["plain mean"] = swa(ours["plain mean"], params, count)
    for averaged in theirs.values():
        averaged.update_parameters(net)

for name, averaged in theirs.items():
    largest = max(
        float((param.detach() - ours[name][key]).abs().max())
        for key, param in averaged.module.named_parameters()
    )
    print(f"{name}: largest difference from torch {round(largest, 12)}")
    assert largest < 1e-12

# %% [markdown]
# LoRA is usually drawn as two thin matrices beside a linear layer. Adding their product to the matrix of the layer
# gives the same outputs, with no extra work when the model is used:

# %%
weight, a, b, inputs = draw(30, 20), draw(4, 20), draw(30, 4), draw(7, 20)
beside = inputs @ weight.T + 8 / 4 * (inputs @ a.T) @ b.T
merged = inputs @ lora(weight, a, b, alpha=8.0).T
largest = float((beside - merged).abs().max())
print(f"beside the matrix and merged: largest difference {round(largest, 12)}")
assert largest < 1e-12

# %% [markdown]
# ## Explore
#
# A descent with noisy gradients never comes to rest. This one wanders around the minimum of ½(x² + 8y²) at (0, 0). The
# moving average of its path ends closer to the minimum, if its memory is neither too short nor too long.

# %%
NOISE_CHANCE = torch.Generator().manual_seed(0)
NOISES = torch.randn(400, 2, generator=NOISE_CHANCE, dtype=torch.float64)
BEND = torch.tensor([1.0, 8.0], dtype=torch.float64)


def walk(lr, decay):
    """Return the path of a noisy descent, and the path of its moving average."""
    place = {"w": torch.tensor([-2.0, 1.5], dtype=torch.float64)}
    average, path, averages = {}, [], []
    for noise in NOISES:
        gradient = {"w": BEND * place["w"] + 2 * noise}
        place = gradient_descent(place, gradient, lr)
        average = ema(average, place, decay)
        path.append(place["w"])
        averages.append(average["w"])
    return torch.stack(path), torch.stack(averages)


# %% tags=["hide-input"]
def paths(decay, lr):
    path, averages = walk(lr, decay)
    figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.plot(*path.T.tolist(), color=GREY, linewidth=0.6, label="weights")
    axes.plot(*averages.T.tolist(), color=BLUE, linewidth=2, label="moving average")
    axes.plot(*averages[-1].tolist(), "o", color=ORANGE, markersize=8, label="its end")
    axes.plot(0, 0, "+", color="black", markersize=14, label="minimum")
    axes.set(xlabel="x", ylabel="y", xlim=(-2.6, 2.6), ylim=(-1.6, 1.6))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="upper right")
    last, end = float(path[-1].norm()), float(averages[-1].norm())
    said = (
        f"The last weights are {last:.2f} from the minimum, the average is {end:.2f}."
    )
    return figure, f"{said} Goal reached." if end <= 0.15 else said


DECAYS = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999]
explore(
    paths,
    goal="The average ends within 0.15 of the minimum, at a learning rate of 0.1.",
    decay=slider(DECAYS, start=0.0),
    lr=slider([0.05, 0.1, 0.15, 0.2], start=0.1),
)

# %% tags=["hide-input"]
good = [decay for decay in DECAYS if "Goal reached" in paths(decay, 0.1)[1]]
print("decays that reach the goal at a learning rate of 0.1:", good)
assert 0.0 not in good
assert 0.999 not in good

# %% [markdown]
# A decay of 0 averages nothing. A decay of 0.999 still remembers where the path began: the share of an update halves
# every ln ½ / ln d updates. That is 693 updates for 0.999, and this run has 400.
#
# ## On the real model
#
# The article's section 3.2 has six steps. They appear here under the article's own names. The task is sentiment: is a
# review positive or negative?
#
# ### 1 加载预训练模型 and 2 准备新任务数据: load a pretrained model, prepare the data
#
# The data come first in code, because the model has to know how many labels there are. We take a few hundred rows, so
# that the page runs in two minutes. The result with all rows follows in step 5.

# %%
data = ftlab.load_data("reviews", task="sentiment")
for split, rows in {"train": 240, "validation": 120, "test": 400}.items():
    data[split] = data[split].shuffle(seed=0).select(range(rows))
model = ftlab.load_model("minilm", data)
print(model)

# %% [markdown]
# Before you train, find out what you get for less. The pretrained model can turn a text into a vector, and two of these
# four baselines use that:
#
# - **majority**: always give the label that is most frequent in the training rows;
# - **zero-shot**: write each label as a sentence, and choose the sentence whose vector is nearest to the vector of the
#   text. It uses no training row and updates no parameter;
# - **bag of words**: logistic regression, which is a linear classifier, on how often each word occurs, without the
#   model;
# - **probe**: logistic regression on the vectors of the frozen model.

# %%
names = data["train"].features["label"].names
texts = {split: list(rows["text"]) for split, rows in data.items()}
labels = {split: np.array(rows["label"]) for split, rows in data.items()}
vectors = {split: ftlab.embed(model, texts[split]) for split in ("train", "test")}


def zero_shot(sentences):
    """Return the label whose sentence is nearest to each test review."""
    return (vectors["test"] @ ftlab.embed(model, sentences).T).argmax(1).numpy()


words = make_pipeline(CountVectorizer(), LogisticRegression(max_iter=1000))
words.fit(texts["train"], labels["train"])
probe = LogisticRegression(max_iter=1000).fit(vectors["train"], labels["train"])
answers = {
    "majority": np.full(400, np.bincount(labels["train"]).argmax()),
    "zero-shot": zero_shot([f"a {name} review" for name in names]),
    "bag of words": words.predict(texts["test"]),
    "probe": probe.predict(vectors["test"]),
}

# %% [markdown]
# You will see their scores in step 5, beside that of the fine-tuned model.
#
# ### 3 定义新任务损失函数: define the loss
#
# Each text has one label, so the loss is cross-entropy (chapter 1). `finetune` uses it unless you say otherwise, for
# example `loss=ftlab.CrossEntropy(smoothing=0.1)` or a function of your own.
#
# ### 4 微调模型: fine-tune
#
# First decide which parameters are trained. `begin` prepares a training without making a step, so counting is quick:

# %%
WHICH = {
    "everything": [],
    "LoRA": [LoRA(rank=8)],
    "BitFit": [BitFit()],
    "frozen body": [Freeze(("*.embeddings.*", "*.encoder.*"))],
}
for name, recipe in WHICH.items():
    params = ftlab.begin(model.copy(), batches=[0], recipe=recipe).params.values()
    count = sum(param.numel() for param in params)
    print(f"{name:12} trains {count:>10,} numbers in {len(params):3} tensors")

# %% [markdown]
# All four end as the same kind of ordinary model: LoRA adds its product to the matrices when the training is over. With
# a frozen body, the head and the pooler below it are trained.
#
# What do they reach? `benchmarks/defend.py` trains each on 512 rows for 3 epochs, over several seeds, and measures it
# on all test rows. Fewer trained numbers need a higher learning rate, so each gets the better of two learning rates,
# chosen on the validation rows. The results were recorded once:

# %% tags=["hide-input"]
FILE = Path("../benchmarks/results/defend.json")
MISSING = (
    "The record is in the repository, benchmarks/results/defend.json, and not here."
)
record = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else None


def interval(values, sign=""):
    mean, low, high = values
    return f"{mean:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


table = MISSING
if record:
    how, reached = record["what is trained"], record["accuracy"]
    less = record.get("everything minus", {})
    arms = [arm for arm in WHICH if arm in how and arm in reached]
    table = pd.DataFrame(
        {
            "numbers trained": [f"{how[arm]['trained']:,}" for arm in arms],
            "learning rate": [f"{how[arm]['lr']:g}" for arm in arms],
            "accuracy": [interval(reached[arm]) for arm in arms],
            "everything minus it": [
                interval(less[arm], "+") if arm in less else "" for arm in arms
            ],
        },
        index=arms,
    )
    print(f"{record['seeds']} seeds, {record['test_rows']:,} test rows")
table

# %% [markdown]
# The brackets hold 95 % intervals over seeds and test rows. LoRA trains 0.3 % of the numbers, and this comparison shows
# no loss of accuracy: the interval of its difference includes 0 and ends below 0.03. BitFit and the frozen body lose
# accuracy, since their intervals lie above 0.

# %% tags=["hide-cell"]
if record:
    assert how["LoRA"]["trained"] < 0.004 * how["everything"]["trained"]
    assert less["LoRA"][1] < 0 < less["LoRA"][2] < 0.03
    assert less["BitFit"][1] > 0
    assert less["frozen body"][1] > 0

# %% [markdown]
# On this page we train everything, with the recipe from above.

# %% tags=["nbval-ignore-output"]
rows = DatasetDict({"train": data["train"], "test": data["test"]})
run = ftlab.finetune(
    model, rows, epochs=3, lr=3e-4, batch_size=16, recipe=RECIPE, progress=False
)
losses = [one["loss"] for one in run.history]
first, last = np.mean(losses[:5]), np.mean(losses[-5:])
assert last < 0.6 * first
Picture(
    run.curves(),
    f"The training loss goes from {first:.2f} to {last:.2f} in {len(losses)} steps, "
    "under a learning rate that rises for 10 % of them and then falls.",
)

# %% [markdown]
# ### 5 评估模型性能: evaluate
#
# `finetune` has already measured the model on the test rows: accuracy, F1 and AUC-ROC, as in the article, and the loss.

# %% tags=["nbval-ignore-output"]
print(run.metrics)
assert run.metrics.intervals["accuracy"][0] > 0.7

# %% [markdown]
# Is that good? Put the baselines beside it, on the same 400 reviews. The 95 % intervals are Wilson intervals, which are
# made for a share such as that of correct answers:

# %% tags=["nbval-ignore-output"]
right = {name: int((said == labels["test"]).sum()) for name, said in answers.items()}
right["fine-tuned"] = round(400 * run.metrics["accuracy"])
scores = {}
for name, count in right.items():
    low, high = binomtest(count, 400).proportion_ci(method="wilson")
    scores[name] = (low, high)
    print(f"{name:12} {count / 400:.3f} ({low:.3f} to {high:.3f})")

# %% tags=["hide-cell"]
assert scores["fine-tuned"][0] > scores["zero-shot"][1]
assert scores["fine-tuned"][0] > scores["majority"][1]
assert right["fine-tuned"] == max(right.values())
assert scores["fine-tuned"][0] < scores["probe"][1]

# %% [markdown]
# The interval of the fine-tuned model lies above those of the majority and of zero-shot. It overlaps with that of the
# probe: few training rows and 400 test reviews cannot decide between these two. The record below can.
#
# The baselines deserve your best effort, too, or the comparison is not fair. Zero-shot depends on its sentences:

# %% tags=["nbval-ignore-output"]
PAIRS = [
    ("bad", "good"),
    ("a negative review", "a positive review"),
    ("I did not like it.", "I liked it."),
    ("It was bad.", "It was good."),
]
for sentences in PAIRS:
    share = (zero_shot(list(sentences)) == labels["test"]).mean()
    print(f"{share:.3f}   {' / '.join(sentences)}")
    assert share < right["fine-tuned"] / 400

# %% [markdown]
# None of these wordings reaches the fine-tuned model. (If you pick the best wording by its score, do it on validation
# rows.)
#
# And with all rows? `benchmarks/defend.py` has recorded that. It measured the model that `make demo` trains, over
# several seeds, and the baselines, all of them on all test rows.

# %% tags=["hide-input"]
ORDER = ["majority", "zero-shot", "bag of words", "probe", "fine-tuned"]
table = MISSING
if record:
    ahead = record["fine-tuned minus"]
    table = pd.DataFrame(
        {
            "accuracy": [interval(reached[name]) for name in ORDER],
            "fine-tuned minus it": [
                interval(ahead[name], "+") if name in ahead else "" for name in ORDER
            ],
        },
        index=ORDER,
    )
    print(
        f"{record['training_rows']:,} training rows, {record['test_rows']:,} test rows;"
        f" fine-tuned over {record['seeds']} seeds.\n"
        "In brackets: 95 % intervals over seeds and test rows."
    )
table

# %% tags=["hide-input"]
figure = Figure(figsize=(7, 2.4), layout="constrained", facecolor="white")
axes = figure.subplots()
alt = MISSING
if record:
    for place, name in enumerate(ORDER):
        mean, low, high = reached[name]
        colour = BLUE if name == "fine-tuned" else GREY
        axes.plot([low, high], [place, place], color=colour, linewidth=3)
        axes.plot(mean, place, "o", color=colour, markersize=7)
    axes.set(
        yticks=range(len(ORDER)), xlabel="accuracy on all test rows", xlim=(0.45, 1)
    )
    axes.set_yticklabels(ORDER)
    axes.spines[["top", "right"]].set_visible(False)
    alt = "Accuracy with all rows, worst to best: " + ", ".join(
        f"{name} {reached[name][0]:.3f}" for name in ORDER
    )
    assert reached["fine-tuned"][1] > max(reached[name][2] for name in ORDER[:-1])
    assert all(low > 0 for _, low, _ in ahead.values())
Picture(figure, alt)

# %% [markdown]
# The last column of the table is the difference on the same rows, and every interval lies above 0. You can defend this
# model: it is better than no training, better than counting words and better than a linear model on frozen vectors, and
# you can say by how much.
#
# ### After training: between the loaded and the trained weights
#
# Interpolation takes a point on the line between the loaded weights θ₀ and the trained weights θ_T. The head is new, so
# it has no θ₀ and stays as trained. Choose α on the validation rows: once you have used test rows to choose something,
# they no longer give a fair score.

# %% tags=["nbval-ignore-output"]
origin = {
    name: param.detach()
    for name, param in model.net.named_parameters()
    if name not in model.fresh
}
trained = {name: param.detach() for name, param in run.model.net.named_parameters()}
between = run.model.copy()


def measured(params, rows):
    """Put weights into a copy of the model, and measure it."""
    with torch.no_grad():
        for name, param in between.net.named_parameters():
            param.copy_(params[name])
    return ftlab.evaluate(between, rows, resamples=0)


ALPHAS = [0.0, 0.25, 0.5, 0.75, 1.0]
line = [
    measured(interpolate(origin, trained, alpha), data["validation"])
    for alpha in ALPHAS
]
accuracies = [one["accuracy"] for one in line]
losses = [one["loss"] for one in line]
table = pd.DataFrame({"α": ALPHAS, "accuracy": accuracies, "loss": losses})
print(table.round(3).to_string(index=False))

# %% tags=["hide-input", "nbval-ignore-output"]
figure = Figure(figsize=(7, 2.4), layout="constrained", facecolor="white")
panels = (("accuracy", accuracies), ("loss", losses))
for axes, (name, values) in zip(figure.subplots(1, 2), panels, strict=True):
    axes.plot(ALPHAS, values, "o-", color=BLUE)
    axes.set(xlabel="α, from loaded to trained", title=f"validation {name}")
    axes.spines[["top", "right"]].set_visible(False)
assert max(losses[1:4]) < losses[0]
assert losses[3] < losses[4]
assert accuracies[0] < 0.6
assert abs(accuracies[3] - accuracies[4]) < 0.05
Picture(
    figure,
    f"Between the loaded weights (loss {losses[0]:.2f}) and the trained ones "
    f"({losses[4]:.2f}) no point has a higher loss than both; "
    f"α = 0.75 has {losses[3]:.2f}.",
)

# %% [markdown]
# Read the line from left to right. At α = 0 the trained head sits on a body (the rest of the model) that it does not
# fit, and the model guesses. At α = 1 it is the model of step 5. No point in between has a higher loss than the worse
# end, so there is no hill on this line. At α = 0.75 the accuracy is about that of the trained end, and the loss is
# lower: the model is less overconfident (chapter 1).
#
# That is the loss on the new task. Going part of the way back also keeps more of what the loaded model knew;
# [chapter 3](03_reinit.ipynb) measures how much. To get this in the saved model, put `Interpolate(0.75)` into the recipe.
#
# ### 6 保存微调后的模型: save
#
# `save` writes an ordinary `transformers` folder. Anyone can open it without ftlab and will get the same probabilities:

# %% tags=["nbval-ignore-output"]
folder = run.save("runs/defended")
print(*sorted(one.name for one in folder.iterdir()))
classifier = pipeline("text-classification", str(folder), top_k=None)
for text in ("I loved every minute of it.", "The battery died on the second day."):
    theirs = {one["label"]: one["score"] for one in classifier([text])[0]}
    ours = run.predict([text])[0]["probabilities"]
    print(f"\n{text}")
    for label in names:
        print(f"  {label}: transformers {theirs[label]:.4f}, ftlab {ours[label]:.4f}")
        assert abs(theirs[label] - ours[label]) < 1e-5

# %% [markdown]
# The folder stays for you in `runs/defended`. It contains a model card, which says what the model is, how well it did
# and how it was made:

# %% tags=["nbval-ignore-output"]
card = (folder / "README.md").read_text(encoding="utf-8")
print(card)

# %% tags=["hide-cell"]
assert all(type(rule).__name__ in card for rule in RECIPE)
assert "95 % interval" in card

# %% [markdown]
# ## Where it hurts
#
# An average of weights helps only if its memory is much shorter than the run. To see that, we make 24 updates by hand
# with `begin` and `step`, and keep three averages of the weights: two moving ones, and the plain mean of the last
# quarter. Short reviews make it quick.

# %%
short = ftlab.load_data("reviews")
short.pop("validation")
for split, rows in short.items():
    brief = [place for place, text in enumerate(rows["text"]) if len(text) <= 60]
    short[split] = rows.select(brief).shuffle(seed=0)
short["test"] = short["test"].select(range(150))
batches = []
for first in range(0, 128, 16):
    rows = short["train"][first : first + 16]
    tokens = model.processor(rows["text"], padding=True, return_tensors="pt")
    batches.append({**tokens, "labels": torch.tensor(rows["label"])})

# %% tags=["nbval-ignore-output"]
by_hand = model.copy(0)
start = {name: one.detach().clone() for name, one in by_hand.net.named_parameters()}
state = ftlab.begin(
    by_hand, batches, [WarmupLinear(0.1)], epochs=3, lr=3e-4, engine="auto"
)
fast, slow, quarter = {}, {}, {}
for count, batch in enumerate(batches * 3):
    ftlab.step(state, batch)
    params = {name: one.detach() for name, one in state.params.items()}
    fast, slow = ema(fast, params, 0.8), ema(slow, params, 0.999)
    if count >= 18:
        quarter = swa(quarter, params, count - 18)

ENDS = {
    "before training": start,
    "the last weights": params,
    "EMA, decay 0.8": fast,
    "SWA, last quarter": quarter,
    "EMA, decay 0.999": slow,
}
ends = {name: measured(weights, short["test"]) for name, weights in ENDS.items()}
for name, one in ends.items():
    print(f"{name:18} accuracy {one['accuracy']:.3f}, loss {one['loss']:.3f}")

# %% tags=["hide-cell"]
gain = {
    name: ends["before training"]["loss"] - one["loss"] for name, one in ends.items()
}
assert ends["the last weights"]["accuracy"] > 0.7
assert gain["EMA, decay 0.8"] > gain["the last weights"] / 2
assert gain["SWA, last quarter"] > gain["the last weights"] / 2
assert gain["EMA, decay 0.999"] < gain["the last weights"] / 4

# %% [markdown]
# Decay 0.999 is the usual default. Here it throws away almost everything that was learned, because the average still
# consists almost entirely of the weights after the first update:

# %%
for updates, decay in ((24, 0.8), (24, 0.999), (10_000, 0.999)):
    share = decay ** (updates - 1)
    print(f"{updates:6,} updates, decay {decay}: {share:.1%} is left of the first ones")

# %% [markdown]
# In a run of 10,000 updates the same decay is harmless. The rule `EMA` warns you when it starts. In a loop that you
# write yourself, nothing warns you.
#
# ## Also called
#
# - Interpolation with θ₀ is **WiSE-FT**. The mean of several fine-tuned models is a **model soup**. The plain mean of the
#   weights along a run is **Polyak averaging**, or **SWA** when it covers only the end of the run.
# - Training the head first and then everything is **LP-FT** (linear probing, then fine-tuning). Training few parameters
#   is *parameter-efficient fine-tuning*, **PEFT**.
# - A layer-wise decay of the learning rate is *discriminative fine-tuning* in ULMFiT.
# - The article writes 学习率裁剪, "clipping of the learning rate", for lowering the learning rate over time. That is
#   decay (chapter 4). `ClipRate` puts a bound on the learning rate.
#
# ### What the article says, and what you can run here

# %% tags=["hide-input"]
TABLE = """\
| the article | what you can run here |
| --- | --- |
| *direction 1*: more efficient strategies | `LoRA`, `BitFit`, `Freeze`: step 4 |
| *direction 2*: adaptive fine-tuning | `find_lr` looks for a learning rate; \
`Plateau` lowers it when validation stops improving |
| *direction 3*: across models, BERT to GPT | `Distill`: a student learns from a \
teacher's answers; measured both ways in [chapter 7](07_a_gpt_of_your_own.ipynb) |
| *direction 4*: zero-shot, no update | a baseline in step 2, its score in step 5; \
`zero_shot` in [chapter 7](07_a_gpt_of_your_own.ipynb) |
| *direction 5*: theory, stability, consistency | `compare` and `trial` over seeds; \
the line from θ₀ to θ_T above |
| *challenge 1*: little data | the learning curve in [The data](../data.md) |
| *challenge 2*: little computing | `accumulate=` splits a batch; `doctor` says what \
your machine has |
| *challenge 3*: forgetting | `L2SP`, `Interpolate`, `Freeze`, measured in \
[chapter 3](03_reinit.ipynb) |
| *challenge 4*: large models | `RemoveLayers`, `RemoveNeurons`: \
[chapter 5](05_sign_prune.ipynb) |
| *challenge 5*: explosion and oscillation | `ClipNorm`, `WarmupLinear`, `EMA`, `SAM` |
| *question 1*: fine-tuning or transfer? | `finetune` is one way to transfer; the \
probe in step 2 is another, without an update |
| *question 2*: is the pretraining data needed? | no: `L2SP` and `PriorDecay` pull \
towards θ₀, which is in the checkpoint |
| *question 3*: is knowledge lost? | yes; `check_similarity` measures it, and \
[chapter 3](03_reinit.ipynb) shows how much, and what keeps it |
| *question 4*: much computing? | this page runs in about two minutes on one core; \
`doctor` tells you about yours |
| *question 5*: is the gain limited? | step 5 says how large it is, and the learning \
curve in [The data](../data.md) how it grows with the rows |
| *question 6*: explosion, oscillation | `ClipNorm`, which the article's five answers \
leave out; `Decay`, `ClipWeights`, `L2Penalty` |
"""
named = set(re.findall(r"`(\w+)`", TABLE))
assert all(hasattr(ftlab, name) for name in named)
Markdown(TABLE)

# %% [markdown]
# ## Is your own rule better?
#
# Suppose you have read that a little noise helps training. Here is such a rule: `Shaken` multiplies the gradient of
# each parameter by a random number between 0 and 2. `now.generator` draws the numbers, so the same seed gives the same
# run.


# %%
@dataclass(frozen=True)
class Shaken(ftlab.GradientRule):
    def shape(self, grads, memory, now):
        factors = 2 * torch.rand(len(grads), generator=now.generator)
        shaken = zip(grads.items(), factors.tolist(), strict=True)
        return {name: factor * grad for (name, grad), factor in shaken}, memory


# %% [markdown]
# `trial` trains pairs of models that differ only in the rule. `base_recipe=` holds the rules that both models of a pair
# have. Freezing the lower half of the model makes training quicker.

# %% tags=["nbval-ignore-output"]
lower = ("*.embeddings.*", "*.layer.0.*", "*.layer.1.*", "*.layer.2.*")
both = [Freeze(lower), ClipNorm(1.0)]
few = {"pairs": 3, "rows": 80, "epochs": 3, "lr": 3e-4, "batch_size": 16}
verdict = ftlab.trial(Shaken(), short, model, base_recipe=both, **few)
print(verdict)

# %% tags=["hide-cell"]
assert verdict.failed_checks == ()
assert verdict.verdict == "undecided"
assert min(verdict.without) > 0.6

# %% [markdown]
# Undecided does not mean that the rule has no effect. It means that an effect of this size does not show with three
# pairs. How large must an effect be to show? That is a question about the **power** of the comparison (chapter 1). Here
# are the answers for pairs that scatter like these:

# %% tags=["nbval-ignore-output"]
for pairs in (3, 5, 10, 30):
    seen = verdict.paired.spread * minimum_detectable_effect(pairs)
    print(f"{pairs:2} pairs detect a difference of {seen:.3f} with 80 % power")
assert verdict.paired.mde() >= abs(verdict.paired.mean)

# %% [markdown]
# To answer the question properly, you need more pairs: `trial(Shaken(), pairs=30)`, or `compare` if there are several
# recipes. The rest of the code stays the same.
#
# ## Exercises
#
# ### Exercise 06.1
#
# After how many updates has an update's share in a moving average with d = 0.99 fallen to a half? Give three significant
# digits.

# %% tags=["solution"]
import math

updates = math.log(0.5) / math.log(0.99)
ftlab.check.exercise("06.1", updates)

# %% [markdown]
# ### Exercise 06.2
#
# MiniLM has six layers. In each of them, LoRA works on two matrices of 384 by 384. How many numbers do the factors of
# rank 4 have in all? You can check your answer with `begin`, as in step 4: the head, with its 2·384 + 2 numbers, is
# trained too.

# %% tags=["solution"]
factors = 6 * 2 * (4 * 384 + 384 * 4)
ftlab.check.exercise("06.2", factors)

# %% [markdown]
# ### Exercise 06.3
#
# Write `averaged(path, decay)`: the moving average at the end of a list of tensors. It starts with the first of them.


# %% tags=["solution"]
def averaged(path, decay):
    mean = path[0]
    for place in path[1:]:
        mean = decay * mean + (1 - decay) * place
    return mean


ftlab.check.exercise("06.3", averaged)

# %% [markdown]
# ### Exercise 06.4
#
# Over ten paired seeds, one recipe is better than another by +0.021, with a 95 % interval from −0.004 to +0.046. What
# is the verdict: better, worse or undecided?

# %% tags=["solution"]
word = "undecided"
ftlab.check.exercise("06.4", word)

# %% [markdown]
# ### Exercise 06.5
#
# Write `go_back(origin, trained, alpha)`: the interpolation of two dictionaries of tensors. `origin` may lack names, such
# as those of a new head.


# %% tags=["solution"]
def go_back(origin, trained, alpha):
    return {
        name: (1 - alpha) * origin[name] + alpha * tensor
        if name in origin
        else tensor.clone()
        for name, tensor in trained.items()
    }


ftlab.check.exercise("06.5", go_back)

# %% [markdown]
# ## Key points
#
# - A recipe is a list of rules, and each rule has its place in one equation. `explain` shows the plan before you train.
# - A model is defended by intervals and by cheaper methods measured on the same test rows. Fine-tuning beat them all
#   here.
# - You choose which parameters are trained: everything, the biases, thin factors, or only the head. Each choice needs
#   its own learning rate.
# - Points on the line between loaded and trained weights are models too. Choose among them on validation rows.
# - An average of weights helps only if its memory is much shorter than the run.
# - "Undecided" says nothing unless you also state the power of the comparison.
