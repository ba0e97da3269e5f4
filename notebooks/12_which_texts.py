# %% [markdown]
# # 12. Which texts does it get wrong?
#
# A model can have a good accuracy on its test split and still fail on a whole kind of text. This page looks behind
# the accuracy in four ways. Then it turns to a model whose accuracy hides something worse.
#
# **When you are through** (about 30 minutes to read and work through, about 1 minute to run) you can
#
# - split an accuracy by kind of text, and compare each part with guessing and with its interval;
# - test a model on a contrast set and with behavioural checks, and read its most confident mistakes;
# - say what to do about what you find, and on which split you may look for it.
#
# You need the [quickstart](00_quickstart.ipynb).

# %% tags=["hide-input"]
import json
import re
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import binomtest

import ftlab
from ftlab import ClipNorm, Freeze
from ftlab.display.plots import BLUE, GREY, ORANGE, Picture

# %% [markdown]
# ## A model with a good accuracy
#
# The task is sentiment: is a review positive or negative? To save time we train on 500 of the reviews, and keep the
# embeddings and the three lowest layers as they were loaded.

# %% tags=["nbval-ignore-output"]
data = ftlab.load_data("reviews", task="sentiment")
rows = data["train"].shuffle(seed=0).select(range(500))
model = ftlab.load_model("minilm", data)
lower = Freeze(("*.embeddings.*", "*.layer.0.*", "*.layer.1.*", "*.layer.2.*"))
run = ftlab.finetune(
    model, {"train": rows}, epochs=3, lr=3e-4, batch_size=16, seed=0,
    recipe=[lower, ClipNorm(1.0)], progress=False,
)  # fmt: skip


def answered(run, test):
    """Return a table of test reviews and what the model says of them."""
    names = test.features["label"].names
    answers = run.predict(test["text"])
    table = pd.DataFrame()
    table["text"] = test["text"]
    table["true"] = [names[label] for label in test["label"]]
    table["said"] = [answer["label"] for answer in answers]
    table["probability"] = [answer["score"] for answer in answers]
    table["right"] = table["true"] == table["said"]
    return table


def summary(rows):
    """Return accuracy, its 95 % interval (Wilson), and what guessing would reach."""
    right, count = int(rows["right"].sum()), len(rows)
    interval = binomtest(right, count).proportion_ci(method="wilson")
    guess = rows["true"].value_counts(normalize=True).max()
    return {
        "accuracy": right / count,
        "low": interval.low,
        "high": interval.high,
        "guess": guess,
        "reviews": count,
    }


table = answered(run, data["test"])
print(pd.DataFrame([summary(table)]).round(3).to_string(index=False))

# %% tags=["hide-cell", "nbval-ignore-output"]
whole = summary(table)
assert whole["low"] > 0.75
assert whole["guess"] == 0.5

# %% [markdown]
# The column `guess` is the accuracy of always giving the more frequent label. The model is far better than that. Can you
# rely on it?
#
# ## 1. By the way an opinion is expressed
#
# Each review has a second label that the model never saw: its `phenomenon`, the way in which the opinion is expressed.
# Split the accuracy by it. Compare each part with its own guess, and look at its interval, which is wide where
# there are few reviews.

# %% tags=["nbval-ignore-output"]
phenomena = ftlab.load_data("reviews", task="phenomenon")["test"]
kinds = phenomena.features["label"].names
table["phenomenon"] = [kinds[label] for label in phenomena["label"]]
groups = pd.DataFrame(
    {kind: summary(part) for kind, part in table.groupby("phenomenon")}
)
groups = groups.T.sort_values("accuracy").astype({"reviews": int})
print(groups.round(2).to_string())

