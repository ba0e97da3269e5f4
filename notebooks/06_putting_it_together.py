# %% [markdown]
# # 6. Putting it together: from a recipe to a model that you can defend
#
# The article's whole procedure on a real task: six steps, a recipe of several rules, a comparison that says what it could
# have seen, and a saved model that others open.
#
# **When you are through** (about 30 minutes to read, about 2 minutes to run) you can
#
# - compose rules to a recipe, and read it as one equation before anything is trained;
# - choose which parameters are trained, and what is done with the weights when training is over;
# - compare two recipes over paired seeds, and say how large a difference could have been seen.
#
# You need the quickstart and the chapters before this one.
#
# **Formulas:** `freeze`, `head_first`, `bitfit`, `lora`, `interpolate`, `soup`, `ema`, `swa`

# %% tags=["nbval-skip"]
import subprocess
import sys

if "google.colab" in sys.modules:  # on Colab: install your copy of the repository; its torch stays
    REPOSITORY = ""  # the address of your copy, as in https://github.com/you/ftlab
    assert REPOSITORY, "Write the address of your copy of the repository into REPOSITORY, then run this cell again."
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"ftlab[embedded] @ git+{REPOSITORY}"], check=True)

# %%
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from IPython.display import Markdown
from matplotlib.figure import Figure
from scipy.stats import binom, binomtest
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import pipeline

import ftlab
from ftlab import (
    EMA,
    BitFit,
    ClipNorm,
    Freeze,
    HeadFirst,
    LayerwiseDecay,
    LoRA,
    WarmupLinear,
    explore,
    formulas,
    slider,
)
from ftlab.formulas import ema, interpolate, lora, mean_of, swa
from ftlab.plots import BLUE, GREY, ORANGE, Picture

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
workplace = tempfile.TemporaryDirectory()  # what this page saves goes there, and away again

# %% [markdown]
# ## Why
#
# A recipe is changed, the accuracy goes up by 5 points. Was it the change?
#
# Take two models that are **equally good**: each is right in 75 % of all cases. Each is measured on 100 reviews of its own.
# How far apart do they look? No simulation is needed: the number of right answers is binomial.

# %%
right = binom.pmf(np.arange(101), 100, 0.75)
apart, chances = np.arange(-100, 101), np.convolve(right, right[::-1])
lucky = float(chances[abs(apart) >= 5].sum())
print(f"Two equally good models look 5 points or more apart in {lucky:.0%} of all cases.")
assert 0.4 < lucky < 0.5

# %%
figure = Figure(figsize=(7, 2.8), layout="constrained", facecolor="white")
axes = figure.subplots()
shown = abs(apart) <= 25
far = shown & (abs(apart) >= 5)
axes.bar(apart[shown], chances[shown], color=GREY, label="less than 5 points apart")
axes.bar(apart[far], chances[far], color=ORANGE, hatch="//", edgecolor="white", label="5 points or more")
axes.set(xlabel="points of accuracy by which they seem to differ", ylabel="chance")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, fontsize="small")
Picture(
    figure, "Two equally good models, measured on 100 reviews each, look 5 points or more apart in 46 % of all cases."
)

# %% [markdown]
# And that is the chance of the test reviews alone; seeds add theirs. So this chapter does not ask which recipe came out
# higher. It asks what the numbers can carry.
#
# ## The formula
#
# The chapter has no formula of its own. It has the equation into which all formulas of the course fit; a recipe fills its
# places. Here are four rules, and what they make of it:

# %%
RECIPE = [LayerwiseDecay(0.9), WarmupLinear(0.1), ClipNorm(1.0), EMA(0.8)]
print(ftlab.explain(RECIPE))

# %% [markdown]
# Read the plan before you train. The order of the kinds is fixed by the equation, whatever order you list them in; inside
# a kind your order holds. Where rules get in each other's way, the plan says so:

# %%
print(ftlab.explain([LoRA(rank=4), Freeze("*.embeddings.*"), HeadFirst(0.3)]).partition("take care:\n")[2])

# %% [markdown]
# The formulas that are new here come at the two ends of the equation. *Which parameters are trained* is decided before
# the first update:

# %%
BEFORE = (formulas.freeze, formulas.head_first, formulas.bitfit, formulas.lora)
AFTER = (formulas.interpolate, formulas.mean_of, formulas.ema, formulas.swa)


def typeset(functions):
    shown = [ftlab.formula(one) for one in functions]
    return Markdown("\n\n".join(f"**{one.name}**: {one.sentence}\n\n$$\n{one.mathematics}\n$$" for one in shown))


