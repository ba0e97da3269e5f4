# %% [markdown]
# # 11. My loss is NaN, or does not fall
#
# Most such trainings have one of seven faults. On this page each is made on purpose and seen in a few updates, with
# what to do about it.
#
# **When you are through** (about 5 minutes to read, under 1 to run) you can
#
# - tell from ten losses whether the fault lies in the loop or in the data;
# - make NaN, a flat loss and a jump happen, and say what each looks like;
# - choose a learning rate, a warm-up and a clipping norm, and say what they cannot mend.
#
# You need to have fine-tuned once, as in the [quickstart](00_quickstart.ipynb).
#
# | what you see | look first at | section |
# | --- | --- | --- |
# | NaN, or a loss in the tens | the learning rate: too great | 2 |
# | the loss stays at log C, C being the number of classes | the rate: too small; what is trained; what the model reads | 3, 4, 5 |
# | it falls, jumps up and stays there | warm-up | 6 |
# | it grows without end, under plain gradient descent | gradient clipping | 7 |
# | it falls in training; validation stays at log C or rises, and its accuracy stays at guessing | the labels (where that accuracy rises, it is over-confidence: chapter 1) | 8 |

# %% tags=["nbval-skip"]
import subprocess
import sys

if "google.colab" in sys.modules:  # on Colab: install your copy of the repository; its torch stays
    REPOSITORY = ""  # the address of your copy, as in https://github.com/you/ftlab
    assert REPOSITORY, "Write the address of your copy of the repository into REPOSITORY, then run this cell again."
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"ftlab[embedded] @ git+{REPOSITORY}"], check=True)

# %%
import math
import tempfile
from pathlib import Path

import torch
import transformers
from matplotlib.figure import Figure

import ftlab
from ftlab import ClipNorm, Freeze, WarmupLinear
from ftlab.plots import BLUE, ORANGE, Picture

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
workplace = tempfile.TemporaryDirectory()  # what this page saves goes there, and away again

# %% [markdown]
# ## 1. The sixteen-text test
#
# Take sixteen texts and train on these alone. A model of 22.7 million parameters can learn sixteen labels by heart, so the
# loss has to go to 0. If it does not, the fault is in the loop, and more data will not help. It takes ten updates.

# %%
data = ftlab.load_data("reviews", task="sentiment")
model = ftlab.load_model("minilm", data)
short = [row for row in data["train"] if len(row["text"].split()) <= 16]