# %% tags=["hide-input", "nbval-ignore-output"]
assert list(phenomena["text"]) == list(table["text"])
assert groups.loc["plain", "low"] > groups.loc["irony", "high"]
assert groups.loc["irony", "low"] < groups.loc["irony", "guess"]
figure = Figure(figsize=(6.4, 3.2), layout="constrained", facecolor="white")
axes = figure.subplots()
places = list(range(len(groups)))
axes.hlines(places, groups["low"], groups["high"], color=BLUE, linewidth=2)
axes.plot(groups["accuracy"], places, "D", color=BLUE, label="accuracy, 95 % interval")
axes.plot(
    groups["guess"], places, "|", color=ORANGE, markersize=14, markeredgewidth=2,
    label="guessing",
)  # fmt: skip
axes.axvline(whole["accuracy"], color=GREY, linestyle=":", label="all test reviews")
axes.set(yticks=places, ylim=(-0.5, 5.5), xlim=(0.2, 1.0), xlabel="accuracy")
axes.set_yticklabels(
    [f"{kind} ({groups.loc[kind, 'reviews']})" for kind in groups.index]
)
axes.spines[["top", "right"]].set_visible(False)
figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
Picture(
    figure,
    "Plain reviews are answered far more accurately than ironic ones, on which the "
    "model is no better than guessing.",
)

# %% [markdown]
# Most reviews are plain, so the accuracy on the whole test split is mainly the accuracy on plain reviews. It hides that
# the model is no better than guessing on the ironic ones.
#
# Be careful with a row that you picked because it stands out: in any table, some row is the worst by chance. Here the
# intervals of plain and ironic reviews lie far apart, so chance is not a good explanation. Where intervals overlap, test your
# suspicion on reviews that were not in the table.
#
# ## 2. A contrast set
#
# A *contrast set* is a test set written to find out whether a model has taken a short cut, such as going by single
# words. `tricky_reviews` has the same task, labels and topics as `reviews`. But its single words mislead: a positive review
# may be full of words of complaint, and a negative one full of words of praise.

# %% tags=["nbval-ignore-output"]
tricky = answered(run, ftlab.load_data("tricky_reviews", task="sentiment")["test"])
sets = {"reviews": whole, "tricky_reviews": summary(tricky)}
print(pd.DataFrame(sets).T.astype({"reviews": int}).round(3).to_string())
print("\nTwo confident mistakes on tricky_reviews:")
mistakes = tricky[~tricky["right"]].sort_values("probability", ascending=False)
for row in mistakes.head(2).itertuples():
    print(f"{row.said} {row.probability:.2f}, but it is {row.true}:\n  {row.text}")
assert sets["tricky_reviews"]["high"] < 0.55
assert sets["tricky_reviews"]["high"] < whole["low"] - 0.2

# %% [markdown]
# The same model now does no better than tossing a coin. It has learned which words go with which label, and on
# `reviews` that is nearly always enough, because the test split was written in the same way as the training split. To
# learn what else a model can do, you need texts that were made in a different way.
#
# ## 3. Behavioural checks
#
# A third way needs no test set of your own. `check_behaviour` asks a sentiment model about sentences whose sentiment is clear
# to any reader, in the style of CheckList (Ribeiro et al. 2020). There are three kinds of checks:
#
# - *minimum*: the sentence has an obvious label ("What a lovely novel.");
# - *invariance*: a change that carries no feeling, such as a different name, must not change the label;
# - *direction*: a change of feeling must move the probability of the label positive in the right direction.

# %% tags=["nbval-ignore-output"]
behaviour = ftlab.check_behaviour(run)
print(behaviour)
minimum, low, high = behaviour.share("minimum")
print(f"\nminimum checks passed: {minimum:.2f} ({low:.2f} to {high:.2f})")
assert low > 0.7

# %% [markdown]
# Read the failures too. They are sorted by how confident the mistake is:

# %% tags=["nbval-ignore-output"]
failures = [one for one in behaviour.failures if one.kind != "direction"]
for one in failures[:6]:
    print(f"{one.kind} {one.capability}, expected {one.expected}:")
    print(f"  {one.positive:.2f} {one.text}")
    if one.changed:
        print(f"  {one.positive_changed:.2f} {one.changed}")
assert abs(failures[0].positive - 0.5) > 0.2