typeset(BEFORE)

# %% [markdown]
# *What is kept of the weights* is decided after the last one. `mean_of` is the formula of a **soup**:

# %%
typeset(AFTER)

# %% [markdown]
# Two of them in full:

# %%
ftlab.formula(formulas.interpolate)

# %%
ftlab.formula(formulas.ema)

# %% [markdown]
# Limit cases: α = 1 keeps what was trained, α = 0 gives the loaded weights back. d = 0 keeps the last weights, d = 1 the
# first ones for ever. A soup of one model is that model.
#
# ## By hand
#
# On paper: a quarter of the way from θ₀ to θ_T; a moving average with d = ¾ that begins at 8 and then sees 0 three times;
# the plain mean of 2, 4 and 9.

# %%
quarter = interpolate({"w": torch.tensor([0.0, 2.0, 1.0])}, {"w": torch.tensor([4.0, 2.0, -1.0])}, 0.25)["w"]
print("a quarter of the way from (0, 2, 1) to (4, 2, -1):", quarter.tolist())

mean, means = {"w": torch.tensor(8.0)}, []
for _ in range(3):
    mean = ema(mean, {"w": torch.tensor(0.0)}, 0.75)
    means.append(mean["w"].item())
print("8, then ¾ of it three times:", means)

plain = {}
for count, value in enumerate([2.0, 4.0, 9.0]):
    plain = swa(plain, {"w": torch.tensor(value)}, count)
soup = mean_of([{"w": torch.tensor(value)} for value in (2.0, 4.0, 9.0)])
print("the mean of 2, 4 and 9:", plain["w"].item(), "step by step,", soup["w"].item(), "at once")
assert quarter.tolist() == [1.0, 2.0, 0.5]
assert means == [6.0, 4.5, 3.375]
assert plain["w"].item() == soup["w"].item() == 5.0

# %% [markdown]
# ## Against torch
#
# Twenty steps of torch's SGD on a small network; beside it torch's own `AveragedModel`, once with a moving average, once
# with the plain mean, and ours.

# %%
chance = torch.Generator().manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Tanh(), torch.nn.Linear(30, 3)).double()
with torch.no_grad():
    for param in net.parameters():
        param.copy_(torch.randn(param.shape, generator=chance, dtype=torch.float64) / 3)
