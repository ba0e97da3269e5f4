# %% [markdown]
# # 11. My loss is NaN, or does not fall
#
# Most failed training runs have one of seven faults. On this page you cause each of them on purpose, see it within ten
# updates, and fix it.
#
# **When you are through** (about 35 minutes to read and work through, about 1 minute to run) you can
#
# - tell from ten losses whether the fault is in the training loop or in the data;
# - recognise the seven faults by the numbers that they leave;
# - choose a learning rate, a warm-up and a clipping norm, and say what they cannot fix.
#
# You need to have fine-tuned once, as in the [quickstart](00_quickstart.ipynb).
#
# | what you see | look first at | section |
# | --- | --- | --- |
# | NaN, or a loss above 10 | the learning rate: too high | 2 |
# | the loss stays at log C, where C is the number of classes | the learning rate (too low), what is trained, what the model reads | 3, 4, 5 |
# | it falls, jumps up and stays there | warm-up | 6 |
# | it grows without end under plain gradient descent | gradient clipping | 7 |
# | it falls in training, but validation accuracy stays at guessing | the labels | 8 |
#
# **NaN** means "not a number": you get it from a computation that has no defined result, such as ∞ − ∞. Whatever is
# computed from a NaN is NaN too, so one update with it ruins the whole model.

# %% tags=["hide-input"]
import hashlib
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure

import ftlab
from ftlab import ClipNorm, Freeze, WarmupLinear
from ftlab.display.plots import BLUE, GREY, ORANGE, Picture

# %% [markdown]
# ## 1. The sixteen-text test
#
# Take sixteen texts and train on these alone, again and again. A model with 22.7 million parameters can learn sixteen labels
# by heart, so the loss must fall towards 0. If it does not, the fault is in the loop, and more data will not help. The
# test takes ten updates.

# %%
data = ftlab.load_data("reviews", task="sentiment")
model = ftlab.load_model("minilm", data)
short = [row for row in data["train"] if len(row["text"].split()) <= 16]


def batch_of(rows, max_length=128):
    """Turn rows into tensors: token numbers and labels."""
    encoded = model.processor(
        [row["text"] for row in rows],
        padding=True,
        truncation=True,
        max_length=max_length,
        return_tensors="pt",
    )
    return {**encoded, "labels": torch.tensor([row["label"] for row in rows])}


def losses(name, batch, lr=3e-4, recipe=(), updates=10, optimizer="adamw"):
    """Train a copy of the model on one batch, again and again, and print the losses."""
    state = ftlab.begin(
        model.copy(), [batch], recipe, epochs=updates, lr=lr, optimizer=optimizer
    )
    found = []
    try:
        for _ in range(updates):
            found.append(ftlab.step(state, batch)["loss"])
    finally:  # also where a step fails
        row = (f"{loss:5.0f}" if loss > 10 else f"{loss:5.2f}" for loss in found)
        print(f"{name:15}", *row)
    return found


sixteen = batch_of(short[:16])

# %% tags=["nbval-ignore-output"]
healthy = losses("healthy", sixteen)
print(f"a model of two classes that has learned nothing: log 2 = {math.log(2):.2f}")
assert abs(healthy[0] - math.log(2)) < 0.06
assert healthy[-1] < 0.1

# %% [markdown]
# This is the row to compare with. Each of the following sections changes one thing only.
#
# ## 2. The learning rate is too high
#
# With a learning rate of 1.0, each update overshoots, and the loss jumps far above its first value. With a million, the loss
# is no longer a finite number. ftlab then raises `DivergenceError` before the update, and the message names the step.

# %% tags=["nbval-ignore-output"]
high = losses("lr 1.0", sixteen, lr=1.0, updates=5)
try:
    losses("lr 1,000,000", sixteen, lr=1e6)
except ftlab.DivergenceError as error:
    said = str(error)
print(f"\n{said}")
assert max(high) > 10
assert "stay finite" in said

# %% [markdown]
# **A model that you saved before is not lost.** The first run below leaves a model in a folder. The second run is told
# to replace it, and diverges. The weights in the folder have the same fingerprint (SHA-256, a short code computed from
# the whole file) before and after.

# %% tags=["nbval-ignore-output"]
folder = Path("runs/loss_is_nan")
tiny = {"train": data["train"].select(range(16))}


