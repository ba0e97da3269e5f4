# %% [markdown]
# # 5. Sign prune: what formula (5) does, and what removes weights
#
# The article's fifth formula is to make a model smaller. You count what it removes, give it its right name, and then use
# the formulas that do remove something.
#
# **When you are through** (about 30 minutes to read, about 2 minutes to run) you can
#
# - say what θ − β·sign(∇J) does to a weight, and show that it makes no zeros;
# - make exact zeros in three ways, and tell why they make no file smaller;
# - take neurons and layers out of a pretrained model, and say what you have gained and what it cost.
#
# You need the quickstart and chapter 2: gradient descent, and what a recipe is.
#
# **Formulas:** `sign_prune`, `signum`, `lion`, `soft_threshold`, `magnitude_prune`, `movement_prune`, `neuron_importance`, `remove_layers`, `clip_weights`, `l1_penalty`, `l2_penalty`, `weight_decay`

# %% tags=["nbval-skip"]
import subprocess
import sys

if "google.colab" in sys.modules:  # on Colab: install your copy of the repository; its torch stays
    REPOSITORY = ""  # the address of your copy, as in https://github.com/you/ftlab
    assert REPOSITORY, "Write the address of your copy of the repository into REPOSITORY, then run this cell again."
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"ftlab[embedded] @ git+{REPOSITORY}"], check=True)

# %%
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
import transformers
from IPython.display import Markdown
from matplotlib.figure import Figure
from torch.nn.utils import prune
from transformers import AutoModelForSequenceClassification

import ftlab
from ftlab import MagnitudePrune, RemoveLayers, SignPrune, explore, formulas, slider, structure
from ftlab.formulas import (
    gradient_descent,
    magnitude_prune,
    movement_prune,
    movement_scores,
    sign_prune,
    soft_threshold,
)
from ftlab.parameters import matrices
from ftlab.plots import BLUE, GREY, ORANGE, Picture

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
workplace = tempfile.TemporaryDirectory()  # what this page saves goes there, and away again

# %% [markdown]
# ## Why
#
# The article writes of formula (5), which it calls 裁剪 (clipping, or pruning): it is there "to reduce the complexity
# and the number of parameters of the model". That can be counted.
#
# Here is a linear model with 1,000 weights. Only 50 of them matter: the answers were made with 50 weights, the other
# 950 true weights are 0. We train it for 100 steps of gradient descent, three times: alone, with formula (5) after
# every step, and with *soft-thresholding* after every step, which the chapter will explain. The strength is 0.01 for both.

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
    """Make steps of gradient descent, each followed by what is given."""
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
    zeros, apart = int((weights == 0).sum()), float((weights - truth).norm())
    print(f"{name:24} {zeros:3d} of 1000 weights are exactly 0; distance to the true weights {apart:.2f}")
assert [int((weights == 0).sum()) > 0 for weights in ends.values()] == [False, False, True]

# %% [markdown]
# Formula (5) made no zero at all. Soft-thresholding made 904, and it found the true weights better than the others did.
# The next figure shows where the weights lie.

# %%
figure = Figure(figsize=(7, 3), layout="constrained", facecolor="white")
axes = figure.subplots()
edges = torch.linspace(-0.5, 0.5, 82).tolist()
axes.hist(ends["with formula (5)"].tolist(), edges, histtype="step", color=ORANGE, linestyle="--", label="formula (5)")
axes.hist(ends["with soft-thresholding"].tolist(), edges, histtype="step", color=BLUE, label="soft-thresholding")
axes.set(xlabel="weight after 100 steps", ylabel="how many", yscale="log")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False)
said = (
    "With formula (5) the weights form a broad hill around 0; with soft-thresholding 904 of 1000 stand in a spike at 0."
)
Picture(figure, said)

# %% [markdown]
# ## The formula
#
# As it stands in the article, and in the docstring of the function that computes it:

# %%
ftlab.formula(formulas.sign_prune)

# %% [markdown]
# In words: look at nothing of the gradient but its sign, and move every weight by β against it.
#
# - β = 0 changes nothing.
# - A gradient of exactly 0 moves nothing: its sign is 0.
# - Any other gradient, however small or large, moves its weight by exactly β. The size of the *weight* does not enter, so
#   the formula cannot know which weights are small enough to be removed.
#
# That is an optimizer's step: **signSGD**, a sign step. The article leaves open how it stands beside formula (2). The rule
# `SignPrune` puts it after the optimizer's step, with the same gradient, and its plan says what it is:

# %%
print(ftlab.explain([SignPrune(1e-5)], "sgd"))

# %% [markdown]
# ### What the word wanted
#
# The other formulas of this chapter, each in a sentence. Two are optimizers made of sign steps, the next four hold the
# weights small, then three ways to exact zeros (movement pruning takes two formulas), and the last two remove whole parts
# of a model.

# %%
FAMILY = (
    formulas.signum, formulas.lion,
    formulas.l1_penalty, formulas.l2_penalty, formulas.weight_decay, formulas.clip_weights,
    formulas.soft_threshold, formulas.magnitude_prune, formulas.movement_scores, formulas.movement_prune,
    formulas.neuron_importance, formulas.remove_layers,
)  # fmt: skip
shown = [ftlab.formula(one) for one in FAMILY]
Markdown("\n\n".join(f"**{one.name}**: {one.sentence}\n\n$$\n{one.mathematics}\n$$" for one in shown))

# %% [markdown]
# All of them on the 1,000 weights, 100 steps each, with strengths that are neither tiny nor violent. How many weights are
# exactly 0 in the end?

# %%
STRENGTH, RATE = 0.01, 0.1
scores = {"w": torch.zeros(1000, dtype=torch.float64)}


def remembering(optimizer):
    """Return the rule of an optimizer that remembers the gradients before."""
    kept = {}

    def after(params, grads):
        params, means = optimizer(params, grads, kept, STRENGTH)
        kept.update(means)
        return params

    return after


def moved(params, grads):
    scores.update(movement_scores(scores, params, grads))
    return params


def penalised(penalty):
    """Return the rule of a penalty: a step against its gradient, taken by autograd."""

    def after(params, grads):
        leaf = {"w": params["w"].clone().requires_grad_()}
        penalty(leaf, STRENGTH / RATE).backward()
        return gradient_descent(params, {"w": leaf["w"].grad}, RATE)

    return after


count = {
    "sign_prune": train(lambda params, grads: sign_prune(params, grads, STRENGTH)),
    "signum": train(remembering(formulas.signum)),
    "lion": train(remembering(formulas.lion)),
    "l1_penalty": train(penalised(formulas.l1_penalty)),
    "l2_penalty": train(penalised(formulas.l2_penalty)),
    "weight_decay": train(lambda params, grads: formulas.weight_decay(params, {"w": RATE}, STRENGTH / RATE)),
    "clip_weights": train(lambda params, grads: formulas.clip_weights(params, 1.0)),
    "soft_threshold": train(lambda params, grads: soft_threshold(params, STRENGTH)),
    "magnitude_prune": magnitude_prune({"w": train()}, 0.5)["w"],
    "movement_prune": movement_prune({"w": train(moved)}, scores, 0.5)["w"],
}
zeros = {name: int((weights == 0).sum()) for name, weights in count.items()}
pd.Series(zeros, name="exact zeros of 1000").to_frame()

# %%
assert [name for name, found in zeros.items() if found] == ["soft_threshold", "magnitude_prune", "movement_prune"]

# %% [markdown]
# Look at `l1_penalty`. Its gradient is λ·sign(**θ**), the sign of the weight, where formula (5) has the sign of the
# **gradient**: one letter apart. It does pull every weight towards 0, and still makes no zeros, because a weight near 0
# is carried across it and back at the next step. Soft-thresholding is the same pull that *stops* at 0.
#
# And what is a zero worth? Nothing yet: it takes as much room as any other number.

# %%
dense, sparse = count["sign_prune"], count["soft_threshold"]
sizes = [len(safetensors.torch.save({"w": weights})) for weights in (dense, sparse)]
print("bytes of the file without zeros:", sizes[0], "and with", zeros["soft_threshold"], "zeros:", sizes[1])
assert sizes[0] == sizes[1]

# %% [markdown]
# ## By hand
#
# Three weights, their gradients, and β = 0.1. Check each line on paper before you run the cell.
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
assert torch.allclose(stepped, torch.tensor([0.20, -0.30, -0.05], dtype=torch.float64))
assert torch.allclose(shrunk, torch.tensor([0.20, -0.10, 0.0], dtype=torch.float64))
assert shrunk[2] == 0