# %% [markdown]
# The number before a sentence is the probability of the label positive. Six failures are enough to form a suspicion,
# and far too few to confirm it. The intervals in the table tell you how much each share can be trusted.
#
# ## 4. Two texts that differ in one word
#
# You can also write checks yourself. A `not` reverses the meaning of each of these sentences. Does the answer reverse too?
# You know what the sentences mean, so you need no labels.

# %% tags=["nbval-ignore-output"]
PRAISE = [
    "The soup was good.",
    "I would stay here again.",
    "The room was clean.",
    "It is worth the money.",
]
DENIED = [
    "The soup was not good.",
    "I would not stay here again.",
    "The room was not clean.",
    "It is not worth the money.",
]
found = run.predict(PRAISE + DENIED)
positive = [answer["probabilities"]["positive"] for answer in found]
pairs = pd.DataFrame({"praise": PRAISE, "p": positive[:4], "p with not": positive[4:]})
print(pairs.round(2).to_string(index=False))
assert pairs["p"].mean() > pairs["p with not"].mean() + 0.3

# %% [markdown]
# ## A model that is wrong about the plainest sentences
#
# The reverse happens as well. A model can do well on difficult reviews and fail at plain ones. The table shows three models,
# each trained on all rows of one set: `reviews`, `tricky_reviews`, and SST-2, a public set of sentences from film reviews.
# This takes too long for a page, so it was recorded once with `python -m benchmarks.behaviour --sst2 DIR`. SST-2 is not part
# of ftlab: `DIR` is the folder that holds it.

# %% tags=["hide-input"]
record = Path("../benchmarks/results/behaviour.json")
SETS = {"reviews": "reviews", "tricky_reviews": "tricky_reviews", "sst2": "SST-2"}


def interval(found):
    """Return a share with its interval as text."""
    share, low, high, _ = found
    return f"{share:.2f} ({low:.2f}–{high:.2f})"


if record.exists():
    kept = json.loads(record.read_text(encoding="utf-8"))
    models = kept["models"]
    shown = {}
    for name, one in models.items():
        column = {"rows trained on": str(one["train_rows"])}
        for other, found in one["accuracy"].items():
            column[f"accuracy on {SETS[other]}"] = interval(found)
        for kind in ("plain", "irony"):
            share = interval(one["by_phenomenon"]["reviews"][kind])
            column[f"accuracy on reviews, {kind}"] = share
        for kind in ("minimum", "invariance", "direction"):
            column[f"{kind} checks passed"] = interval(one["behaviour"][kind])
        for text, probability in one["positive"].items():
            column[f'p "{text}"'] = f"{probability:.2f}"
        shown[SETS[name]] = column
    print("A column for each model, named after the set that it was trained on.")
    print("Shares with 95 % intervals; p is the probability of positive.\n")
    print(pd.DataFrame(shown).to_string())
    print(f"\nSettings: {kept['settings']}")
else:
    print("The record is not here: it is in the repository, not in the package.")

# %% tags=["hide-cell"]
if record.exists():
    plain, odd = models["reviews"], models["tricky_reviews"]
    assert plain["accuracy"]["reviews"][1] > 0.85
    assert odd["accuracy"]["tricky_reviews"][1] > 0.65
    assert odd["positive"]["Terrible food."] > 0.5 > plain["positive"]["Terrible food."]
    public = models["sst2"]
    assert public["accuracy"]["reviews"][1] > 0.8
    assert plain["accuracy"]["sst2"][1] > 0.75
    assert odd["accuracy"]["sst2"][2] < 0.45
    assert odd["accuracy"]["reviews"][2] < 0.5
    assert public["accuracy"]["tricky_reviews"][1] < 0.5
    assert plain["accuracy"]["tricky_reviews"][1] < 0.5