def fingerprint():
    weights = (folder / "model/model.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest()[:16]


settings = {"batch_size": 16, "output": folder, "overwrite": True, "progress": False}
ftlab.finetune(model, tiny, epochs=1, **settings)
before = fingerprint()
try:
    ftlab.finetune(model, tiny, epochs=8, lr=1e6, **settings)
    ending = "the second run went through"
except ftlab.DivergenceError:
    ending = "the second run diverged"
print(f"before {before}\nafter  {fingerprint()}  ({ending})")
assert ending == "the second run diverged"
assert fingerprint() == before

# %% [markdown]
# ## 3. The learning rate is too low
#
# With a learning rate a thousand times lower than the healthy one, nothing breaks. Nothing happens either.

# %% tags=["nbval-ignore-output"]
low = losses("lr 0.0000003", sixteen, lr=3e-7, updates=5)
assert max(low) - min(low) < 0.1
assert low[-1] > 0.6

# %% [markdown]
# Where is a good learning rate? `find_lr` trains a copy of the model while the learning rate grows from update to update. It
# reports where the loss falls most steeply and where it runs away. Your model stays as it is.

# %% tags=["nbval-ignore-output"]
found = ftlab.find_lr(model, [sixteen], low=1e-6, high=1.0, steps=30)
print(found)
print("learning rate  loss of the batch  smoothed")
for number in range(0, len(found.losses), 2):
    rate, loss = found.rates[number], found.losses[number]
    print(f"{rate:13.1e}  {loss:17.2f}  {found.smoothed[number]:8.2f}")

# %% tags=["hide-input", "nbval-ignore-output"]
figure = Figure(figsize=(7, 3.6), layout="constrained", facecolor="white")
axes = figure.subplots()
axes.semilogx(
    found.rates, [min(loss, 2) for loss in found.losses], ".", color=GREY,
    label="loss of one batch (cut off at 2)",
)  # fmt: skip
axes.semilogx(found.rates, found.smoothed, color=BLUE, label="smoothed loss")
axes.axvline(found.suggestion, color=ORANGE, linestyle="--")
axes.text(
    found.suggestion, 1.01, f"steepest fall: {found.suggestion:.0e}", color=ORANGE,
    ha="center", va="bottom", transform=axes.get_xaxis_transform(),
)  # fmt: skip
axes.set(xlabel="learning rate", ylabel="loss", ylim=(0, 2.05))
axes.spines[["top", "right"]].set_visible(False)
figure.legend(loc="outside lower center", ncols=2, frameon=False)
place = found.rates.index(found.suggestion)
first, lowest = found.smoothed[0], min(found.smoothed)
assert abs(first - math.log(2)) < 0.1
assert lowest < 0.5
assert lowest + 0.05 < found.smoothed[place] < first - 0.05
assert 1e-5 < found.suggestion < 1e-3
assert max(found.losses[place:]) > 0.9
Picture(
    figure,
    "The smoothed loss stays near 0.7 at low learning rates, falls where the dashed "
    "line marks the suggestion, and rises again at high ones.",
)

# %% [markdown]
# The suggestion is a place to begin, not the best learning rate. It was found on sixteen texts that repeat, and the batch
# size and the schedule move the optimum. Try it, a third of it, and three times as much.
#
# ## 4. The body is frozen
#
# The *body* is the pretrained model without its new head. If it is frozen, by a rule of the recipe or by a
# `requires_grad = False` in some cell above, only the head learns. At this learning rate the loss then hardly changes:

# %% tags=["nbval-ignore-output"]
frozen = losses("body frozen", sixteen, recipe=[Freeze("bert.*")], updates=5)
assert max(frozen) - min(frozen) < 0.1
assert frozen[-1] > 0.6

# %% [markdown]
# Count the numbers that are trained. The head has 384 weights and one bias for each of the two classes:

# %%
for name, recipe in (("frozen", [Freeze("bert.*")]), ("nothing frozen", [])):
    params = ftlab.begin(model.copy(), [sixteen], recipe).params
    count = sum(param.numel() for param in params.values())
    print(f"{name:15} {count:10,} numbers are trained")

# %% [markdown]
# If you did not want this, leave the rule out. If you do want to train the head alone, give it a learning rate a hundred times
# higher:

# %% tags=["nbval-ignore-output"]
head_alone = losses("head, lr 0.03", sixteen, lr=0.03, recipe=[Freeze("bert.*")])
assert head_alone[-1] < frozen[-1] - 0.1

# %% [markdown]
# ## 5. The model reads nothing
#
# A text with more than `max_length` tokens is cut off at its end. If the limit is too low, the words that decide the
# label are gone. To see this, turn the tokens that the model reads back into text:

# %%
cut = batch_of(short[:16], max_length=2)
print("the text:        ", short[0]["text"])
print("what it reads:   ", model.processor.decode(cut["input_ids"][0]))
lengths = [
    len(ids) for ids in model.processor(list(data["train"]["text"]))["input_ids"]
]
for limit in (16, 32, 64, 128):
    part = sum(length > limit for length in lengths) / len(lengths)
    print(f"max_length={limit:3}: {part:4.0%} of the training reviews are cut")

# %% [markdown]
# All sixteen texts now look the same, so the model can learn only how many of them are positive. The lowest loss that this
# allows is the *entropy* of the labels, $-p\ln p-(1-p)\ln(1-p)$, where $p$ is the share of positive ones:

# %% tags=["nbval-ignore-output"]
share = cut["labels"].double().mean().item()
lowest = -share * math.log(share) - (1 - share) * math.log(1 - share)
print(f"{share:.0%} are positive, so the loss cannot stay below {lowest:.2f}")
blind = losses("reads nothing", cut, updates=8)
assert blind[-1] > lowest - 0.05

# %% [markdown]
# `finetune` reports how many texts it cuts, in a line that begins with `note:`, and keeps the numbers in
# `run.facts["texts_cut"]`.
#
# ## 6. No warm-up
#
# Adam divides each gradient by its own size, so its first updates change every weight by about the full learning rate.
# With a high learning rate, these first updates can ruin the model before it has learned anything. Warm-up begins with
# small steps. In the second row, the learning rate rises to the same height over the first five updates, and then
# falls:

# %% tags=["nbval-ignore-output"]
rise = [WarmupLinear(0.625)]
without = losses("no warm-up", sixteen, lr=1.5e-3, updates=8)
warm = losses("warm-up", sixteen, lr=1.5e-3, recipe=rise, updates=8)
assert max(without[3:]) > 0.7 > max(warm[3:])
assert without[-1] > 0.2 > warm[-1]

# %% [markdown]
# `finetune` warms up over the first 10 % of the updates, unless your recipe has a schedule of its own. With such a
# recipe `finetune` adds no warm-up, and `ftlab.explain(recipe)` warns you.
#
# ## 7. Gradients that grow: clipping
#
# In plain gradient descent the step is the learning rate times the gradient. A step that is too long can land where the
# gradient is larger, so that the next step is longer still. `ClipNorm(0.1)` shortens every gradient to a norm of at most 0.1.
# Here no step is then longer than 3.0 · 0.1 = 0.3.

# %% tags=["nbval-ignore-output"]
settings = {"lr": 3.0, "optimizer": "sgd"}
free = losses("not clipped", sixteen, updates=6, **settings)
clipped = losses("clipped", sixteen, recipe=[ClipNorm(0.1)], updates=8, **settings)
assert max(free) > 10
assert clipped[-1] < 0.3

# %% [markdown]
# Clipping fixes steps that are too long. It fixes none of the other faults on this page.
#
# ## 8. The labels belong to other texts
#
# Somebody sorted one column of the table and not the other. The sixteen-text test does not notice, because a large model
# learns wrong labels by heart as well as right ones:

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
mixed_up = {**sixteen, "labels": sixteen["labels"][torch.randperm(16)]}
wrong = (mixed_up["labels"] != sixteen["labels"]).sum().item()
print(f"{wrong} of 16 labels are wrong")
by_heart = losses("labels shuffled", mixed_up, updates=9)
assert by_heart[-1] < 0.1

# %% [markdown]
# Two checks do notice. The first is to read ten rows with their labels before you train.
#
# The second needs no training either. The pretrained model turns each text into a vector, and texts with similar
# meaning get similar vectors. So a text should often have the same label as its nearest neighbour. With shuffled labels
# it has the same label only by chance. We use the topic labels, because these vectors represent topics well:

# %% tags=["nbval-ignore-output"]
topics = ftlab.load_data("reviews", task="topic")["train"]
rows = [row for row in topics if len(row["text"].split()) <= 16][:400]
vectors = ftlab.embed(model, [row["text"] for row in rows])
nearest = (vectors @ vectors.T).fill_diagonal_(-1).argmax(1)
labels = torch.tensor([row["label"] for row in rows])
shuffled = labels[torch.randperm(len(labels))]
agree = {}
for name, given in (("as they are", labels), ("shuffled", shuffled)):
    agree[name] = (given == given[nearest]).double().mean().item()
    print(f"labels {name:12} {agree[name]:.2f} agree with the nearest neighbour")
print(f"{len(rows)} texts; by chance about 1/6 = {1 / 6:.2f}")
assert agree["as they are"] > 0.5 > 0.25 > agree["shuffled"]

# %% [markdown]
# This check works only if the pretrained vectors separate your classes. If even correct labels agree no better than chance,
# it tells you nothing.
#
# ## Exercises
#
# ### Exercise 11.1
#
# A model for 20 classes, with equally many rows in each, has the same loss from the first update on. It has learned
# nothing. What is that loss? (3 significant digits)

# %% tags=["solution"]
import math

nothing = math.log(20)
ftlab.check.exercise("11.1", nothing)

# %% [markdown]
# ### Exercise 11.2
#
# In the sixteen-text test the loss goes to 0. On all the data the training loss falls from epoch to epoch, but the validation
# loss never gets below log C, and the validation accuracy stays at guessing. Which fault is it: `rate`, `frozen`, `length`,
# `warm-up` or `labels`?

# %% tags=["solution"]
cause = "labels"
ftlab.check.exercise("11.2", cause)

# %% [markdown]
# ## Key points
#
# - Train on sixteen texts for ten updates. If the loss does not go to 0, look for the fault in the loop.
# - A loss that stays at log C: the learning rate is too low, the body is frozen, or the model reads nothing.
# - A loss that jumps, or NaN: the learning rate is too high, or warm-up or clipping is missing.
# - The test cannot see a fault in the data. Read ten rows with their labels.
# - Change one thing at a time, and keep the healthy row of losses to compare with.
