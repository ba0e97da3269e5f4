# %% [markdown]
# # 5. Sign prune: what formula (5) does, and what removes weights
#
# The article's fifth formula is supposed to make a model smaller. You will count what it removes,
# learn its usual name, and then use the methods that do remove something.
#
# **When you are through** (about 60 minutes to read and work through, about 2 minutes to run) you can
#
# - say what θ − β·sign(∇J) does to a weight, and show that it makes no zeros;
# - make exact zeros in three ways, and explain why they make no file smaller and no model faster;
# - say how many of its weights a fine-tuned model can lose before its accuracy falls;
# - take neurons and layers out of a pretrained model, and say what you gain and what it costs.
#
# You need the quickstart and chapter 2: gradient descent, and what a recipe is.
#
# **Formulas:** `sign_prune`, `signum`, `lion`, `soft_threshold`, `cubic_sparsity`, `magnitude_prune`, `movement_prune`, `remove_neurons`, `remove_layers`, `clip_weights`, `l1_penalty`, `l2_penalty`, `weight_decay`

# %%
import torch

import ftlab
from ftlab import SignPrune, explore, slider
from ftlab.formulas.clip_weights import clip_weights
from ftlab.formulas.gradient_descent import gradient_descent
from ftlab.formulas.l1_penalty import l1_penalty
from ftlab.formulas.l2_penalty import l2_penalty
from ftlab.formulas.lion import lion
from ftlab.formulas.magnitude_prune import magnitude_prune
from ftlab.formulas.movement_prune import movement_prune, movement_scores
from ftlab.formulas.remove_layers import remove_layers
from ftlab.formulas.sign_prune import sign_prune
from ftlab.formulas.signum import signum
from ftlab.formulas.soft_threshold import soft_threshold
from ftlab.formulas.weight_decay import weight_decay
from ftlab.models import surgery
from ftlab.parameters import matrices

# %% [markdown]
# ## Why
#
# The article calls formula (5) 裁剪, which can mean clipping or pruning. It makes two promises: the formula reduces
# "the complexity and the number of parameters of the model", and so it improves generalisation. You can check the
# first promise in a minute. The second one comes later, on the real model.
#
# Take a linear model with 1,000 weights, of which only 50 matter: the true value of the other 950 is 0. We train it for
# 100 steps in three ways: with gradient descent alone, with formula (5) after every step, and with *soft-thresholding*
# after every step. Soft-thresholding moves each weight towards 0 and stops there. Both use the strength 0.01.

# %%
chance = torch.Generator().manual_seed(0)
inputs = torch.randn(400, 1000, generator=chance, dtype=torch.float64) / 20
truth = torch.zeros(1000, dtype=torch.float64)
truth[:50] = torch.randn(50, generator=chance, dtype=torch.float64)
answers = inputs @ truth
start = {"w": 0.05 * torch.randn(1000, generator=chance, dtype=torch.float64)}


def gradient(params):
    return {"w": inputs.T @ (inputs @ params["w"] - answers)}


def train(after=lambda params, grads: params, steps=100):
    """Take steps of gradient descent, and apply `after` to the weights after each."""
    params = start
    for _ in range(steps):
        grads = gradient(params)
        params = after(gradient_descent(params, grads, 0.1), grads)
    return params["w"]


ends = {
    "gradient descent alone": train(),
    "with formula (5)": train(lambda params, grads: sign_prune(params, grads, 0.01)),
    "with soft-thresholding": train(lambda params, grads: soft_threshold(params, 0.01)),
}
for name, weights in ends.items():
    zeros, error = int((weights == 0).sum()), float((weights - truth).norm())
    print(
        f"{name:22}  {zeros:3d} weights are exactly 0; distance to"
        f" the truth {error:.2f}"
    )

# %% tags=["hide-cell"]
assert [int((weights == 0).sum()) for weights in ends.values()] == [0, 0, 904]
errors = [float((weights - truth).norm()) for weights in ends.values()]
assert min(errors) == errors[2]

# %% [markdown]
# Formula (5) made no zero at all. Soft-thresholding made 904, and it came closest to the true weights. The figure
# shows where the weights ended up.

# %% tags=["hide-input"]
from matplotlib.figure import Figure

from ftlab.display.plots import BLUE, GREY, ORANGE, Picture

figure = Figure(figsize=(7, 3), layout="constrained", facecolor="white")
axes = figure.subplots()
edges = torch.linspace(-0.5, 0.5, 82).tolist()
for name, look in {
    "with formula (5)": {"color": ORANGE, "linestyle": "--"},
    "with soft-thresholding": {"color": BLUE},
}.items():
    axes.hist(ends[name].tolist(), edges, histtype="step", label=name, **look)
axes.set(xlabel="weight after 100 steps", ylabel="number of weights", yscale="log")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
said = (
    "With formula (5) the weights form a broad hill around 0. "
    "With soft-thresholding 904 of 1,000 stand in one spike at 0."
)
Picture(figure, said)