# %% [markdown]
# The gradient 0.001 moved its weight as far as the gradient 4 did, and away from 0. The weight 0.05 passed through 0 and
# came out on the other side.
#
# ## Against torch
#
# **Adam's first step is a sign step.** In its first step Adam divides each gradient by its own size; what is left is the
# sign. So formula (5) with β = α must land where one step of `torch.optim.Adam` does.

# %%
net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Tanh(), torch.nn.Linear(30, 1)).double()
with torch.no_grad():
    for param in net.parameters():
        param.copy_(torch.randn(param.shape, generator=chance, dtype=torch.float64) / 3)
(net(torch.randn(64, 20, generator=chance, dtype=torch.float64)) - 1).square().mean().backward()
before = {name: param.detach().clone() for name, param in net.named_parameters()}
grads = {name: param.grad for name, param in net.named_parameters()}
ours = sign_prune(before, grads, 1e-3)
torch.optim.Adam(net.parameters(), lr=1e-3).step()
apart = max(float((ours[name] - param.detach()).abs().max()) for name, param in net.named_parameters())
print("largest difference to Adam's first step < 1e-6:", apart < 1e-6)
assert apart < 1e-6

# %% [markdown]
# From the second step on Adam remembers the gradients before, and differs. The formulas that make zeros, on whole tensors
# against torch's own functions:

# %%
tensor = torch.randn(200, 300, generator=chance, dtype=torch.float64)
pruned = torch.nn.Linear(300, 200, bias=False).double()
pruned.weight.data = tensor.clone()
prune.l1_unstructured(pruned, "weight", amount=0.3)
leaf = tensor.clone().requires_grad_()
formulas.l1_penalty({"w": leaf}, 0.1).backward()
decayed = torch.nn.Parameter(tensor.clone())
decayed.grad = torch.zeros_like(tensor)
torch.optim.SGD([decayed], lr=0.1, weight_decay=0.5).step()
softshrink = torch.nn.functional.softshrink
pairs = {
    "soft_threshold, softshrink": (soft_threshold({"w": tensor}, 0.5)["w"], softshrink(tensor, 0.5)),
    "magnitude_prune, l1_unstructured": (magnitude_prune({"w": tensor}, 0.3)["w"], pruned.weight.detach()),
    "clip_weights, clamp": (formulas.clip_weights({"w": tensor}, 1.0)["w"], tensor.clamp(-1, 1)),
    "gradient of l1_penalty, sign(θ)": (leaf.grad, 0.1 * tensor.sign()),
    "weight_decay, SGD(weight_decay)": (formulas.weight_decay({"w": tensor}, {"w": 0.1}, 0.5)["w"], decayed.detach()),
}
for name, (one, other) in pairs.items():
    apart = float((one - other).abs().max())
    print(f"{name:33} largest difference < 1e-12: {apart < 1e-12}")
    assert apart < 1e-12

# %% [markdown]
# ## Explore
#
# 2,000 weights, as they often are: a quarter does most of the work, the rest is small. Move them by `size`, with the rule
# of your choice. For the sign step the loss is ½‖θ‖², whose gradient pulls every weight straight to 0: nothing could be
# kinder to formula (5).

# %%
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


def histogram(rule, size):
    zeros, kept = reached(rule, size)
    figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
    axes = figure.subplots()
    edges = torch.linspace(-0.1, 0.1, 82).tolist()
    axes.hist(many.tolist(), edges, histtype="step", color=GREY, linestyle="--", label="before")
    axes.hist(RULES[rule](size).tolist(), edges, color=BLUE if zeros else ORANGE, alpha=0.7, label=f"after the {rule}")
    axes.set(xlabel="weight", ylabel="how many", yscale="log", ylim=(0.8, 3000))
    axes.annotate(f"{zeros:.0%} exactly 0", (0.004, 1500), color="black")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    said = f"A {rule} of {size:g}: {zeros:.0%} of the weights are exactly 0, {kept:.0%} of the norm is left."
    return figure, f"{said} Goal reached." if zeros >= 0.5 and kept >= 0.9 else said


SIZES = [0.0, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06]
explore(
    histogram,
    goal="At least half of the weights exactly 0, and at least 90 % of the norm left.",
    rule=slider(list(RULES), start="soft threshold"),
    size=slider(SIZES, start=0.04),
)