moving, plain_mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9)), AveragedModel(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
ours_moving, ours_plain = {}, {}
for count in range(20):
    optimizer.zero_grad()
    net(torch.randn(8, 20, generator=chance, dtype=torch.float64)).square().mean().backward()
    optimizer.step()
    moving.update_parameters(net)
    plain_mean.update_parameters(net)
    params = {name: param.detach() for name, param in net.named_parameters()}
    ours_moving, ours_plain = ema(ours_moving, params, 0.9), swa(ours_plain, params, count)


def apart_from(averaged, ours):
    return max(float((param.detach() - ours[name]).abs().max()) for name, param in averaged.module.named_parameters())


print("moving average, largest difference < 1e-12:", apart_from(moving, ours_moving) < 1e-12)
print("plain mean, largest difference < 1e-12:    ", apart_from(plain_mean, ours_plain) < 1e-12)
assert max(apart_from(moving, ours_moving), apart_from(plain_mean, ours_plain)) < 1e-12

# %% [markdown]
# And LoRA: a linear module with the product added to its matrix answers like one that adds the two thin products on the
# way.

# %%
weight, a, b = (torch.randn(shape, generator=chance, dtype=torch.float64) for shape in ((30, 20), (4, 20), (30, 4)))
texts = torch.randn(7, 20, generator=chance, dtype=torch.float64)
linear = torch.nn.functional.linear
beside = linear(texts, weight) + 8 / 4 * linear(linear(texts, a), b)
apart = float((linear(texts, lora(weight, a, b, 8.0)) - beside).abs().max())
print("merged and beside, largest difference < 1e-12:", apart < 1e-12)
assert apart < 1e-12

# %% [markdown]
# ## Explore
#
# A descent with noisy gradients on ½(x² + 8y²) never comes to rest: it wanders around the minimum at (0, 0). The moving
# average of its path does better, if it forgets fast enough and not too fast.

# %%
noises = torch.randn(400, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
bend = torch.tensor([1.0, 8.0], dtype=torch.float64)


def walk(rate, decay):
    """Return the path of a noisy descent, and the path of its moving average."""
    place, mean = {"w": torch.tensor([-2.0, 1.5], dtype=torch.float64)}, {}
    path, means = [], []
    for noise in noises:
        place = formulas.gradient_descent(place, {"w": bend * place["w"] + 2 * noise}, rate)
        mean = ema(mean, place, decay)
        path.append(place["w"])
        means.append(mean["w"])
    return torch.stack(path), torch.stack(means)


def paths(decay, rate):
    path, means = walk(rate, decay)
    figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.plot(*path.T.tolist(), color=GREY, linewidth=0.6, label="weights")
    axes.plot(*means.T.tolist(), color=BLUE, linewidth=2, label="their moving average")
    axes.plot(*means[-1].tolist(), "o", color=ORANGE, markersize=8, label="its end")
    axes.plot(0, 0, "+", color="black", markersize=14, label="minimum")
    axes.set(xlabel="x", ylabel="y", xlim=(-2.6, 2.6), ylim=(-1.6, 1.6))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", loc="upper right")
    last, mean = float(path[-1].norm()), float(means[-1].norm())
    said = f"The last weights are {last:.2f} away from the minimum, the average is {mean:.2f} away."
    return figure, f"{said} Goal reached." if mean <= 0.15 else said


DECAYS, RATES = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999], [0.05, 0.1, 0.15, 0.2]
explore(
    paths,
    goal="The average ends within 0.15 of the minimum, at a rate of 0.1.",
    decay=slider(DECAYS, start=0.0),
    rate=slider(RATES, start=0.1),
)

# %%
good = [decay for decay in DECAYS if "Goal reached" in paths(decay, 0.1)[1]]
print("decays that reach it:", good)
assert 0.0 not in good
assert 0.999 not in good

# %% [markdown]
# A decay of 0 averages nothing. One of 0.999 still holds much of where the path began: an update's share halves in
# ln ½ / ln d updates, which are 693 for 0.999, and the run has 400.
#
# ## On the real model
#
# The article's section 3.2 has six steps. Here they are under its own names.
#
# ### 1 加载预训练模型 and 2 准备新任务数据: load a pretrained model, prepare the data
#
# The data come first in code, since the model has to know how many labels there are. The task is the topic of a review,
# one of six, with few reviews to learn from.

# %%
data = ftlab.load_data("reviews", task="topic")
for split, rows in {"train": 128, "validation": 40, "test": 100}.items():
    data[split] = data[split].shuffle(seed=0).select(range(rows))
model = ftlab.load_model("minilm", data)
print(model)

# %% [markdown]
# ### 3 定义新任务损失函数: define the loss
#
# One label a text: cross-entropy, chapter 1. `finetune` takes it by itself; `loss=ftlab.CrossEntropy(smoothing=0.1)` or
# a function of your own takes its place.
#
# ### 4 微调模型: fine-tune
#
# First, which parameters would be trained? `begin` prepares a training without making a step, so counting is cheap.

# %%
WHICH = {
    "everything": [],
    "all but the embeddings": [Freeze("*.embeddings.*")],
    "biases and head": [BitFit()],
    "LoRA of rank 4 and head": [LoRA(rank=4)],
}
for name, recipe in WHICH.items():
    params = ftlab.begin(model.copy(), batches=[0], recipe=recipe).params.values()
    count = sum(param.numel() for param in params)
    print(f"{name:24} {count:>12,} trained parameters in {len(params):3d} tensors")

# %% [markdown]
# All four end as the same ordinary model of 22.7 million parameters: LoRA's product is added to the matrices when
# training is over. `HeadFirst` is different: it trains everything, but lets the head go ahead.
#
# We train everything, with the recipe from above.

# %% tags=["nbval-ignore-output"]
run = ftlab.finetune(model, data, epochs=2, lr=3e-4, batch_size=8, recipe=RECIPE)
assert len(run.history) == 32
Picture(
    run.curves(),
    f"The training loss goes from {run.history[0]['loss']:.2f} to {run.history[-1]['loss']:.2f} in 32 steps.",
)

# %% [markdown]
# ### 5 评估模型性能: evaluate

# %% tags=["nbval-ignore-output"]
metrics = run.evaluate("test").flat()
for name in ("accuracy", "f1", "auc_roc"):
    print(f"{name:9} {metrics[name]:.3f}   95 % interval {metrics[name + '_low']:.3f} to {metrics[name + '_high']:.3f}")
assert metrics["accuracy"] > 1 / 6, "guessing"

# %% [markdown]
# The interval is wide, because 100 reviews are few: that is what "Why" has shown. So is this recipe better than none? Two
# recipes, three seeds, 96 reviews; the same head, order and dropout in each pair. The first arm is the one against which the other
# is held; it has what every recipe without a schedule has, warm-up and linear decay.

# %% tags=["nbval-ignore-output"]
few = data.copy()
few.pop("validation")
few["train"], few["test"] = data["train"].select(range(96)), data["test"].select(range(60))
found = ftlab.compare({"plain": [], "recipe": RECIPE}, few, model, seeds=3, epochs=1, lr=5e-4, batch_size=8)
print(found)
paired = found.against("recipe")
assert paired.detectable > 0.02 or not paired.spread, "three pairs do not see a difference of two points"

# %% tags=["nbval-ignore-output"]
said = (
    f"Recipe minus plain: {paired.mean:+.3f}, 95 % interval {paired.low:+.3f} to {paired.high:+.3f} over three seeds."
)
assert found.n == 60
assert len(paired.differences) == 3
Picture(found.figure(), said)

# %% [markdown]
# Read the last column before the mean. "Undecided" does not mean that the recipes are alike. It means that a difference as
# great as the one named there would have been seen four times in five, and that a smaller one mostly would not: with three
# pairs, two points of accuracy are out of sight. With `seeds=10` and all 1,104 reviews the line of code is the same, and
# the answer sharper.
#
# ### After training: between the loaded and the trained weights
#
# θ* = (1 − α)·θ₀ + α·θ_T, from one end to the other. θ₀ is the body as it was loaded; the head has no θ₀ and stays as
# trained.

# %% tags=["nbval-ignore-output"]
origin = {name: param.detach() for name, param in model.net.named_parameters() if name not in model.fresh}
trained = {name: param.detach().clone() for name, param in run.model.net.named_parameters()}
between = run.model.copy()


def measured(params):
    """Put weights into the model and measure it on 60 test reviews."""
    with torch.no_grad():
        for name, param in between.net.named_parameters():
            param.copy_(params[name])
    return ftlab.evaluate(between, few["test"], resamples=0)


ALPHAS = [0.0, 0.25, 0.5, 0.75, 1.0]
line = [measured(interpolate(origin, trained, alpha)) for alpha in ALPHAS]
accuracies, losses = ([one[name] for one in line] for name in ("accuracy", "loss"))
print(pd.DataFrame({"α": ALPHAS, "accuracy": accuracies, "loss": losses}).round(3).to_string(index=False))
assert losses[0] > losses[-1], "the trained end fits the new task better"

# %% tags=["nbval-ignore-output"]
figure = Figure(figsize=(7, 2.8), layout="constrained", facecolor="white")
left, right_side = figure.subplots(1, 2)
for axes, values, name in ((left, accuracies, "accuracy"), (right_side, losses, "loss")):
    axes.plot(ALPHAS, values, "o-", color=BLUE)
    axes.set(xlabel="α, from loaded to trained", title=name)
    axes.spines[["top", "right"]].set_visible(False)
assert max(losses[1:4]) < losses[0]
Picture(
    figure,
    f"Along the line from loaded to trained weights the loss falls from {losses[0]:.2f} to {losses[-1]:.2f}, without a hill.",
)

# %% [markdown]
# The way is smooth: there is no hill between the two ends, so points between them are models too. That is why weights of
# one origin can be averaged at all. Which α is best cannot be told from these 60 reviews, and must not be chosen on the
# test reviews.
#
# ### 6 保存微调后的模型: save
#
# An ordinary `transformers` folder. Whoever has it opens it with nothing of ftlab imported; the probabilities have to be
# the same.

# %% tags=["nbval-ignore-output"]
folder = run.save(Path(workplace.name) / "topic")
print(sorted(one.name for one in folder.iterdir()))
classifier = pipeline("text-classification", str(folder), top_k=None)
texts = ["The room was clean and the bed was soft.", "The lessons are short, and every one ends with a task."]
theirs = [{one["label"]: one["score"] for one in scores} for scores in classifier(texts)]
ours = [answer["probabilities"] for answer in run.predict(texts)]
apart = max(abs(one[label] - other[label]) for one, other in zip(theirs, ours, strict=True) for label in one)
print("all probabilities the same to 1e-5:", apart < 1e-5)
assert apart < 1e-5

# %% [markdown]
# In the folder lies the model card, which says what the model is, what it reached and how it was made:

# %% tags=["nbval-ignore-output"]
card = (folder / "README.md").read_text(encoding="utf-8")
print(card)
assert all(type(rule).__name__ in card for rule in RECIPE)
assert "95 % interval" in card

# %% [markdown]
# ## Where it hurts
#
# An average is only as good as its memory is short. We make 32 updates by hand with `begin` and `step`, and keep three
# means of the weights beside them: two moving averages and the plain mean of the last quarter.


# %% tags=["nbval-ignore-output"]
def batch_of(rows):
    tokens = model.processor(list(rows["text"]), padding=True, truncation=True, max_length=128, return_tensors="pt")
    return {**tokens, "labels": torch.tensor(rows["label"])}


batches = [batch_of(data["train"].select(range(first, first + 8))) for first in range(0, 128, 8)]
by_hand = model.copy(0)
untrained = {name: param.detach().clone() for name, param in by_hand.net.named_parameters()}
state = ftlab.begin(by_hand, batches, recipe=[WarmupLinear(0.1)], epochs=2, lr=3e-4, engine="auto")
fast, slow, last_quarter = {}, {}, {}
for count, batch in enumerate(batches * 2):
    ftlab.step(state, batch)
    params = {name: param.detach() for name, param in state.params.items()}
    fast, slow = ema(fast, params, 0.8), ema(slow, params, 0.999)
    if count >= 24:
        last_quarter = swa(last_quarter, params, count - 24)

ends = {
    "before training": untrained,
    "the last weights": params,
    "EMA, decay 0.8": fast,
    "SWA, last quarter": last_quarter,
    "EMA, decay 0.999": slow,
}
losses = {name: measured(weights)["loss"] for name, weights in ends.items()}
for name, loss in losses.items():
    print(f"{name:18} loss on 60 test reviews {loss:.3f}")
gain = {name: losses["before training"] - loss for name, loss in losses.items()}
assert gain["the last weights"] > 0.1
assert gain["EMA, decay 0.8"] > gain["the last weights"] / 2
assert gain["EMA, decay 0.999"] < gain["the last weights"] / 4, "next to nothing of what was learned is left"

# %% [markdown]
# With decay 0.999, the usual default, the average of 32 updates holds almost only the first ones: all that was learned is
# thrown away at the end. In a run of 10,000 updates the same number is harmless. `EMA` says so when it starts; when you
# write the loop yourself, nobody does.

# %%
print(f"32 updates: {0.999**31:.1%} of the weights after the first one with decay 0.999, {0.8**31:.1%} with 0.8")
print(f"10,000 updates: {0.999**9999:.3%} with decay 0.999")

# %% [markdown]
# ## Also called
#
# - Interpolation with θ₀ is **WiSE-FT**; the mean of several fine-tuned models a **model soup**; the moving average
#   **Polyak averaging**, and the plain mean over the end of a run **SWA**.
# - Head first, then everything: **LP-FT**, linear probing, then fine-tuning. Training few parameters: *parameter-efficient
#   fine-tuning*, **PEFT**; a frozen body with a new head is a *linear probe*.
# - Layer-wise decay of the learning rate is *discriminative fine-tuning* in ULMFiT.
# - The article's 学习率裁剪, "clipping of the learning rate", is used by it for lowering the rate over time, which is
#   decay (chapter 4). A bound on the rate is `ClipRate`.
#
# ### What the article says, and what you can run here

# %%
TABLE = """\
| the article | what you can run here |
| --- | --- |
| *direction 1*: more efficient strategies | `LoRA`, `BitFit`, `Freeze`, `finetune` with `engine="auto"` |
| *direction 2*: adaptive fine-tuning | `find_rate` looks for a learning rate, `Plateau` lowers it when validation stops |
| *direction 3*: across models, BERT to GPT | `Distill`: a teacher's answers train a student that shares its labels and tokenizer |
| *direction 4*: zero-shot, no update | `embed` texts and the names of the labels: the next cell |
| *direction 5*: theory, stability, consistency | `compare` over seeds; the line from θ₀ to θ_T above |
| *challenge 1*: little data | `trial` and `compare` with few rows; `SupervisedContrastive`, `Mixout`, `Reinit` |
| *challenge 2*: little computing | `LoRA`, `accumulate=`, `doctor` says what your machine has |
| *challenge 3*: forgetting | `L2SP`, `EWC`, `Interpolate`; `load_pairs` to measure it |
| *challenge 4*: large models | `RemoveLayers`, `RemoveNeurons`: chapter 5 |
| *challenge 5*: explosion and oscillation | `ClipNorm`, `WarmupLinear`, `EMA`, `SAM` |
| *Q1*: fine-tuning or transfer? | `finetune` is one way to transfer; `embed` is another, without any update |
| *Q2*: is the pretraining data needed? | no: `L2SP` and `PriorDecay` hold on to θ₀, which is in the checkpoint |
| *Q3*: is knowledge lost? | measure it with `load_pairs`; `L2SP` and `Interpolate` hold on to θ₀, noise (`Reinit`) does not |
| *Q4*: much computing? | `doctor`; a smaller model, fewer trained parameters |
| *Q5*: is the gain limited? | `trial` with an interval says how much there is |
| *Q6*: explosion, oscillation | `ClipNorm`, which the article's five answers leave out; `Decay`, `ClipWeights`, `L2Penalty` |
"""
named = set(re.findall(r"`(\w+)`", TABLE))
assert all(hasattr(ftlab, name) for name in named)
Markdown(TABLE)

# %% [markdown]
# Direction 4 in three lines: the topic whose name lies nearest to the text, with no parameter updated.

# %%
names = data["test"].features["label"].names
topics = ftlab.embed(model, [f"a review of a {name}" for name in names])
nearest = (ftlab.embed(model, list(few["test"]["text"])) @ topics.T).argmax(1)
zero_shot = float((nearest == torch.tensor(few["test"]["label"])).double().mean())
print(f"without a single update: more than 40 % of 60 reviews right: {zero_shot > 0.4}")
assert zero_shot > 0.4

# %% tags=["nbval-ignore-output"]
for name, accuracy in {"zero-shot": zero_shot, "fine-tuned on 128 reviews": accuracies[-1]}.items():
    low, high = binomtest(round(60 * accuracy), 60).proportion_ci(method="wilson")
    print(f"{name:26} {accuracy:.2f} ({low:.2f} to {high:.2f})")
    assert high - low > 0.2

# %% [markdown]
# Compare with the cheapest thing that might work before you report a gain. MiniLM was pretrained to compare sentences, and
# on 60 reviews each interval is more than 20 points wide: between the two nothing is decided here.
#
# ## Is your own rule better?
#
# A rule of three lines: take the mean out of every row of a gradient. `beside` is what both arms have.


# %% tags=["nbval-ignore-output"]
@dataclass(frozen=True)
class Centred(ftlab.GradientRule):
    def shape(self, grads, memory, now):
        return {
            name: grad - grad.mean(-1, keepdim=True) if grad.ndim > 1 else grad for name, grad in grads.items()
        }, memory


few["test"] = data["test"].select(range(40))
verdict = ftlab.trial(Centred(), few, model, pairs=3, rows=48, beside=RECIPE[:3], epochs=2, lr=5e-4, batch_size=8)
print(verdict)
assert verdict.broken == ()
assert len(verdict.with_it) == 3

# %% [markdown]
# Three pairs are a rehearsal, not a result: they show that the rule keeps the contract and how much the pairs scatter. From
# the scatter the verdict tells which difference so many pairs can show. Give it `pairs=10` and more rows for an answer.
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
# MiniLM has six layers; in each, LoRA stands beside two matrices of 384 by 384. How many numbers do the factors of rank 4
# have in all? Check it against the count above: the head has 6·384 + 6.

# %% tags=["solution"]
factors = 6 * 2 * (4 * 384 + 384 * 4)
ftlab.check.exercise("06.2", factors)

# %% [markdown]
# ### Exercise 06.3
#
# Write `averaged(path, decay)`: the moving average at the end of a list of tensors. It begins with the first of them.


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
# Over ten paired seeds a recipe is +0.021 better than another, 95 % interval −0.004 to +0.046. Better, worse, or undecided?
# Answer in one word.

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
        name: (1 - alpha) * origin[name] + alpha * tensor if name in origin else tensor.clone()
        for name, tensor in trained.items()
    }


ftlab.check.exercise("06.5", go_back)

# %% [markdown]
# ## Key points
#
# - A recipe is a list of rules, each with its place in one equation. `explain` shows the plan before anything is trained.
# - Which parameters are trained is a choice: everything, the biases, thin factors. What is saved is an ordinary model.
# - Weights of one origin can be averaged: with θ₀, along a run, over runs. A mean whose memory is longer than the run holds
#   what was there before it.
# - Two numbers are a result only with pairs, an interval, and what could have been seen.
# - Six steps: load, prepare, loss, fine-tune, evaluate, save. The last is done when somebody else can open it.

# %% tags=["nbval-skip"]
workplace.cleanup()