# %% [markdown]
# ## The formula
#
# Here is formula (5) as the article has it, taken from the docstring of the function that computes it:

# %%
ftlab.formula(sign_prune)

# %% [markdown]
# In words: take only the sign of the gradient, and move every weight by β in the opposite direction.
#
# - With β = 0 nothing changes. A weight whose gradient is exactly 0 stays where it is.
# - Any other gradient, however small or large, moves its weight by exactly β.
# - The size of the *weight* does not matter. So the formula cannot know which weights are small enough to be removed.
#
# This is the step of an optimizer called **signSGD**. The article does not say how to combine it with formula (2). The
# rule `SignPrune` applies it after the optimizer's step, with the same gradient. `explain` prints the plan, with a
# caution at the end:

# %%
print(ftlab.explain([SignPrune(1e-5)], "sgd"))

# %% [markdown]
# ### What 裁剪 was meant to do: pruning
#
# Pruning sets weights to exactly 0, or removes whole parts of a model. Two formulas are enough for the zeros. The **soft
# threshold** moves every weight towards 0 by τ and stops there. **Magnitude pruning** sets the smallest weights to 0.
# The share of weights that are 0 is called the *sparsity*.

# %%
from IPython.display import Markdown, display

display(ftlab.formula(soft_threshold), ftlab.formula(magnitude_prune))

# %% [markdown]
# Seven more formulas take sign steps, or are said to clip, shrink or prune. Which of them make zeros? The table shows
# all ten after 100 steps on the 1,000 weights. Their equations and sources are in [Strategies](../strategies.md).

# %% tags=["hide-input"]
STRENGTH, RATE = 0.01, 0.1
scores = {"w": torch.zeros(1000, dtype=torch.float64)}


def remembering(optimizer):
    """Return the rule of an optimizer that remembers earlier gradients."""
    kept = {}

    def after(params, grads):
        params, means = optimizer(params, grads, kept, STRENGTH)
        kept.update(means)
        return params

    return after


def scored(params, grads):
    scores.update(movement_scores(scores, params, grads))
    return params


def penalised(penalty):
    """Return a penalty's rule: a step against the gradient that autograd finds."""

    def after(params, grads):
        leaf = {"w": params["w"].clone().requires_grad_()}
        penalty(leaf, STRENGTH / RATE).backward()
        return gradient_descent(params, {"w": leaf["w"].grad}, RATE)

    return after


def decayed(params, grads):
    return weight_decay(params, {"w": RATE}, STRENGTH / RATE)


count = {
    "sign_prune": (
        train(lambda params, grads: sign_prune(params, grads, STRENGTH)),
        "moves each weight by β, against the sign of its gradient",
    ),
    "signum": (
        train(remembering(signum)),
        "the same, with a running mean of the gradients",
    ),
    "lion": (
        train(remembering(lion)),
        "the same, with a mixture of the gradient and its running mean",
    ),
    "l1_penalty": (
        train(penalised(l1_penalty)),
        "adds λ·Σ∣θ∣ to the loss, which pulls all weights towards 0 equally",
    ),
    "l2_penalty": (
        train(penalised(l2_penalty)),
        "adds ½λ·Σθ² to the loss, which pulls large weights more",
    ),
    "weight_decay": (train(decayed), "multiplies each weight by a factor below 1"),
    "clip_weights": (
        train(lambda params, grads: clip_weights(params, 1.0)),
        "keeps each weight between −c and c",
    ),
    "soft_threshold": (
        train(lambda params, grads: soft_threshold(params, STRENGTH)),
        "moves each weight towards 0 by τ, and stops at 0",
    ),
    "magnitude_prune": (
        magnitude_prune({"w": train()}, 0.5)["w"],
        "sets the smallest weights to 0; here half of them, at the end",
    ),
    "movement_prune": (
        movement_prune({"w": train(scored)}, scores, 0.5)["w"],
        "sets those to 0 that training moved towards 0; again half of them",
    ),
}
made = {name: int((weights == 0).sum()) for name, (weights, _) in count.items()}
lines = [f"| `{name}` | {words} | {made[name]} |" for name, (_, words) in count.items()]
head = "| formula | what it does | exact zeros of 1,000 |\n| --- | --- | ---: |\n"
assert list(made.values()) == [0, 0, 0, 0, 0, 0, 0, 904, 500, 500]
Markdown(head + "\n".join(lines))

# %% [markdown]
# Only three of the ten make zeros. (Two more, `RemoveNeurons` and `RemoveLayers`, remove whole parts of a model.
# You will use them on the real model.)
#
# Look at `l1_penalty`. Its gradient is λ·sign(**θ**): the sign of the weight, where formula (5) has the sign of the
# **gradient**. It does pull every weight towards 0. But it carries a weight that is close to 0 past it, and back
# again at the next step. The soft threshold is the same pull, except that it stops at 0.
#
# What is a zero worth? By itself, nothing: in a file it takes as much room as any other number.

# %%
import safetensors.torch