# %% [markdown]
# Does the sign step reach the goal with any size?

# %%
most = max(reached("sign step", size)[0] for size in SIZES)
good = [size for size in SIZES if "Goal reached" in histogram("soft threshold", size)[1]]
print(f"most zeros that a sign step makes: {most:.0%}; the soft threshold reaches the goal with", good)
assert most == 0
assert good

# %% [markdown]
# ## On the real model
#
# The embedded MiniLM learns the topic of a review, one of six, from 128 reviews. Four runs that differ by one rule only:
# none; formula (5) as written; magnitude pruning up to half of the encoder's weights; four of the six layers, evenly
# spaced. Of each we
# keep the folder that it saves, and count.

# %%
data = ftlab.load_data("reviews", task="topic")
data.pop("validation")
data["train"] = data["train"].shuffle(seed=0).select(range(128))
data["test"] = data["test"].shuffle(seed=0).select(range(100))
model = ftlab.load_model("minilm", data)
print(f"{len(matrices(model.net, layers=True))} matrices in the encoder's layers")

# %% tags=["nbval-ignore-output"]
ARMS = {
    "plain": [],
    "formula (5)": [SignPrune(1e-5)],
    "half pruned": [MagnitudePrune(0.5)],
    "four layers": [RemoveLayers(4, "even")],
}
HOW = {"epochs": 2, "lr": 3e-4, "batch_size": 8}
runs = {name: ftlab.finetune(model, data, recipe=recipe, **HOW) for name, recipe in ARMS.items()}


def counted(name, run):
    net = run.model.net
    weights = torch.cat([net.get_parameter(one).detach().flatten() for one in matrices(net, layers=True)])
    file = run.save(Path(workplace.name) / name) / "model.safetensors"
    accuracy, low, high = (run.metrics.flat()[f"accuracy{end}"] for end in ("", "_low", "_high"))
    return {
        "zeros": int((weights == 0).sum()),
        "parameters": sum(param.numel() for param in net.parameters()),
        "bytes of the file": file.stat().st_size,
        "accuracy": f"{accuracy:.2f} ({low:.2f} to {high:.2f})",
    }


table = pd.DataFrame({name: counted(name, run) for name, run in runs.items()}).T
table

# %%
inside = sum(model.net.get_parameter(one).numel() for one in matrices(model.net, layers=True))
assert table["zeros"]["half pruned"] >= inside / 2
assert max(table["zeros"][name] for name in ("plain", "formula (5)", "four layers")) < inside / 10**5
assert table["parameters"].nunique() == 2
assert table["parameters"]["four layers"] < table["parameters"]["plain"]
assert len({table["bytes of the file"][name] for name in ("plain", "formula (5)", "half pruned")}) == 1
assert all(run.metrics["accuracy"] > 1 / 6 for run in runs.values()), "better than guessing, which gives 1/6"

# %% [markdown]
# Read the table by rows. Formula (5) made no zeros and left every parameter in its place. Magnitude pruning set half of
# the encoder's weights to 0, and the model has as many parameters and the file as many bytes as before. Only the model
# with four layers has become smaller. Each accuracy stands with its 95 % interval; on 100 reviews they are wide, and
# where two overlap widely nothing has been shown.
#
# ### What is smaller, and what is faster
#
# To save room and time, the shapes themselves have to shrink. `RemoveNeurons` cuts those neurons out of every
# feed-forward block whose weights matter least, `RemoveLayers` takes whole layers. What is left is an ordinary model.

# %%
CUTS = {
    "as it was": lambda net: None,
    "half of the neurons": lambda net: structure.remove_neurons(net, 0.5),
    "four of six layers": lambda net: structure.remove_layers(net, 4, "even"),
    "both": lambda net: (structure.remove_neurons(net, 0.5), structure.remove_layers(net, 4, "even")),
}
cut = {}
for name, change in CUTS.items():
    cut[name] = model.copy().net
    change(cut[name])
    cut[name].save_pretrained(Path(workplace.name) / name)
    file = Path(workplace.name) / name / "model.safetensors"
    count = sum(param.numel() for param in cut[name].parameters())
    print(f"{name:20} {count:>12,} parameters, {file.stat().st_size / 1e6:.1f} MB")
words = model.net.get_input_embeddings().weight
print(f"of these the embedding of {len(words):,} words has {words.numel():,}")
assert words.numel() > count / 2

