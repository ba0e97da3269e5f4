# %% [markdown]
# # 12. Which texts does it get wrong?
#
# One accuracy hides where a model errs. This page looks behind it: by the manner of speaking, at the surest wrong answers,
# and at two texts that differ in a single word.
#
# **When you are through** (about 5 minutes to read, under 1 to run) you can
#
# - group errors by another label, and hold each group against guessing and against its interval;
# - find the wrong answers of which the model is surest, and test what it makes of a negation;
# - say what to do about it, and on which split you may look for it.
#
# You need the [quickstart](00_quickstart.ipynb).

# %% tags=["nbval-skip"]
import subprocess
import sys

if "google.colab" in sys.modules:  # on Colab: install your copy of the repository; its torch stays
    REPOSITORY = ""  # the address of your copy, as in https://github.com/you/ftlab
    assert REPOSITORY, "Write the address of your copy of the repository into REPOSITORY, then run this cell again."
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"ftlab[embedded] @ git+{REPOSITORY}"], check=True)

# %%
import re

import pandas as pd
import transformers
from matplotlib.figure import Figure
from scipy.stats import binomtest

import ftlab
from ftlab import ClipNorm, Freeze
from ftlab.plots import BLUE, ORANGE, Picture

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# %% [markdown]
# ## A model to look at
#
# Positive or negative? All 1,104 training reviews, once. To be quick, the embeddings and the two lowest layers stay as
# they were loaded.

# %% tags=["nbval-ignore-output"]
data = ftlab.load_data("reviews", task="sentiment")
test, names = data["test"], data["test"].features["label"].names
model = ftlab.load_model("minilm", data)
lower = Freeze(("*.embeddings.*", "*.layer.0.*", "*.layer.1.*"))
run = ftlab.finetune(
    model, {"train": data["train"]}, epochs=1, lr=3e-4, seed=0, recipe=[lower, ClipNorm(1.0)], progress=False
)
answers = run.predict(test["text"])
table = pd.DataFrame({
    "text": test["text"],
    "true": [names[label] for label in test["label"]],
    "said": [answer["label"] for answer in answers],
    "probability": [answer["score"] for answer in answers],
})  # fmt: skip
table["right"] = table["true"] == table["said"]
print(f"{len(table)} test reviews, accuracy {table['right'].mean():.3f}")
assert table["right"].mean() > 0.6

# %% [markdown]
# ## By the manner of speaking
#
# Each review carries a second label, its `phenomenon`, which the model never saw. A group has to be held against two
# things: what guessing gives (the share of its commoner label, in the column `guess`), and the 95 % interval, which is
# wide where the group is small.

# %% tags=["nbval-ignore-output"]
phenomena = ftlab.load_data("reviews", task="phenomenon")["test"]
assert list(phenomena["text"]) == list(test["text"])
table["phenomenon"] = [phenomena.features["label"].int2str(label) for label in phenomena["label"]]


def of_group(rows):
    low, high = binomtest(int(rows["right"].sum()), len(rows)).proportion_ci(method="wilson")
    guess = rows["true"].value_counts(normalize=True).max()
    return {"reviews": len(rows), "guess": guess, "accuracy": rows["right"].mean(), "low": low, "high": high}


groups = pd.DataFrame({kind: of_group(rows) for kind, rows in table.groupby("phenomenon")}).T.sort_values("accuracy")
print(groups.astype({"reviews": int}).round(2).to_string())
assert groups["reviews"].sum() == 600
assert groups.loc["plain", "accuracy"] < groups.loc["irony", "accuracy"]

# %% tags=["nbval-ignore-output"]
figure = Figure(figsize=(6.4, 3), layout="constrained", facecolor="white")
axes = figure.subplots()
places = list(range(len(groups)))
axes.hlines(places, groups["low"], groups["high"], color=BLUE, linewidth=2, label="95 % interval")
axes.plot(groups["accuracy"], places, "D", color=BLUE, label="accuracy")
axes.plot(groups["guess"], places, "|", color=ORANGE, markersize=14, markeredgewidth=2, label="guessing")
axes.set(yticks=places, ylim=(-0.5, 5.5), xlim=(0.4, 1.0), xlabel="accuracy on the test reviews of this kind")
axes.set_yticklabels(list(groups.index))
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, fontsize="small", loc="lower right")
assert groups.loc["plain", "accuracy"] < 0.75
assert groups.loc["irony", "guess"] > 0.65
assert (table.loc[table["phenomenon"] == "irony", "true"] == "negative").mean() > 0.65
Picture(
    figure,
    "Ironic reviews are answered right more often than plain ones, but two thirds of them are negative, so guessing is "
    "right more often there too; the intervals of most kinds overlap.",
)