for name in ("sign_prune", "soft_threshold"):
    size = len(safetensors.torch.save({"w": count[name][0]}))
    print(f"{name:14}  {made[name]:3d} zeros, {size:,} bytes in the file")

# %% [markdown]
# ## By hand
#
# Three weights, their gradients, and β = τ = 0.1. Check each line on paper before you run the cell.
#
# | θ | ∇J | sign step: θ − 0.1·sign(∇J) | soft threshold: 0.1 towards 0, and stop |
# | ---: | ---: | ---: | ---: |
# | 0.30 | 4 | 0.20 | 0.20 |
# | −0.20 | 0.001 | −0.30 | −0.10 |
# | 0.05 | 2 | −0.05 | 0 |

# %%
theta = {"w": torch.tensor([0.30, -0.20, 0.05], dtype=torch.float64)}
slopes = {"w": torch.tensor([4.0, 0.001, 2.0], dtype=torch.float64)}
stepped, shrunk = sign_prune(theta, slopes, 0.1)["w"], soft_threshold(theta, 0.1)["w"]
print("sign step:     ", [round(one, 4) for one in stepped.tolist()])
print("soft threshold:", [round(one, 4) for one in shrunk.tolist()])

# %% tags=["hide-cell"]
assert torch.allclose(stepped, torch.tensor([0.20, -0.30, -0.05], dtype=torch.float64))
assert torch.allclose(shrunk, torch.tensor([0.20, -0.10, 0.0], dtype=torch.float64))
assert shrunk[2] == 0

# %% [markdown]
# In the sign step, the gradient 0.001 moved its weight as far as the gradient 4 did, and away from 0. The weight 0.05
# went past 0 to the other side.
#
# ## Against torch
#
# **Adam's first step is a sign step.** In this step Adam divides each gradient by its own absolute value, so only the
# sign is left. Formula (5) with β = α must therefore give the same weights as one step of `torch.optim.Adam`.

# %%
net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
net = net.double()
with torch.no_grad():
    for param in net.parameters():
        param.copy_(torch.randn(param.shape, generator=chance, dtype=torch.float64) / 3)
features = torch.randn(64, 4, generator=chance, dtype=torch.float64)
(net(features) - 1).square().mean().backward()
before = {name: param.detach().clone() for name, param in net.named_parameters()}
grads = {name: param.grad for name, param in net.named_parameters()}
ours = sign_prune(before, grads, 1e-3)
torch.optim.Adam(net.parameters(), lr=1e-3).step()
for one in (("before", before), ("formula (5)", ours), ("Adam", net.state_dict())):
    print(f"{one[0]:12}", [round(value, 5) for value in one[1]["2.weight"][0].tolist()])

# %% tags=["hide-cell"]
after_adam = net.state_dict()
assert all((ours[name] - after_adam[name]).abs().max() < 1e-6 for name in ours)

# %% [markdown]
# From its second step on, Adam also uses the gradients it remembers, and the results differ. Three of the other
# formulas have a counterpart in torch. The next cell applies both to the same 60,000 weights.

# %%
from torch.nn.utils import prune

tensor = torch.randn(200, 300, generator=chance, dtype=torch.float64)
weights = {"w": tensor}

linear = torch.nn.Linear(300, 200, bias=False).double()
linear.weight.data = tensor.clone()
prune.l1_unstructured(linear, "weight", amount=0.3)

pairs = {
    "soft_threshold, softshrink": (
        soft_threshold(weights, 0.5)["w"],
        torch.nn.functional.softshrink(tensor, 0.5),
    ),
    "magnitude_prune, l1_unstructured": (
        magnitude_prune(weights, 0.3)["w"],
        linear.weight.detach(),
    ),
    "clip_weights, clamp": (
        clip_weights(weights, 1.0)["w"],
        tensor.clamp(-1, 1),
    ),
}
for name, (one, other) in pairs.items():
    difference = float((one - other).abs().max())
    print(f"{name:33} largest difference {round(difference, 12)}")

# %% tags=["hide-cell"]
assert all(float((one - other).abs().max()) < 1e-12 for one, other in pairs.values())

# %% [markdown]
# ## Explore
#
# Here are 2,000 weights: a quarter of them are large, the rest are small. The slider moves all of them by `size`,
# once with a sign step and once with the soft threshold. The loss for the sign step is ½‖θ‖², whose gradient points
# away from 0. So every sign step goes towards 0, which is the best case for formula (5).
#
# Predict before you move the slider: can both reach the goal?

# %% tags=["hide-input"]
many = torch.randn(2000, generator=chance, dtype=torch.float64)
many = many * torch.tensor([0.1] * 500 + [0.005] * 1500, dtype=torch.float64)
RULES = {
    "sign step": lambda size: sign_prune({"w": many}, {"w": many}, size)["w"],
    "soft threshold": lambda size: soft_threshold({"w": many}, size)["w"],
}


def reached(rule, size):
    """Return the share of exact zeros and the share of the norm that is left."""
    new = RULES[rule](size)
    return float((new == 0).double().mean()), float(new.norm() / many.norm())