# %% [markdown]
# The embedding of the words is the greater part of what is left, and none of it was cut. To look up a word takes almost no
# time, so the gain in time is larger than that in room. The four in turns, the same 32 texts, the best of three:

# %% tags=["nbval-ignore-output"]
batch = model.processor(list(data["test"]["text"][:32]), padding=True, return_tensors="pt")
spent = {name: [] for name in cut}
with torch.inference_mode():
    for _ in range(3):
        for name, net in cut.items():
            started = time.perf_counter()
            net(**batch)
            spent[name].append(time.perf_counter() - started)
for name, times in spent.items():
    print(f"{name:20} {min(spent['as it was']) / min(times):.2f} times as fast")
assert min(spent["as it was"]) / min(spent["both"]) > 22.7 / 16.8, "more is gained in time than in room"

# %% [markdown]
# Who gets the folder opens it with `transformers` alone, since the config says how many layers and neurons there are:

# %%
again = AutoModelForSequenceClassification.from_pretrained(Path(workplace.name) / "both").eval()
print(again.config.num_hidden_layers, "layers of", again.config.intermediate_size, "neurons")
with torch.inference_mode():
    apart = float((again(**batch).logits - cut["both"](**batch).logits).abs().max())
print("same answers:", apart < 1e-6)
assert apart < 1e-6

# %% [markdown]
# ## Where it hurts
#
# A sign step knows nothing of a weight's size. How large are the weights of MiniLM, and what is left of the fine-tuned
# model after **one** step of formula (5), on the gradient of 16 training reviews, with a growing β?

# %% tags=["nbval-ignore-output"]
tuned = runs["plain"].model.copy()
rows = data["train"].select(range(16))
sixteen = tuned.processor(list(rows["text"]), padding=True, return_tensors="pt")
tuned.net.eval()
tuned.net(**sixteen, labels=torch.tensor(rows["label"])).loss.backward()
before = {name: param.detach().clone() for name, param in tuned.net.named_parameters()}
grads = {name: param.grad for name, param in tuned.net.named_parameters() if param.grad is not None}
encoder = torch.cat([before[name].flatten() for name in matrices(tuned.net, layers=True)])
print(f"a typical weight of the encoder's matrices: {encoder.abs().median():.3f}")

after = {}
for beta in (0.0, 1e-5, 1e-3, 3e-2):
    new = sign_prune(before, grads, beta)
    with torch.no_grad():
        for name, param in tuned.net.named_parameters():
            param.copy_(new[name])
        loss = float(tuned.net(**sixteen, labels=torch.tensor(rows["label"])).loss)
    after[beta] = ftlab.evaluate(tuned, data["test"].select(range(60)), resamples=0)["accuracy"]
    print(f"β = {beta:<6g} loss on the 16 reviews {loss:6.3f}, accuracy on 60 others {after[beta]:.2f}")
assert abs(after[1e-5] - after[0.0]) < 0.1
assert after[1e-3] < after[0.0] - 0.1

# %% [markdown]
# A step of 1e-5 is hardly felt. One of 0.001, about a thirtieth of a typical weight, has already spoilt the model, since *every*
# weight makes it at once. A step of the size of the weights throws away what was learned, in pretraining too. So β belongs
# to the order of Adam's learning rate, far below the weights.
#
# There is a second harm. The article puts formula (5) beside the schedule of formula (4), but the sign step does not hear
# of α: it keeps its length when the learning rate has long gone to 0. On J = ½θ² it never comes to rest:

# %%
place, path = {"w": torch.tensor([1.0], dtype=torch.float64)}, []
for _ in range(8):
    place = sign_prune(place, place, 0.3)  # the gradient of ½θ² is θ
    path.append(round(place["w"].item(), 4))
print(path)
assert path[-2:] == path[-4:-2]