# %% [markdown]
# Two surprises, and a warning for each.
#
# - **Irony looks easy.** But about two thirds of the ironic reviews are negative, and whoever always says "negative" is right
#   on them without having understood a thing. Compare each accuracy with its guess, not with its neighbour.
# - **Plain speech looks hard.** Is it? You have just picked a row because it stands out, and in any table some row does.
#   A guess that comes from a table has to be tested on reviews that did not make the table.
#
# ## The surest wrong answers
#
# Sort the wrong answers by the probability that the model gave them, and read. Is the label wrong, or the model? What do
# the texts share? Five are enough to have an idea, and far too few to be right about it.

# %% tags=["nbval-ignore-output"]
surest = table[~table["right"]].sort_values("probability", ascending=False).head(5)
for row in surest.itertuples():
    print(f"{row.probability:.2f} {row.said}, but it is {row.true} ({row.phenomenon})\n     {row.text}")
assert surest["probability"].min() > table["probability"].mean()

# %% [markdown]
# ## Two texts that differ in one word
#
# A `not` turns the verdict round. Does the model's answer turn with it? You know what these sentences mean, so you need no
# labels.

# %% tags=["nbval-ignore-output"]
PRAISE = ["The soup was good.", "I would stay here again.", "The room was clean.", "It is worth the money."]
DENIED = [
    "The soup was not good.",
    "I would not stay here again.",
    "The room was not clean.",
    "It is not worth the money.",
]
positive = [answer["probabilities"]["positive"] for answer in run.predict(PRAISE + DENIED)]
pairs = pd.DataFrame({"praise": PRAISE, "positive": positive[:4], "with not": positive[4:]})
print(pairs.round(2).to_string(index=False))
mean, denied = pairs["positive"].mean(), pairs["with not"].mean()
print(f"mean probability of positive: {mean:.2f}, and {denied:.2f} with a not in it")
assert mean < 0.6
assert denied > mean - 0.2

# %% [markdown]
# It calls plain praise negative, and a `not` does not turn its answer round; look at which way it moved. The accuracy above
# did not tell you that. A look at the training reviews makes it less of a riddle:

# %%
for word in ("good", "not"):
    rows = [row for row in data["train"] if re.search(rf"\b{word}\b", row["text"], re.IGNORECASE)]
    share = sum(names[row["label"]] == "positive" for row in rows) / len(rows)
    print(f"{len(rows):3} training reviews hold the word {word!r}; {share:.0%} of them are positive")
    assert (share < 0.5) == (word == "good")

# %% [markdown]
# These reviews were written so that single words mislead, and such plain praise is rare among them. After a
# single pass the model has learned some words, and not yet what they do to each other.
#
# ## What to do about it
#
# **Use the probabilities.** Let the model answer where it is sure, and give the rest to somebody who reads. Are the surer
# answers the better ones?

# %% tags=["nbval-ignore-output"]
sure = table["probability"] >= table["probability"].median()
for name, half in (("surer half", table[sure]), ("other half", table[~sure])):
    group = of_group(half)
    print(f"{name}: accuracy {group['accuracy']:.2f} ({group['low']:.2f} to {group['high']:.2f})")
assert table[sure]["right"].mean() > table[~sure]["right"].mean() + 0.05

# %% [markdown]
# **Write what is missing.** If negations go wrong, write pairs such as those above, train on both halves of some, and keep
# others aside to measure with. Mix them with the old rows, and measure the old test reviews again: what helps the one can
# harm the other.
#
# **Look for faults on validation, report on test.** Each time you mend what a split has shown you, it knows you a little
# better. Keep the test split for the last line of your report. This page looked at test because nothing is mended here, and
# 600 reviews give narrower intervals than the 216 of validation. Once you want to act on what you read, read validation, and
# count a test split that you have read as used up.
#
# ## Exercises
#
# ### Exercise 12.1
#
# A group has 40 reviews, of which 30 are right. How wide is the 95 % interval to each side, by the normal approximation
# $1.96\sqrt{p(1-p)/n}$? (2 significant digits)

# %% tags=["solution"]
import math

side = 1.96 * math.sqrt(0.75 * 0.25 / 40)
ftlab.check.exercise("12.1", side)

# %% [markdown]
# ### Exercise 12.2
#
# You want to read wrong answers, write new rows against them, and train again, three times. On which split do you read:
# `train`, `validation` or `test`?

# %% tags=["solution"]
split = "validation"
ftlab.check.exercise("12.2", split)

# %% [markdown]
# ## Key points
#
# - Group the errors by something the model was not trained on. Hold each group against guessing and its interval.
# - Read the surest wrong answers. They show wrong labels, and what the model took for a sign.
# - A pair of texts that differ in one word asks a question that no accuracy answers.
# - What you pick from a table is a guess. Test it on rows that did not make the table.