def side_by_side(size):
    figure = Figure(figsize=(8, 3), layout="constrained", facecolor="white")
    edges = torch.linspace(-0.1, 0.1, 82).tolist()
    said, goal = [], []
    panels = figure.subplots(1, 2, sharey=True)
    for axes, rule, colour in zip(panels, RULES, (ORANGE, BLUE), strict=True):
        zeros, kept = reached(rule, size)
        look = {"histtype": "step", "color": GREY, "linestyle": "--"}
        axes.hist(many.tolist(), edges, label="before", **look)
        axes.hist(
            RULES[rule](size).tolist(), edges, color=colour, alpha=0.7, label="after"
        )
        axes.set(
            title=f"{rule}: {zeros:.0%} zeros, {kept:.0%} of the norm", xlabel="weight"
        )
        axes.set(yscale="log", ylim=(0.8, 3000))
        axes.spines[["top", "right"]].set_visible(False)
        said.append(
            f"The {rule} makes {zeros:.0%} zeros and leaves {kept:.0%} of the norm"
        )
        goal += [rule] if zeros >= 0.5 and kept >= 0.9 else []
    panels[0].set_ylabel("number of weights")
    panels[0].legend(frameon=False, loc="upper left")
    words = f"Size {size:g}. {'. '.join(said)}."
    return figure, f"{words} Goal reached by the {goal[0]}." if goal else words


SIZES = [0.0, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06]
explore(
    side_by_side,
    goal="At least half of the weights exactly 0, and at least 90 % of the norm left.",
    size=slider(SIZES, start=0.04),
)

# %% [markdown]
# The sign step makes no zeros at any size, because no weight is exactly as large as the step. The soft threshold reaches
# the goal with small sizes.

# %% tags=["hide-cell"]
assert max(reached("sign step", size)[0] for size in SIZES) == 0
good = [size for size in SIZES if "Goal reached by the soft" in side_by_side(size)[1]]
assert good == [0.006, 0.008, 0.01]

# %% [markdown]
# ## On the real model
#
# Now the embedded MiniLM. It learns the topic of a review, one of six, from 160 reviews. To save time, the page uses
# only short reviews, of at most twelve words.

# %% tags=["hide-cell"]
import datasets
import transformers

datasets.disable_progress_bars()
transformers.utils.logging.disable_progress_bar()

# %%
data = ftlab.load_data("reviews", task="topic")
data.pop("validation")
data = data.filter(lambda row: len(row["text"].split()) <= 12)
data["train"] = data["train"].shuffle(seed=0).select(range(160))
data["test"] = data["test"].shuffle(seed=0).select(range(200))
model = ftlab.load_model("minilm", data)


# %% tags=["nbval-ignore-output"]
def said_of(metrics):
    """Return the accuracy and its 95 % interval as text."""
    lower, upper = metrics.intervals["accuracy"]
    return f"{metrics['accuracy']:.2f} ({lower:.2f} to {upper:.2f})"


run = ftlab.finetune(
    model, data, recipe=[ftlab.ClipNorm(1.0)], epochs=5, lr=3e-4, batch_size=16
)
topics = data["test"]["label"]
majority = max(topics.count(label) for label in set(topics)) / len(topics)
print("accuracy", said_of(run.metrics))
print(f"always giving the most frequent topic: {majority:.2f}")
assert run.metrics.intervals["accuracy"][0] > majority + 0.2

# %% [markdown]
# The model has learned. Now we change the matrices of its six layers, and leave the embeddings and the head as they
# are. One version takes a single step of formula (5), with the gradient of 16 training reviews. In the others the
# smallest 50 %, 70 % or 90 % of the entries are set to 0, without any further training. Pruning a finished model in
# one go is called *one-shot* pruning.

# %% tags=["nbval-ignore-output"]
names = matrices(run.model.net, layers=True)
trained = {name: run.model.net.get_parameter(name).detach().clone() for name in names}

few = data["train"].select(range(16))
sixteen = model.processor(list(few["text"]), padding=True, return_tensors="pt")
run.model.net.eval()
run.model.net(**sixteen, labels=torch.tensor(few["label"])).loss.backward()
slope = {name: run.model.net.get_parameter(name).grad for name in names}
run.model.net.zero_grad()


def with_weights(values):
    """Return a copy of the fine-tuned model with these weights."""
    changed = run.model.copy()
    with torch.no_grad():
        for name, value in values.items():
            changed.net.get_parameter(name).copy_(value)
    return changed


versions = {
    "as trained": with_weights(trained),
    "one sign step, β = 1e-5": with_weights(sign_prune(trained, slope, 1e-5)),
    "50 % pruned": with_weights(magnitude_prune(trained, 0.5)),
    "70 % pruned": with_weights(magnitude_prune(trained, 0.7)),
    "90 % pruned": with_weights(magnitude_prune(trained, 0.9)),
}
total = sum(value.numel() for value in trained.values())
empty, measured = {}, {}
print(f"{'':24}{f'zeros of {total:,}':>22}   accuracy on 200 reviews")
for name, one in versions.items():
    empty[name] = sum(int((one.net.get_parameter(part) == 0).sum()) for part in names)
    measured[name] = ftlab.evaluate(one, data["test"], resamples=200)
    print(f"{name:24}{empty[name]:>22,}   {said_of(measured[name])}")