# %% [markdown]
# ## Also called
#
# - Formula (5) alone is **signSGD** or *sign descent*; in geometry it is steepest descent in the largest-entry norm. With
#   a running mean of the gradients it is **Signum**, with a mixture of two means **Lion**. Adam's first step is one.
# - 裁剪 is used for three things that have little in common. *Gradient clipping* bounds the gradient (`ClipNorm`);
#   *weight clipping* bounds the weights (`ClipWeights`); *pruning*, usually written 剪枝, removes weights. Formula (5) is
#   none of the three.
# - The soft threshold is also *shrinkage*, and the *proximal step* of the L1 norm; with gradient descent it is **ISTA**,
#   whose end is the Lasso.
# - Zeros in scattered places are *unstructured* pruning; neurons, heads and layers taken out are *structured* pruning.
# - `weight_decay` is *decoupled*, `l2_penalty` *coupled* weight decay. Under Adam they differ. The article lists L1 and L2
#   among what reduces the number of parameters; neither does.
#
# ## Is your own rule better?
#
# Formula (5) with the sign of the weight in place of the gradient's: three lines make the rule. `trial` puts it through
# every clause of the contract, then trains with and without it over three pairs of seeds.


# %% tags=["nbval-ignore-output"]
@dataclass(frozen=True)
class PullToZero(ftlab.Project):
    strength: float = 1e-4

    def project(self, params, memory, now):
        return {name: param - self.strength * param.sign() for name, param in params.items()}, memory


data["test"] = data["test"].select(range(50))
verdict = ftlab.trial(PullToZero(), data, model, pairs=3, rows=48, epochs=2, lr=5e-4, batch_size=8)
print(verdict)
assert verdict.broken == ()
assert len(verdict.with_it) == 3

# %% [markdown]
# Read the interval first. Where it holds 0, nothing was seen, which is not "no effect": with three pairs, 48 reviews to
# learn from and 50 to be measured on, only a large difference shows, and the verdict says how large. Where it does not hold
# 0, the verdict still speaks of these reviews and this short training alone, and one in twenty trials of a rule that neither
# helps nor hurts is decided by chance. Where it adds that neither arm does better than always giving the most frequent label,
# little was learned, and no rule can be judged: give more rows.
#
# ## Exercises
#
# ### Exercise 05.1
#
# J(θ) = ½θ², no gradient descent, formula (5) alone with β = 0.35, from θ = 1. Where is θ after 100 steps? Give two
# significant digits and the sign.


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
# exactly 0. Which share of the norm ‖θ‖₂ is left? Give three significant digits.

# %% tags=["solution"]
import torch

from ftlab.formulas import soft_threshold

six = torch.tensor([0.9, -0.2, 0.05, -0.6, 0.3, 0.1], dtype=torch.float64)
tau = six.abs().sort().values[2].item()
left = (soft_threshold({"w": six}, tau)["w"].norm() / six.norm()).item()
ftlab.check.exercise("05.2", left)

# %% [markdown]
# ### Exercise 05.3
#
# Write `shrink(weight, tau)`: the soft threshold of one tensor of any shape, with τ ≥ 0, without calling `ftlab` or
# `softshrink`.


# %% tags=["solution"]
def shrink(weight, tau):
    return weight.sign() * (weight.abs() - tau).clamp(min=0)


ftlab.check.exercise("05.3", shrink)

# %% [markdown]
# ### Exercise 05.4
#
# A layer of MiniLM is 384 wide and its feed-forward block has 1,536 neurons, each with a bias; it reads with one matrix
# and writes with another. How many parameters does `RemoveNeurons(0.5)` take out of one layer? Give all digits.

# %% tags=["solution"]
neurons = 1536 // 2
removed = neurons * (384 + 1 + 384)
ftlab.check.exercise("05.4", removed)

# %% [markdown]
# ### Exercise 05.5
#
# Write `movement(weights, grads)`: the movement scores of one tensor after some steps. It gets two lists of tensors, one
# entry a step: the weights before the step, and the gradients of that step.


# %% tags=["solution"]
def movement(weights, grads):
    return -sum(weight * grad for weight, grad in zip(weights, grads, strict=True))


ftlab.check.exercise("05.5", movement)

# %% [markdown]
# ## Key points
#
# - Formula (5) is signSGD, a sign step. Every weight that has a gradient moves by exactly β; no zero is made and nothing
#   is removed.
# - The L1 pull uses the sign of the weight. Only its proximal form, the soft threshold, stops at 0 and makes exact zeros;
#   magnitude and movement pruning set them by rank.
# - Zeros save neither room nor time by themselves: the file has the same number of bytes.
# - Neurons and layers taken out do make a model smaller and faster, and it opens everywhere.
# - β is a step: of the order of Adam's learning rate, far below the size of the weights.

# %% tags=["nbval-skip"]
workplace.cleanup()