# %% [markdown]
# Look at the column `tricky_reviews`. On its own test split, this model is well above guessing. Yet it calls "Terrible
# food." positive and "I loved it." negative. On `reviews` a coin would do better, and the model fails most of the
# direction checks. Its own test split cannot show this, because that split was written in the same way as its training
# rows.
#
# Now compare the columns `reviews` and SST-2. Other people wrote SST-2, years earlier and about films only. Still, the model
# trained on one set does well on the other, because words mean the same in both. A test set from another source is the
# best check that a model has learned the task and not the habits of one set. On `tricky_reviews`, where words mislead on
# purpose, neither of them beats a coin.
#
# What has it learned? Count words of praise and words of complaint in the training rows:

# %%
WORDS = {
    "praise": "loved love wonderful excellent great good perfect recommend lovely best",
    "complaint": "terrible awful worst boring hate hated dull poor bad",
}
for name in ("reviews", "tricky_reviews"):
    train = ftlab.load_data(name, task="sentiment")["train"]
    positive = train.features["label"].names.index("positive")
    for kind, words in WORDS.items():
        pattern = rf"\b({words.replace(' ', '|')})\b"
        labels = [
            row["label"] for row in train if re.search(pattern, row["text"], re.I)
        ]
        share = labels.count(positive) / len(labels)
        print(
            f"{name:15} {len(labels):3} rows with a word of {kind:10}"
            f" {share:4.0%} of them positive"
        )
        assert (share > 0.5) == ((kind == "praise") == (name == "reviews"))

# %% [markdown]
# In `tricky_reviews`, most rows with a word of praise are negative, and most rows with a word of complaint are positive. The
# model learned what its rows taught. Look at your training rows in this way before you blame the model.
#
# ## What to do about it
#
# **Use the probabilities.** Let the model answer where it is confident, and give the rest to a person. First check that its
# confident answers are better than the others:

# %% tags=["nbval-ignore-output"]
half_of = {}
for name, rows in (("reviews", table), ("tricky_reviews", tricky)):
    confident = rows["probability"] >= rows["probability"].median()
    for half, part in (("more", rows[confident]), ("less", rows[~confident])):
        half_of[name, half] = one = summary(part)
        print(
            f"{name:15} {half} confident half: accuracy {one['accuracy']:.2f}"
            f" ({one['low']:.2f} to {one['high']:.2f})"
        )
assert half_of["reviews", "more"]["low"] > half_of["reviews", "less"]["high"]
assert half_of["tricky_reviews", "more"]["high"] < 0.55

# %% [markdown]
# On `reviews` this works: the more confident half is almost always right. On the contrast set it does not work: the model is
# just as wrong where it is confident. You can trust a probability only on texts like those on which you checked it.
#
# **Write what is missing.** If the model fails on negations, write pairs such as those above. Train on some pairs and keep
# others to measure with. Mix them with the old rows, and measure the old test split again, because what helps in one
# place can hurt in another.
#
# **Look for faults on validation, report on test.** We looked at the test split here only because we change nothing
# afterwards. If you intend to act on what you see, use the validation split. Once you
# act on what you read in a test set, it no longer shows how the model does on texts that nobody has looked at: it is used up.
#
# ## Exercises
#
# ### Exercise 12.1
#
# In a group of 40 reviews, 30 are answered correctly. By the normal approximation, the 95 % interval reaches
# $1.96\sqrt{p(1-p)/n}$ to each side of the accuracy. How much is that? (2 significant digits)

# %% tags=["solution"]
import math

side = 1.96 * math.sqrt(0.75 * 0.25 / 40)
ftlab.check.exercise("12.1", side)

# %% [markdown]
# ### Exercise 12.2
#
# You want to read wrong answers, write new rows to correct them, and train again, three times over. On which split do you
# read them: `train`, `validation` or `test`?

# %% tags=["solution"]
split = "validation"
ftlab.check.exercise("12.2", split)

# %% [markdown]
# ## Key points
#
# - Split an accuracy by something that the model was not trained on. Compare each part with guessing, and look at its interval.
# - A test split asks only for what the training split taught. A contrast set and behavioural checks ask for more.
# - A good accuracy on one set says little about another set, in either direction. Type in some plain sentences yourself.
# - Read the most confident mistakes: they show wrong labels and short cuts.
# - Once you act on what you have read in a split, that split is used up.