# %% tags=["hide-cell"]
exact = {name: one["accuracy"] for name, one in measured.items()}
assert empty["one sign step, β = 1e-5"] < total / 10**5
assert abs(empty["90 % pruned"] - 0.9 * total) <= total / 10**5
assert abs(exact["50 % pruned"] - exact["as trained"]) < 0.15
ends_below = measured["90 % pruned"].intervals["accuracy"][1]
assert ends_below < measured["as trained"].intervals["accuracy"][0]

# %% [markdown]
# The sign step made no zeros; magnitude pruning made as many as we asked for. Without half of its entries the model is
# about as accurate as before. Without 90 % of them it is close to guessing.
#
# ### How many weights can go?
#
# A curve needs more runs than this page has time for. So `python -m benchmarks.pruning` recorded it, on 400 test reviews;
# the tables state the number of seeds. The record holds one more way to prune: *gradually*. The rule `MagnitudePrune`
# sets more and more entries to 0 during the training, fast at first and then slower (`cubic_sparsity`), so the other
# weights can adapt.

# %% tags=["hide-input"]
import json
from pathlib import Path

file = Path("../benchmarks/results/pruning.json")
record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
MISSING = "The recorded experiment lies in the repository, which is not here."


def between(found):
    """Return a mean with its interval and seeds as text."""
    ends_of = f"{found['low']:.2f} to {found['high']:.2f}"
    return f"{found['mean']:.2f} ({ends_of}; {found['seeds']})"


def curve():
    """Draw accuracy against sparsity, from the record."""
    found = record["summary"]
    one_shot = {
        float(name.split()[-1]): one
        for name, one in found.items()
        if "one shot" in name
    }
    one_shot = {0.0: found["plain"], **one_shot}
    gradual = {
        float(name.split()[-1]): one for name, one in found.items() if "gradual" in name
    }
    figure = Figure(figsize=(7, 3.4), layout="constrained", facecolor="white")
    axes = figure.subplots()
    looks = {
        "all at once": (one_shot, BLUE, "o-"),
        "gradually": (gradual, ORANGE, "s--"),
    }
    for label, (points, colour, mark) in looks.items():
        middle = [one["mean"] for one in points.values()]
        lower = [one["mean"] - one["low"] for one in points.values()]
        upper = [one["high"] - one["mean"] for one in points.values()]
        where = [100 * share for share in points]
        look = {"color": colour, "capsize": 3, "label": f"pruned {label}"}
        axes.errorbar(where, middle, [lower, upper], fmt=mark, **look)
    axes.axhline(1 / 6, color=GREY, linewidth=1, linestyle=":", label="guessing")
    axes.set(
        xlabel="sparsity: % of the entries that are 0",
        ylabel="test accuracy",
        ylim=(0, 1),
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc=(0.03, 0.25))
    return figure, one_shot, gradual


if record:
    drawing, one_shot, gradual = curve()
    texts = [f"{share:.0%}: {one['mean']:.2f}" for share, one in one_shot.items()]
    words = f"Accuracy holds up to about half zeros, then falls: {', '.join(texts)}."
    display(Picture(drawing, words))
    lines = []
    for share, one in one_shot.items():
        slowly = between(gradual[share]) if share in gradual else ""
        lines.append(f"| {share:.0%} | {between(one)} | {slowly} |")
    head = "| sparsity | all at once | gradually, in training |\n"
    head += "| ---: | ---: | ---: |\n"
    foot = "\n\nTest accuracy (95 % interval; number of seeds). With one seed, the"
    foot += " interval says how the accuracy would vary on other reviews. With more, it"
    foot += " says how it would vary with other seeds too."
    display(Markdown(head + "\n".join(lines) + foot))
    mean = {name: one["mean"] for name, one in record["summary"].items()}
    assert mean["plain"] - mean["one shot 0.5"] < 0.03
    assert mean["plain"] - mean["one shot 0.7"] > 0.05
    assert mean["plain"] - mean["one shot 0.8"] > 0.2
    assert mean["one shot 0.9"] < 0.35
else:
    print(MISSING)

# %% [markdown]
# With half of the entries gone, the accuracy is within three points of the whole model's. At 70 % it has fallen by more
# than five points, and at 80 % by more than twenty. At 90 % the model is close to guessing. Does it help to prune
# gradually? Compare both ways on the same reviews and seeds:


# %% tags=["hide-input"]
def compared(pairs, first):
    """Return a table of differences of accuracy, from the record."""
    rows = []
    for name, words in pairs.items():
        found = record["differences"][name]
        ends_of = f"{found['low']:+.3f} to {found['high']:+.3f}"
        above, below = found["low"] > 0, found["high"] < 0
        verdict = "better" if above else "worse" if below else "undecided"
        row = [words, f"{found['mean']:+.3f}", ends_of, verdict]
        row += [f"{found['detectable']:.3f}", str(found["seeds"])]
        rows.append(f"| {' | '.join(row)} |")
    head = f"| {first} | difference | 95 % interval | verdict | detectable | seeds |\n"
    head += "| --- | ---: | ---: | --- | ---: | ---: |\n"
    return Markdown(head + "\n".join(rows))


if record:
    slow = {
        f"gradual 0.{one} − one shot 0.{one}": f"{one}0 % zeros" for one in (5, 7, 8)
    }
    display(compared(slow, "gradually − all at once"))
    gains = [record["differences"][name]["mean"] for name in slow]
    assert max(gains) == gains[2] > 0.03
else:
    print(MISSING)

# %% [markdown]
# The mean gain grows with the share of zeros. But each interval includes 0, so three seeds do not decide whether pruning
# gradually helps. The column *detectable* gives the power of the comparison: a true difference of that size is detected
# with a power of 80 %.
#
# ### What makes a model smaller and faster
#
# What have you gained? Compare the file of the model with 90 % zeros with that of the whole one.


# %%
def megabytes(net, folder):
    """Save a network and return the size of its file of weights."""
    net.save_pretrained(folder)
    return (Path(folder) / "model.safetensors").stat().st_size / 1e6


for name, folder in {
    "as trained": "runs/topics",
    "90 % pruned": "runs/topics_zeros",
}.items():
    print(f"{name:12} {megabytes(versions[name].net, folder):.1f} MB")

# %% [markdown]
# You have gained nothing. A zero is stored in four bytes and multiplied like any other number. To save room and time,
# the matrices themselves have to shrink.
#
# `RemoveNeurons` takes neurons out of the feed-forward block of every layer, the part that processes each vector on
# its own. It removes the neurons with the smallest ‖w_in‖·‖w_out‖: the norm of the weights that lead into a neuron,
# times the norm of those that lead out of it (`neuron_importance`). `RemoveLayers` takes out whole layers, here the
# top two (`remove_layers`). What is left is an ordinary model with smaller matrices.

# %%
CUTS = {
    "whole": lambda net: None,
    "half of the neurons": lambda net: surgery.remove_neurons(net, 0.5),
    "four of six layers": lambda net: remove_layers(net, 4),
    "both": lambda net: (
        surgery.remove_neurons(net, 0.5),
        remove_layers(net, 4),
    ),
}
cut = {}
for name, change in CUTS.items():
    cut[name] = model.copy().net.eval()
    change(cut[name])
    parameters = sum(param.numel() for param in cut[name].parameters())
    size = megabytes(cut[name], "runs/topics_cut")
    print(f"{name:20} {parameters:>12,} parameters, {size:.1f} MB")
words = cut["both"].get_input_embeddings().weight
print(f"the embedding of {len(words):,} tokens alone has {words.numel():,} parameters")

# %% tags=["hide-cell"]
assert words.numel() > parameters / 2

# %% [markdown]
# The embedding makes up most of the smallest model, and no cut touches it. But looking up a token takes almost no
# time. So the cuts save more time than room. The next cell times the four models, and the model with 90 % zeros, on
# the same 16 reviews, alternating.

# %% tags=["nbval-ignore-output"]
import time

batch = model.processor(
    list(data["test"]["text"][:16]), padding=True, return_tensors="pt"
)
racing = {**cut, "whole, 90 % zeros": versions["90 % pruned"].net.eval()}
spent = {name: [] for name in racing}
with torch.inference_mode():
    for _ in range(3):
        for name, net in racing.items():
            started = time.process_time()
            net(**batch)
            spent[name].append(time.process_time() - started)
for name, times in spent.items():
    print(f"{name:20} {1000 * min(times) / 16:5.1f} ms for a review")
assert min(spent["both"]) < 0.75 * min(spent["whole"])

# %% [markdown]
# Anyone can open the smaller model with plain `transformers`: its config records the new number of layers and neurons.

# %%
from transformers import AutoModelForSequenceClassification

again = AutoModelForSequenceClassification.from_pretrained("runs/topics_cut").eval()
print(
    again.config.num_hidden_layers, "layers,", again.config.intermediate_size, "neurons"
)
with torch.inference_mode():
    answers_differ = (again(**batch).logits - cut["both"](**batch).logits).abs().max()
print("largest difference of the logits:", round(float(answers_differ), 6))

# %% [markdown]
# What does it cost in accuracy? In the record, the smaller models were cut first and then fine-tuned like the whole one:

# %% tags=["hide-input"]
if record:
    rows = []
    for name, one in record["models"].items():
        reached_by = record["summary"].get(name, record["summary"]["one shot 0.9"])
        size = f"{one['bytes'] / 1e6:.1f} MB | {one['zipped'] / 1e6:.1f} MB"
        cells = [name, size, f"{one['ms']:.1f} ms", between(reached_by)]
        rows.append(f"| {' | '.join(cells)} |")
    head = "| model | file | file, zipped | time of a review | accuracy |\n"
    head += "| --- | ---: | ---: | ---: | ---: |\n"
    display(Markdown(head + "\n".join(rows)))
    kinds, lost = record["models"], record["differences"]
    assert kinds["90 % zeros"]["bytes"] == kinds["plain"]["bytes"]
    assert kinds["90 % zeros"]["ms"] > 0.85 * kinds["plain"]["ms"]
    assert kinds["90 % zeros"]["zipped"] < 0.7 * kinds["plain"]["zipped"]
    assert kinds["RemoveNeurons(0.5)"]["ms"] < 0.75 * kinds["plain"]["ms"]
    assert lost["RemoveNeurons(0.5) − plain"]["high"] < 0
    assert lost["RemoveLayers(4) − plain"]["high"] < 0
else:
    print(MISSING)

# %% [markdown]
# Zeros save no time. They save room only in a zipped file, which has to be unpacked before use. Smaller matrices save
# both. But they cost accuracy here, and two layers cost more than half of the neurons.
#
# ### Does pruning improve generalisation?
#
# That is the article's second promise. Generalisation is accuracy on reviews that the model has not seen. Each row of the
# table compares one way of pruning with plain fine-tuning, on the same seeds and the same 400 test reviews.

# %% tags=["hide-input"]
WORDS = {
    "SignPrune(1e-5) − plain": "formula (5), β = 1e-5, after each update",
    "one shot 0.5 − plain": "50 % zeros, all at once",
    "gradual 0.5 − plain": "50 % zeros, gradually",
    "gradual 0.7 − plain": "70 % zeros, gradually",
    "RemoveNeurons(0.5) − plain": "half of the neurons",
    "RemoveLayers(4) − plain": "four of six layers",
}
if record:
    display(compared(WORDS, "compared with plain fine-tuning"))
    assert all(record["differences"][name]["low"] <= 0 for name in WORDS)
    small = [abs(record["differences"][name]["mean"]) for name in list(WORDS)[:3]]
    assert max(small) < 0.03
else:
    print(MISSING)

# %% [markdown]
# The verdict: no improvement. No interval lies above 0. For formula (5) with a small β and for 50 % zeros the difference
# is below three points either way. Where a row says "undecided", *detectable* says how large an improvement would have
# shown. This is a verdict on this model and these reviews, not on pruning everywhere.
#
# ## Where it hurts
#
# A sign step ignores the size of a weight. How large are MiniLM's weights? And how good is the fine-tuned model after
# **one** sign step, on the gradient of the same 16 reviews, as β grows?

# %% tags=["nbval-ignore-output"]
sizes = torch.cat([value.flatten().abs() for value in trained.values()])
print(f"a typical weight of the matrices: {sizes.median():.3f}")
after_step = {}
for beta in (0.0, 1e-5, 1e-3, 3e-2):
    stepped_model = with_weights(sign_prune(trained, slope, beta))
    hundred = data["test"].select(range(100))
    after_step[beta] = ftlab.evaluate(stepped_model, hundred, resamples=200)
    print(f"β = {beta:<6g}  accuracy on 100 reviews {said_of(after_step[beta])}")

# %% tags=["hide-cell"]
assert round(float(sizes.median()), 3) == 0.035
left_after = {beta: one["accuracy"] for beta, one in after_step.items()}
assert abs(left_after[1e-5] - left_after[0.0]) < 0.1
assert left_after[1e-3] < left_after[0.0] - 0.1
assert after_step[3e-2].intervals["accuracy"][0] < majority

# %% [markdown]
# A step of 1e-5 does no harm that 100 reviews could show. A step of 0.001 is only a thirty-fifth of a typical weight. But
# it already costs much of the accuracy, because *every* weight takes it at once. A step of 0.03 leaves nothing. So
# choose β like Adam's learning rate, far below the size of the weights.
#
# There is a second harm. The article lists formula (5) beside the decay of the learning rate, formula (4). But the
# sign step does not depend on α: it keeps its length β even when the learning rate has fallen to 0. On J = ½θ² it
# never comes to rest:

# %%
place, path = {"w": torch.tensor([1.0], dtype=torch.float64)}, []
for _ in range(8):
    place = sign_prune(place, place, 0.3)  # the gradient of ½θ² is θ
    path.append(round(place["w"].item(), 4))
print(path)

# %% tags=["hide-cell"]
assert path[-2:] == path[-4:-2]

# %% [markdown]
# ## Also called
#
# - Formula (5) is **signSGD** or *sign descent*. With a running mean of the gradients it is **Signum** (`signum`), with a
#   mixture of gradient and mean **Lion** (`lion`).
# - 裁剪 stands for three different things. *Gradient clipping* bounds the gradient (`ClipNorm`). *Weight clipping* bounds
#   the weights (`clip_weights`). *Pruning*, usually written 剪枝, removes weights. Formula (5) is none of the three.
# - The soft threshold is also called *shrinkage*, or the *proximal step* of the L1 norm. With gradient descent it is
#   **ISTA**, an algorithm for the Lasso.
# - Scattered zeros are *unstructured* pruning. Removing neurons, attention heads or layers is *structured* pruning.
# - `weight_decay` is *decoupled* and `l2_penalty` *coupled* weight decay. The article counts L1 and L2 among the methods
#   that reduce the number of parameters. Neither does.
#
# ## Is your own rule better?
#
# Suppose you trust the article, and use formula (5) with β = 0.001, which looks small. `trial` first checks that the
# rule is well behaved. Then it trains pairs of models that differ only in this rule, and compares their accuracy.