def batch_of(rows, max_length=128):
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    encoded = model.processor(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    return {**encoded, "labels": torch.tensor(labels)}


def losses(batch, lr=3e-4, recipe=(), updates=10, optimizer="adamw"):
    """Train a copy of the model on one batch, again and again, and show the losses."""
    state = ftlab.begin(model.copy(), [batch], recipe, epochs=updates, lr=lr, optimizer=optimizer)
    found = []
    try:
        for _ in range(updates):
            found.append(ftlab.step(state, batch)["loss"])
    finally:
        print(" ".join(f"{loss:.4g}" if loss > 10 else f"{loss:.2f}" for loss in found))
    return found


sixteen = batch_of(short[:16])

# %% tags=["nbval-ignore-output"]
sound = losses(sixteen)
print(f"log 2 is {math.log(2):.2f}: what a model of two classes has before it has learned anything")
assert abs(sound[0] - math.log(2)) < 0.05
assert sound[-1] < 0.1

# %% [markdown]
# Remember this row. From here on one thing at a time is spoiled.

# %% [markdown]
# ## 2. The learning rate is too great
#
# Some thousand times too great, and the loss jumps into the tens: each update overshoots. Greater still, and it is no
# number any more. ftlab then stops with `Diverged`, before the update, and says at which step it was.

# %% tags=["nbval-ignore-output"]
great = losses(sixteen, lr=1.0, updates=5)
assert max(great) > 10

try:
    losses(sixteen, lr=1e6)
except ftlab.Diverged as error:
    print("Diverged:", error)
    said = str(error)
assert "stay finite" in said

# %% [markdown]
# **Nothing good is lost.** Here is a folder with a model in it. A second run is told to take the folder over, and
# diverges. The model that was there is still there, byte for byte.

# %% tags=["nbval-ignore-output"]
tiny = {"train": data["train"].select(range(16))}
folder = Path(workplace.name) / "run"
ftlab.finetune(model, tiny, epochs=1, batch_size=16, output=folder, progress=False)
weights = folder / "model/model.safetensors"
before = weights.read_bytes()
try:
    ftlab.finetune(model, tiny, epochs=8, batch_size=16, lr=1e6, output=folder, overwrite=True, progress=False)
    stopped = False
except ftlab.Diverged:
    stopped = True
print("it diverged:", stopped, "| the saved weights are as they were:", weights.read_bytes() == before)
assert stopped
assert weights.read_bytes() == before

# %% [markdown]
# ## 3. The learning rate is too small
#
# A thousand times too small, and nothing is wrong except that nothing happens.

# %% tags=["nbval-ignore-output"]
small = losses(sixteen, lr=3e-7, updates=3)
assert max(small) - min(small) < 0.05

# %% [markdown]
# How do you find a rate between the two? `find_rate` trains a copy while the rate grows from update to update, and says
# where the loss falls most steeply and where it runs away. Your model stays as it is.

# %% tags=["nbval-ignore-output"]
several = [batch_of(short[first : first + 8]) for first in range(0, 64, 8)]
found = ftlab.find_rate(model, several, low=1e-6, high=10.0, steps=18)
print(found)
assert 1e-5 < found.suggestion < 1e-2 < found.stopped
assert all(abs(loss - 0.69) < 0.1 for loss in found.losses[:5])

# %%
figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
axes = figure.subplots()
axes.semilogx(found.rates, [min(loss, 3) for loss in found.losses], ".", color=BLUE, label="of each update, at most 3")
axes.axvline(found.suggestion, color=ORANGE, linestyle="--", label="steepest fall")
axes.set(xlabel="learning rate", ylabel="loss", ylim=(0, 3.1))
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
Picture(figure, "The loss stays near 0.7 at small rates and runs away at great ones; the suggestion lies in between.")

# %% [markdown]
# It is a place to begin, not the best rate: it was found on a few small batches, and another batch size or a schedule
# moves it. Try it, and a third and three times of it.

# %% [markdown]
# ## 4. The body is frozen
#
# A recipe, or a `requires_grad = False` in some cell above, holds the model, and only the new head learns. Ask how many
# numbers are trained.

# %% tags=["nbval-ignore-output"]
held = losses(sixteen, recipe=[Freeze("bert.*")], updates=5)
assert max(held) - min(held) < 0.05

# %%
trained = ftlab.begin(model.copy(), [sixteen], [Freeze("bert.*")]).params
everything = ftlab.begin(model.copy(), [sixteen]).params
for name, params in (("frozen", trained), ("whole", everything)):
    print(f"{name:6} {sum(param.numel() for param in params.values()):10,} numbers are trained")
assert sum(param.numel() for param in trained.values()) == 2 * 384 + 2

# %% [markdown]
# Mend it by leaving the rule out. If you mean to train the head alone, give it a far greater rate than a whole model.

# %% tags=["nbval-ignore-output"]
head_alone = losses(sixteen, lr=0.03, recipe=[Freeze("bert.*")], updates=7)
assert head_alone[-1] < held[-1] - 0.05

# %% [markdown]
# ## 5. The model reads nothing
#
# Texts are cut at `max_length` tokens, from the end. If that is too small, what tells the classes apart is gone. The surest
# way to see it is to read what the model reads.

# %%
cut = batch_of(short[:16], max_length=2)
print("a text as it is:       ", short[0]["text"])
print("as the model reads it: ", model.processor.decode(cut["input_ids"][0]))
lengths = [len(ids) for ids in model.processor(list(data["train"]["text"]))["input_ids"]]
for limit in (16, 32, 64):
    print(f"max_length={limit}: {sum(length > limit for length in lengths) / len(lengths):.0%} of the reviews are cut")
assert max(lengths) < 64

# %%
share = cut["labels"].double().mean().item()
least = -share * math.log(share) - (1 - share) * math.log(1 - share)
print(f"{share:.0%} of the sixteen are positive; without reading them, no model gets below {least:.2f}")

# %% tags=["nbval-ignore-output"]
blind = losses(cut)
assert blind[-1] > least - 0.1

# %% [markdown]
# All texts are the same to it now, so it can learn the share of the classes and nothing else. `finetune` tells you how many
# texts it cuts, in a line that begins with `note:`, and keeps the numbers in `run.facts["texts_cut"]`.

# %% [markdown]
# ## 6. No warm-up
#
# AdamW's first updates have the full length of the learning rate in every number, whatever the gradient's size. With a great
# rate they can ruin the model before it has learned anything, and it may never come back. Warm-up begins with small steps.
# Here the second run rises to the rate of the first within five updates.

# %% tags=["nbval-ignore-output"]
without = losses(sixteen, lr=2e-3, updates=8)
with_it = losses(sixteen, lr=2e-3, recipe=[WarmupLinear(0.625)], updates=8)
assert max(without[2:]) > max(with_it[2:])
assert without[-1] > 0.3 > with_it[-1]

# %% [markdown]
# `finetune` warms up over the first tenth of the updates unless your recipe names a schedule of its own. Then there is no
# warm-up but yours, and `explain` says so.

# %% [markdown]
# ## 7. Gradients that grow: clipping
#
# Under plain gradient descent a step is as long as the gradient. A step that is too long lands where the gradient is
# greater still, and so on. `ClipNorm` shortens the gradient to a length that you choose.

# %% tags=["nbval-ignore-output"]
free = losses(sixteen, lr=3.0, updates=7, optimizer="sgd")
clipped = losses(sixteen, lr=3.0, recipe=[ClipNorm(0.1)], updates=6, optimizer="sgd")
assert max(free) > 10
assert clipped[-1] < 0.4

# %% [markdown]
# No step is longer than 3.0 · 0.1 any more. Clipping mends steps that are too long. It mends none of the other faults here.

# %% [markdown]
# ## 8. The labels belong to other texts
#
# Somebody sorted one column and not the other. The sixteen-text test does not notice: what can be learned by heart can be
# learned by heart with any labels.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
mixed_up = {**sixteen, "labels": sixteen["labels"][torch.randperm(16)]}
print((mixed_up["labels"] != sixteen["labels"]).sum().item(), "of 16 labels are wrong")
by_heart = losses(mixed_up, updates=8)
assert by_heart[-1] < 0.1

# %% [markdown]
# Two checks do. The first is to read ten rows with their labels before you train. The second needs no training: does a
# text have the same label as its nearest neighbour, in the vectors of the pretrained model? Here with the topics, which
# these vectors know about; a model that knows nothing of your labels yet cannot help you this way.

# %% tags=["nbval-ignore-output"]
topics = ftlab.load_data("reviews", task="topic")["train"]
rows = [row for row in topics if len(row["text"].split()) <= 16]
vectors = ftlab.embed(model, [row["text"] for row in rows])
nearest = (vectors @ vectors.T).fill_diagonal_(-1).argmax(1)
labels = torch.tensor([row["label"] for row in rows])
shuffled = labels[torch.randperm(len(labels))]
agree = {name: (one == one[nearest]).double().mean().item() for name, one in (("true", labels), ("shuffled", shuffled))}
print({name: round(share, 2) for name, share in agree.items()}, "and by chance about", round(1 / 6, 2))
assert agree["true"] > 0.4 > 0.25 > agree["shuffled"]

# %% [markdown]
# ## Exercises
#
# ### Exercise 11.1
#
# A model for 20 classes, with equally many rows each, stands still at a certain loss from the first update on. At which,
# if it has learned nothing? (3 significant digits)

# %% tags=["solution"]
import math

nothing = math.log(20)
ftlab.check.exercise("11.1", nothing)

# %% [markdown]
# ### Exercise 11.2
#
# The sixteen-text test goes to 0. On the whole data the training loss falls from epoch to epoch; the validation loss never
# gets below log C, and the validation accuracy stays at guessing. Which of these is it: `rate`, `frozen`, `length`, `warm-up`, `labels`?

# %% tags=["solution"]
cause = "labels"
ftlab.check.exercise("11.2", cause)

# %% [markdown]
# ## Key points
#
# - Sixteen texts, ten updates: if the loss does not go to 0, look for the fault in the loop.
# - Flat at log C: rate too small, body frozen, or nothing to read. Jumps and NaN: rate too great, no warm-up, no clipping.
# - What the test cannot see is a fault in the data. Read ten rows with their labels.
# - Change one thing at a time, and keep the row of losses that you compare with.

# %% tags=["nbval-skip"]
workplace.cleanup()