# %% tags=["nbval-ignore-output"]
data["test"] = data["test"].select(range(100))
verdict = ftlab.trial(
    SignPrune(1e-3), data, model, pairs=3, rows=96, epochs=3, lr=3e-4, batch_size=8
)
print(verdict)
assert verdict.verdict == "worse"

# %% tags=["hide-cell"]
assert min(verdict.without) > 2 * verdict.majority_baseline
assert verdict.paired.mean < -0.2
assert verdict.rows * 3 // 8 == 36

# %% [markdown]
# The rule hurts: the interval lies below 0. Every update moves every weight by 0.001, whether its gradient matters or
# is noise. The run makes 36 updates, so a weight whose gradient keeps its sign moves by 0.036. That is as much as a
# typical weight of MiniLM (0.035). So the weights drift away from their pretrained values, and what the model knew is
# lost.
#
# ## Exercises
#
# ### Exercise 05.1
#
# J(θ) = ½θ². There is no gradient descent, only formula (5) with β = 0.35, starting from θ = 1. Where is θ after 100
# steps? Give two significant digits and the sign.


# %% tags=["solution"]
def after_steps(steps):
    theta = 1.0
    for _ in range(steps):
        theta = theta - 0.35 * (1 if theta > 0 else -1)
    return theta


answer = round(after_steps(100), 6)
ftlab.check.exercise("05.1", answer)

# %% [markdown]
# ### Exercise 05.2
#
# The weights are 0.9, −0.2, 0.05, −0.6, 0.3 and 0.1. Take the smallest τ with which soft-thresholding makes half of them
# exactly 0. What share of the norm ‖θ‖₂ is left? Give three significant digits.

# %% tags=["solution"]
import torch

from ftlab.formulas.soft_threshold import soft_threshold

six = torch.tensor([0.9, -0.2, 0.05, -0.6, 0.3, 0.1], dtype=torch.float64)
tau = six.abs().sort().values[2].item()
left = (soft_threshold({"w": six}, tau)["w"].norm() / six.norm()).item()
ftlab.check.exercise("05.2", left)

# %% [markdown]
# ### Exercise 05.3
#
# Write `shrink(weight, tau)`: the soft threshold of one tensor of any shape, with τ ≥ 0. Do not call `ftlab` or
# `softshrink`.


# %% tags=["solution"]
def shrink(weight, tau):
    return weight.sign() * (weight.abs() - tau).clamp(min=0)


ftlab.check.exercise("05.3", shrink)

# %% [markdown]
# ### Exercise 05.4
#
# A layer of MiniLM is 384 wide. Its feed-forward block has 1,536 neurons, each with a bias. One matrix reads the layer's
# 384 numbers into the neurons, a second one writes the neurons' values back. How many parameters does
# `RemoveNeurons(0.5)` take out of one layer? Give all digits.

# %% tags=["solution"]
neurons = 1536 // 2
removed = neurons * (384 + 1 + 384)
ftlab.check.exercise("05.4", removed)

# %% [markdown]
# ### Exercise 05.5
#
# Movement pruning keeps a score for each weight. Every step adds the product of two numbers to it: the weight, and
# the direction in which gradient descent with α = 1 pushes the weight. So a weight that is pushed away from 0 gains.
# Write `movement(weights, grads)`: the scores of one tensor after some steps. It gets two lists of tensors with one
# entry for each step: the weights before the step, and the gradients of that step.


# %% tags=["solution"]
def movement(weights, grads):
    return -sum(weight * grad for weight, grad in zip(weights, grads, strict=True))


ftlab.check.exercise("05.5", movement)

# %% [markdown]
# ## Key points
#
# - Formula (5) is signSGD, a sign step. It moves every weight that has a gradient by exactly β. It makes no zeros and
#   removes nothing.
# - The L1 penalty uses the sign of the weight, and makes no exact zeros either. The soft threshold pulls in the same
#   way but stops at 0, so it does make them. Magnitude and movement pruning rank the weights, and turn the lowest
#   into zeros.
# - The fine-tuned MiniLM can lose half of its matrix entries for less than three points of accuracy. At 80 % it loses more
#   than twenty. Three seeds do not decide whether it loses fewer if it is pruned gradually.
# - Zeros save neither room nor time. Smaller matrices save both, and any program that uses `transformers` can open them.
# - No kind of pruning improved the accuracy on new reviews here.
# - β is a step. Choose it like Adam's learning rate, far below the size of the weights.
