# %% [markdown]
# # 1. Cross-entropy
#
# Training changes a model in whatever way lowers its loss, so it pays to know what the loss measures. This chapter
# explains cross-entropy, the usual loss for classification, term by term.
#
# **When you are through** (about 60 minutes to read and work through, about 2 minutes to run) you can
#
# - work out a cross-entropy and its gradient on paper, and say what a loss of 0.69 means;
# - compute it without overflow, and average it so that every sample counts once;
# - recognise overfitting and over-confidence in the curves of a training run;
# - say what the *power* of a comparison is, and how many runs a small difference needs.
#
# You need the [quickstart](00_quickstart.ipynb), and you should know what a logarithm and a derivative are.
#
# **Formulas:** `cross_entropy`, `mean_squared_error`, `binary_cross_entropy`, `focal`, `r_drop`, `smart`, `free_lb`, `distill`, `contrastive`

# %%
import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from datasets import DatasetDict
from matplotlib.figure import Figure
from sklearn.metrics import log_loss

import ftlab
from ftlab import CrossEntropy, GradientRule, explore, slider
from ftlab.display.plots import BLUE, GREY, ORANGE, Picture
from ftlab.experiments.paired import minimum_detectable_effect
from ftlab.formulas.cross_entropy import cross_entropy

# %% [markdown]
# ## Why
#
# You want a model that is right more often. So why not maximise the accuracy itself? Take four samples and two classes.
# The model answers the third sample wrongly. We raise the score of class 1 a little and watch both measures.

# %%
scores = torch.tensor([[2, 0], [0, 0.4], [0.6, 0], [0, 2]], dtype=torch.float64)
classes = torch.tensor([0, 1, 1, 1])


def raised(by):
    """Return accuracy and cross-entropy after raising the score of class 1."""
    logits = scores + torch.tensor([0, by], dtype=torch.float64)
    accuracy = (logits.argmax(1) == classes).double().mean().item()
    return accuracy, cross_entropy(logits, classes).item()


for by in (0.0, 0.001, 0.25, 1.0):
    accuracy, loss = raised(by)
    print(f"raised by {by:5.3f}: accuracy {accuracy:.2f}, cross-entropy {loss:.4f}")

# %% tags=["hide-input"]
steps = [place / 50 for place in range(-100, 151)]
lowest = min(steps, key=lambda by: raised(by)[1])
figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
axes = figure.subplots()
wrong_share = [1 - raised(by)[0] for by in steps]
axes.plot(
    steps, wrong_share, color=ORANGE, linestyle="--", label="share of wrong answers"
)
axes.plot(steps, [raised(by)[1] for by in steps], color=BLUE, label="cross-entropy")
axes.set(xlabel="score of class 1 raised by", ylim=(0, None))
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
assert raised(0.001)[0] == raised(0.0)[0]
assert raised(0.001)[1] < raised(0.0)[1]
assert raised(lowest)[0] == 1.0
Picture(
    figure,
    "The share of wrong answers is a staircase, flat between its jumps; "
    "cross-entropy is a smooth curve that is lowest where class 1 is raised by "
    f"{lowest:.2f}.",
)

# %% [markdown]
# Accuracy is a staircase. Between two jumps its slope is 0, so it cannot tell the training which way to move the
# parameters. Cross-entropy responds to the smallest change, and here it is lowest where all four answers are right.
#
# ## The formula

# %%
ftlab.formula(cross_entropy)

# %% [markdown]
# Read it from the inside out. The softmax turns the model's scores, the logits $z$, into probabilities $\hat{y}$ that
# sum to 1. The label $y$ is 1 in the column of the true class and 0 elsewhere, so only one term of the sum over
# classes is left: $-\log$ of the probability that the model gave to the true class. The sum over samples, divided by
# $N$, is a mean.
#
# Three cases are worth remembering.

# %%


def alone(*logits):
    """Return the loss of one sample whose true class is the first."""
    row = torch.tensor([logits], dtype=torch.float64)
    return cross_entropy(row, torch.tensor([0])).item()


print(f"confident and correct, margin 20:  {alone(20, 0):8.4f}")
for count in (2, 3, 10):
    equal = alone(*[0] * count)
    print(f"no idea, {count:2} classes:              {equal:8.4f} = log {count}")
for margin in (1, 10, 100):
    print(f"confident and wrong, margin {margin:3}:  {alone(0, margin):10.4f}")

# %% tags=["hide-cell"]
assert alone(20, 0) < 1e-8
assert all(math.isclose(alone(*[0] * n), math.log(n)) for n in (2, 3, 10))
assert abs(alone(0, 1000) - 1000) < 1e-9

# %% [markdown]
# - **Confident and correct:** the loss approaches 0. It is never negative.
# - **No idea:** equal scores for $C$ classes cost $\log C$. With two classes that is 0.69, the loss of a coin flip.
# - **Confident and wrong:** the loss has no upper bound. If the wrong class leads by a large margin, the loss is about
#   as large as the margin.
#
# ## By hand
#
# Take three samples that all belong to class 0. The model gives that class probability $\frac34$, $\frac12$ and
# $\frac14$. On paper the losses are $\log\frac43$, $\log 2$ and $\log 4$, and their mean is $\frac13\log\frac{32}{3}$.

# %%
probabilities = torch.tensor([[3, 1], [2, 2], [1, 3]], dtype=torch.float64) / 4
logits = probabilities.log()  # the softmax of these logits is the probabilities again
labels = torch.tensor([0, 0, 0])

on_paper = [math.log(4 / 3), math.log(2), math.log(4)]
for row, expected in zip(logits, on_paper, strict=True):
    found = cross_entropy(row[None], labels[:1]).item()
    print(f"on paper {expected:.4f}, function {found:.4f}")
mean = cross_entropy(logits, labels).item()
print(f"mean:    {math.log(32 / 3) / 3:.4f}, function {mean:.4f}")

# %% tags=["hide-cell"]
each = [cross_entropy(row[None], labels[:1]).item() for row in logits]
assert all(map(math.isclose, each, on_paper))
assert math.isclose(mean, math.log(32 / 3) / 3)

# %% [markdown]
# Training needs the gradient. If you differentiate $-\log\hat{y}$ of the true class with respect to the logits, the
# exponentials cancel. What is left is **what the model said minus what was true**. With $N$ samples in the mean the
# gradient is $(\hat{y}-y)/N$. For the first sample that is $(\frac34-1,\ \frac14-0)/3$. Autograd, torch's automatic
# differentiation, does not know this shortcut. Does it agree?

# %%
logits.requires_grad_()
(by_autograd,) = torch.autograd.grad(cross_entropy(logits, labels), logits)
by_hand = torch.tensor([[-1, 1], [-2, 2], [-3, 3]], dtype=torch.float64) / 4 / 3
for one, other in zip(by_hand.tolist(), by_autograd.tolist(), strict=True):
    print(f"on paper ({one[0]:+.4f}, {one[1]:+.4f}),", end=" ")
    print(f"autograd ({other[0]:+.4f}, {other[1]:+.4f})")

# %% tags=["hide-cell"]
assert torch.allclose(by_autograd, by_hand, rtol=0, atol=1e-12)

# %% [markdown]
# Each row sums to 0: what the true class gains, the other classes lose. And although the loss of one sample has no
# upper bound, its gradient does: no entry is larger than $1/N$.
#
# ## Against torch
#
# We repeat the comparison with 64 samples and 5 classes, against torch, scikit-learn and autograd. Class weights and
# label smoothing are explained below.

# %%
chance = torch.Generator().manual_seed(0)
logits = 3 * torch.randn(64, 5, dtype=torch.float64, generator=chance)
logits.requires_grad_()
labels = torch.randint(5, (64,), generator=chance)
weight = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0], dtype=torch.float64)

loss = cross_entropy(logits, labels)
both = cross_entropy(logits, labels, weight=weight, smoothing=0.1)
doubled = cross_entropy(logits, labels, weight=2 * weight, smoothing=0.1)
(gradient,) = torch.autograd.grad(loss, logits)
probabilities = logits.detach().softmax(1)
apart = {
    "loss, torch": loss - F.cross_entropy(logits, labels),
    "loss, scikit-learn": loss - log_loss(labels, probabilities.numpy()),
    "with weights and smoothing, torch": both
    - F.cross_entropy(logits, labels, weight=weight, label_smoothing=0.1),
    "gradient, (ŷ - y)/N": gradient - (probabilities - F.one_hot(labels, 5)) / 64,
    "all logits raised by 7": loss - cross_entropy(logits + 7, labels),
    "all class weights doubled": both - doubled,
}
print("compared with                       largest difference, to 6 places")
for name, difference in apart.items():
    print(f"{name:36}{difference.abs().max().item():.6f}")

# %% tags=["hide-cell"]
assert all(difference.abs().max().item() < 1e-9 for difference in apart.values())

# %% [markdown]
# ### Why logits and not probabilities
#
# The function takes logits. On paper you could also compute the softmax first and its logarithm afterwards. But
# floating-point numbers have a limited range: in single precision $e^{120}$ overflows to infinity and $e^{-120}$
# underflows to 0.
#
# Here the model is confident and wrong by a growing margin. The loss should equal the margin, and the gradient of the
# true class's logit should be -1.

# %%


def divided(logits):
    """Exponentials, divided by their sum, then the logarithm."""
    return -(logits.exp() / logits.exp().sum(1, keepdim=True)).log()[0, 0]


def two_steps(logits):
    """torch's softmax, which never overflows, then the logarithm."""
    return -logits.softmax(1).log()[0, 0]


def one_step(logits):
    """What ftlab and torch do: softmax and logarithm in one formula."""
    return cross_entropy(logits, torch.tensor([0]))


print("margin   e^z divided      softmax, then log   from logits")
for margin in (10.0, 80.0, 120.0, 400.0):
    cells = []
    for way in (divided, two_steps, one_step):
        row = torch.tensor([[0.0, margin]], requires_grad=True)
        value = way(row)
        (slope,) = torch.autograd.grad(value, row)
        cells.append(f"{value.item():5.0f}, slope {slope[0, 0].item():3.0f}")
    print(f"{margin:6.0f}   {'   '.join(cells)}")

# %% tags=["hide-cell"]
row = torch.tensor([[0.0, 400.0]])
assert math.isinf(divided(row))
assert math.isinf(two_steps(row))
assert one_step(row) == 400

# %% [markdown]
# One `inf` makes the mean infinite, and one `nan` in the gradient turns every weight into `nan`. The remedy is to
# work with logarithms throughout: $\log\hat{y}_c = z_c - \log\sum_k e^{z_k}$, with the largest logit subtracted from
# all of them first.
#
# ### The mean over samples, not over batches
#
# A training loop gives you one loss per batch. Here are five samples in a batch of four and a batch of one.

# %%
losses = F.cross_entropy(logits, labels, reduction="none").detach()[:5]
batches = [losses[:4], losses[4:]]
over_samples = losses.mean().item()
of_means = sum(batch.mean().item() for batch in batches) / len(batches)
weighted = sum(batch.mean().item() * len(batch) for batch in batches) / len(losses)
print("the five losses:        ", [round(value, 2) for value in losses.tolist()])
print(f"mean over samples:       {over_samples:.4f}")
print(f"mean of the batch means: {of_means:.4f}")
print(f"weighted by batch size:  {weighted:.4f}")

# %% tags=["hide-cell"]
assert math.isclose(weighted, over_samples)
assert abs(of_means - over_samples) > 0.1

# %% [markdown]
# In the mean of the batch means, the fifth sample counts as much as the other four together. Weight each batch by its
# size, and it no longer matters how the samples are split into batches.
#
# ### Class weights
#
# If one class is rare, you can make its samples count more. The loss is then a weighted mean, divided by the sum of the
# weights instead of $N$. So doubling all weights changes nothing, as the last row of the comparison shows.
#
# ### Label smoothing
#
# Smoothing $s$ moves a little of the label to the other classes: the true class gets $1-s+\frac{s}{C}$ instead of 1.
# The loss is then lowest at a finite margin, and beyond it the loss rises again.

# %%


def smoothed(margin):
    """Return the loss with smoothing 0.1 of a sample that is right by a margin."""
    row = torch.tensor([[margin, 0.0]], dtype=torch.float64)
    return cross_entropy(row, torch.tensor([0]), smoothing=0.1).item()


best = math.log(0.95 / 0.05)
for margin in (0.0, 1.0, best, 6.0, 12.0):
    plain = alone(margin, 0)
    print(f"right by {margin:5.2f}: plain {plain:.4f}, smoothed {smoothed(margin):.4f}")

# %% tags=["hide-cell"]
assert smoothed(best) < min(smoothed(best - 0.01), smoothed(best + 0.01))

# %% [markdown]
# So smoothing keeps the logits from growing without limit. A smoothed loss does not go to 0; never compare it with a
# plain one.
#
# ## Explore
#
# One sample, three classes; class 0 is the true one. Move the logits and watch the probabilities, the loss and the
# gradient. In a running notebook, also raise all three logits by the same amount.

# %% tags=["hide-input"]


def draw(z0, z1, z2):
    """Probabilities on the left, the loss as a point of -log p on the right."""
    row = torch.tensor([[z0, z1, z2]], dtype=torch.float64)
    chances = row.softmax(1)[0].tolist()
    price = cross_entropy(row, torch.tensor([0])).item()
    slopes = ", ".join(
        f"{one - (place == 0):+.2f}" for place, one in enumerate(chances)
    )
    figure = Figure(figsize=(6, 3), facecolor="white")
    figure.subplots_adjust(left=0.08, right=0.97, bottom=0.18, top=0.89, wspace=0.25)
    left, right = figure.subplots(1, 2)
    bars = left.bar(["0 (true)", "1", "2"], chances, color=[BLUE, GREY, GREY])
    left.bar_label(bars, [f"{one:.2f}" for one in chances])
    left.set(title="probability", xlabel="class", ylim=(0, 1.15))
    places = torch.linspace(0.002, 1, 200)
    right.plot(places, -places.log(), color=GREY)
    right.axhline(0.1, color=ORANGE, linestyle="--", label="the goal, 0.1")
    here = ([max(chances[0], 0.002)], [min(price, 6.2)])
    right.plot(*here, "o", color=BLUE, markersize=9, clip_on=False)
    right.set(title="loss = -log p", xlabel="p of the true class", ylim=(0, 6.4))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    said = (
        f"The true class gets {chances[0]:.3f}, the loss is {price:.3f}, "
        f"the gradient is ({slopes})."
    )
    return figure, f"{said} {'Goal reached.' if price < 0.1 else 'Not there yet.'}"


scale = [-6, -3, -2, -1, 0, 1, 2, 3, 6]
explore(
    draw,
    goal="bring the loss below 0.1",
    z0=slider(scale, start=0),
    z1=slider(scale, start=0),
    z2=slider(scale, start=0),
)

# %% [markdown]
# Lowering one wrong class is not enough: the other keeps as much probability as the true one. Near the goal the
# gradient is small, so the last hundredths of a loss take many steps.
#
# ## On the real model
#
# We fine-tune the embedded MiniLM on 160 reviews for eight epochs. The validation reviews are *held out*: the model
# never trains on them. To keep the run short, we take only reviews of at most twelve words, and we freeze the
# embeddings and the lower three of the six layers: they stay as they were pretrained.


# %%
def short(rows, count=None):
    """Return the first rows whose text has at most twelve words."""
    places = [i for i, text in enumerate(rows["text"]) if len(text.split()) <= 12]
    return rows.select(places[:count])


data = ftlab.load_data("reviews", task="sentiment")
few = DatasetDict({"train": short(data["train"], 160)})
held = short(data["validation"])
texts, truth = list(held["text"]), torch.tensor(held["label"])
model = ftlab.load_model("minilm", few)
names = model.task.names
print(f"{len(few['train'])} reviews to train on, {len(texts)} held out")
print(f"share of positive reviews among the held-out ones: {truth.double().mean():.2f}")

# %% [markdown]
# `finetune` lets you replace the function that makes one update. Ours makes the usual update and, at the end of each
# epoch, stores the probabilities that the model gives to the held-out reviews.

# %%
EPOCHS = 8
half_frozen = [ftlab.Freeze("*.embeddings.*"), ftlab.Freeze("*.layer.[0-2].*")]
recipe = [*half_frozen, ftlab.ClipNorm(1.0)]


def watch(loss):
    """Fine-tune; return training losses and held-out log-probabilities by epoch."""
    said = []

    def update(state, batch):
        record = ftlab.step(state, batch)  # the usual update
        if state.step % state.steps_per_epoch == 0:  # an epoch is over
            answers = ftlab.predict(replace(model, net=state.model), texts)
            rows = [[one["probabilities"][name] for name in names] for one in answers]
            said.append(torch.tensor(rows, dtype=torch.float64).log())
        return record

    how = {"epochs": EPOCHS, "batch_size": 16, "lr": 3e-4, "progress": False}
    run = ftlab.finetune(model, few, loss=loss, recipe=recipe, step=update, **how)
    losses = torch.tensor([record["loss"] for record in run.history])
    return losses.view(EPOCHS, -1), torch.stack(said)


# %% tags=["nbval-ignore-output"]
training, said = watch(CrossEntropy())

correct = said.argmax(2) == truth  # one row per epoch, one column per text
costs = torch.stack([F.nll_loss(one, truth, reduction="none") for one in said])
confidence = said.exp().amax(2)  # the probability of the answer that was given
held_out, accuracy = costs.mean(1), correct.double().mean(1)
when_wrong = torch.stack(
    [c[~right].mean() for c, right in zip(confidence, correct, strict=True)]
)

print(f"loss of the first batch: {training[0, 0]:.3f} (log 2 is {math.log(2):.3f})\n")
print("epoch   training loss   held-out loss   held-out accuracy")
for epoch in range(EPOCHS):
    print(
        f"{epoch + 1:5}{training[epoch].mean():16.3f}"
        f"{held_out[epoch]:16.3f}{accuracy[epoch]:20.3f}"
    )

# %% tags=["hide-input", "nbval-ignore-output"]
best_epoch = held_out.argmin().item()
epochs = range(1, EPOCHS + 1)
figure = Figure(figsize=(7, 3), layout="constrained", facecolor="white")
left, right = figure.subplots(1, 2)
left.plot(epochs, training.mean(1), "o-", color=BLUE, label="training")
left.plot(epochs, held_out, "s--", color=ORANGE, label="held out")
left.axhline(math.log(2), color=GREY, linestyle=":", label="log 2, a coin")
left.set(title="cross-entropy", xlabel="epoch", ylim=(0, None))
right.plot(epochs, accuracy, "s--", color=ORANGE, label="accuracy")
right.plot(epochs, when_wrong, "^:", color=GREY, label="confidence when wrong")
right.set(title="held out", xlabel="epoch", ylim=(0.4, 1.02))
for axes in (left, right):
    axes.legend(frameon=False, fontsize="small", loc="center right")
    axes.spines[["top", "right"]].set_visible(False)
assert abs(training[0, 0] - math.log(2)) < 0.05
assert training[-1].mean() < 0.05
assert 0 < best_epoch < EPOCHS - 1
assert held_out[-1] > held_out[best_epoch] + 0.1
assert when_wrong[-1] > when_wrong[best_epoch] + 0.05
Picture(
    figure,
    "The training loss falls to almost 0. The held-out loss falls at first and then "
    "rises again, while the held-out accuracy stays high and the confidence of the "
    "wrong answers grows.",
)

# %% [markdown]
# The first loss is about $\log 2$, because a new classification head has no idea. **Check this at the start of every
# training.** A first loss far above $\log C$ means that something is wrong before the first update.
#
# Then compare the two losses. The training loss falls to almost 0. The held-out loss falls at first and then rises.
# This is **overfitting**: the model still gets better on its training samples, but no longer on new ones. The usual
# remedies are more data, fewer epochs, or *early stopping*: keep the model of the epoch with the lowest held-out loss.
#
# Would stopping early have given better answers here? Ask the accuracy.

# %% tags=["nbval-ignore-output"]
moved = correct[-1].double() - correct[best_epoch].double()  # -1, 0 or 1 per text
half = 1.96 * moved.std().item() / math.sqrt(len(moved))
change, final = moved.mean().item(), accuracy[-1].item()
margin = 1.96 * math.sqrt(final * (1 - final) / len(texts))
print(f"                          epoch {best_epoch + 1}   epoch {EPOCHS}")
for what, values in {
    "held-out loss": held_out,
    "held-out accuracy": accuracy,
    "confidence when wrong": when_wrong,
}.items():
    print(f"{what:22}{values[best_epoch]:11.3f}{values[-1]:10.3f}")
print("\nwith 95 % intervals:")
print(f"last accuracy {final:.3f} ({final - margin:.3f} to {final + margin:.3f})")
print(f"its change {change:+.3f} ({change - half:+.3f} to {change + half:+.3f})")
assert final - margin > 0.6
assert change + half > 0  # the accuracy is not clearly lower

# %% [markdown]
# Judged by the held-out loss, the model got much worse. Judged by the accuracy, it hardly changed: the interval of
# the change contains 0. Both are true, and the third row explains how. There are about as many wrong answers as
# before, but they are more *confident*, and a confident wrong answer is expensive.
#
# ## Where it hurts
#
# The *confidence* of an answer is the probability that the model gives to it. Of all answers with a confidence of 0.9,
# nine in ten should be right. A model whose confidence is higher than its accuracy is **over-confident**.

# %% tags=["nbval-ignore-output"]
tenth = len(texts) // 10
dearest = costs[-1].sort(descending=True).values[:tenth].sum() / costs[-1].sum()
print(f"accuracy {accuracy[-1]:.3f}, mean confidence {confidence[-1].mean():.3f}")
print(f"mean loss: right answers {costs[-1][correct[-1]].mean():.3f}, ", end="")
print(f"wrong answers {costs[-1][~correct[-1]].mean():.3f}")
print(f"the costliest tenth of the texts accounts for {dearest:.0%} of the loss")
assert confidence[-1].mean() > accuracy[-1] + 0.05
assert dearest > 0.5

# %% [markdown]
# If you need only the answers, this does no harm. It does harm if you use the probabilities, for example to pass
# doubtful cases to a person. There are two common remedies.
#
# **Temperature.** Divide all logits by one number $T>1$. No answer changes, but the probabilities become less extreme.
# Choose $T$ on one half of the held-out texts and test it on the other half.

# %% tags=["nbval-ignore-output"]
one_half, other_half = slice(0, None, 2), slice(1, None, 2)


def at(temperature, half):
    """Return the loss on one half of the texts with all logits divided."""
    return cross_entropy(said[-1, half] / temperature, truth[half]).item()


temperatures = (1, 1.5, 2, 3, 4, 6, 8, 12)
chosen = min(temperatures, key=lambda temperature: at(temperature, one_half))
print(f"chosen on one half: T = {chosen}")
print(f"loss on the other half: {at(1, other_half):.3f} without, ", end="")
print(f"{at(chosen, other_half):.3f} with it")
assert chosen > 1
assert at(chosen, other_half) < at(1, other_half)

# %% [markdown]
# **Label smoothing.** Train again with smoothing 0.1; reviews and seed stay the same.

# %% tags=["nbval-ignore-output"]
_, smooth = watch(CrossEntropy(smoothing=0.1))
right = smooth.argmax(2) == truth
plain_loss = torch.stack([F.nll_loss(one, truth) for one in smooth])
sure = smooth[-1].exp().amax(1)
print("after the last epoch       plain   smoothed")
print(f"held-out loss (plain){held_out[-1]:11.3f}{plain_loss[-1]:11.3f}")
print(f"held-out accuracy{accuracy[-1]:15.3f}{right[-1].double().mean():11.3f}")
print(f"mean confidence{confidence[-1].mean():17.3f}{sure.mean():11.3f}")
print(f"confidence when wrong{when_wrong[-1]:11.3f}{sure[~right[-1]].mean():11.3f}")
assert sure.mean() < confidence[-1].mean() - 0.02
assert sure[~right[-1]].mean() < when_wrong[-1] - 0.02
assert plain_loss[-1] < held_out[-1] - 0.05
assert abs(right[-1].double().mean() - accuracy[-1]) < 0.05

# %% [markdown]
# The smoothed model is less confident, even where it is wrong, and its held-out loss is lower. One seed cannot tell
# which of the two gives better answers.
#
# So a rising held-out loss does not prove that the answers get worse, and a steady accuracy does not prove that all is
# well. Look at both.
#
# ## Also called
#
# - *Log loss* (scikit-learn), *negative log-likelihood*, *softmax loss*; for two classes *logistic loss*. torch's
#   `nll_loss` is only the last step: it expects logarithms of probabilities.
# - The *Kullback-Leibler divergence* between label and answer is the cross-entropy minus a constant, the entropy of the
#   label. Without smoothing the constant is 0.
# - *Perplexity* is $e^J$: 2 for a coin. A loss *in bits* uses the logarithm to base 2.
#
# The article calls $\hat{y}$ "the predicted probability", but its code passes logits to `F.cross_entropy`. Both are
# right, because torch's function contains the softmax. If you follow the words and apply a softmax first, you apply it
# twice. Nothing fails, but the loss can no longer reach 0:

# %%
perfect = torch.tensor([[1.0, 0.0]], dtype=torch.float64)  # probabilities, not logits
twice = cross_entropy(perfect, torch.tensor([0])).item()
print(f"confident and correct, softmax twice: {twice:.4f}")

# %% tags=["hide-cell"]
assert math.isclose(twice, math.log(1 + math.exp(-1)))

# %% [markdown]
# ### The other losses of the catalogue
#
# ftlab has eight more losses. This chapter does not use them; [Strategies](../strategies.md) has their formulas.
#
# | loss | when to use it |
# | --- | --- |
# | `mean_squared_error` | the label is a number, such as a similarity (the article names this loss for regression) |
# | `binary_cross_entropy` | several labels may be true at once, or none |
# | `focal` | a few hard samples drown among many easy ones |
# | `r_drop` | you have little data: the loss asks that two passes with different dropout agree |
# | `smart` | the answer should not change when the input changes a little |
# | `free_lb` | the same aim, reached by training on inputs that are made harder step by step |
# | `distill` | there is a better model to learn from |
# | `contrastive` | you need the vectors: texts with the same label should lie close together |
#
# ## Is your own rule better?
#
# Could a little noise in the gradients keep a model from learning its training samples by heart? Such a rule takes only
# a few lines. `trial` checks that it is well behaved. Then it trains pairs of models on the six topics of the reviews.
# Both models of a pair share seed, data and order; only one has the rule. To save time, only the top layer and the head
# are trained.


# %%
@dataclass(frozen=True)
class NoisyGradients(GradientRule):
    """Add noise to every gradient, in proportion to its size."""

    strength: float = 0.3

    def shape(self, grads, memory, now):
        noisy = {}
        for name, grad in grads.items():
            noise = torch.randn(grad.shape, generator=now.generator).to(grad)
            size = grad.square().mean().sqrt()
            noisy[name] = grad + self.strength * size * noise
        return noisy, memory


# %% tags=["nbval-ignore-output"]
topics = ftlab.load_data("reviews", task="topic")
topics = DatasetDict(
    {"train": short(topics["train"]), "test": short(topics["test"], 150)}
)
in_both = [ftlab.Freeze("*.embeddings.*"), ftlab.Freeze("*.layer.[0-4].*")]
verdict = ftlab.trial(
    NoisyGradients(),
    topics,
    pairs=3,
    rows=64,
    base_recipe=[*in_both, ftlab.ClipNorm(1.0)],
    epochs=4,
    lr=1e-3,
    batch_size=16,
)
print(verdict)
assert verdict.failed_checks == ()
assert verdict.verdict == "undecided"
assert min(verdict.without) > verdict.majority_baseline + 0.2  # both have learned

# %% [markdown]
# ### Power: what three pairs can show
#
# The interval contains 0, so the verdict is "undecided". That is not the same as "no effect": three pairs may be too
# few to see the effect.
#
# The **power** of an experiment is the probability that it detects a difference that really exists. It grows with the
# size of the difference and with the number of pairs, and it falls when the differences vary more from pair to pair.
# A common aim is a power of 80 %. The smallest difference that reaches it is the **minimum detectable effect**.
#
# From the scatter of our pairs we can compute it, and also how many pairs a smaller difference needs.

# %% tags=["nbval-ignore-output"]
spread = verdict.paired.spread  # standard deviation of the pairs' differences


def pairs_for(difference):
    """Return how many pairs detect a difference with a power of 80 %."""
    enough = (
        n for n in range(2, 5000) if spread * minimum_detectable_effect(n) <= difference
    )
    return next(enough)


print(f"the differences scatter by {100 * spread:.1f} points of accuracy")
print(f"3 pairs detect {100 * verdict.paired.mde():.1f} points\n")
print("difference, points   pairs needed")
for points in (3, 2, 1, 0.5):
    print(f"{points:18}{pairs_for(points / 100):15}")

# %% tags=["hide-input", "nbval-ignore-output"]
counts = range(3, 61)
figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
axes = figure.subplots()
curve = [100 * spread * minimum_detectable_effect(count) for count in counts]
axes.plot(counts, curve, color=BLUE, label="minimum detectable effect")
observed = 100 * abs(verdict.paired.mean)
axes.axhline(observed, color=ORANGE, linestyle="--", label="difference of our pairs")
axes.set(xlabel="pairs of runs", ylabel="points of accuracy", ylim=(0, None))
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
assert verdict.paired.low < 0 < verdict.paired.high
assert math.isclose(verdict.paired.mde(), spread * minimum_detectable_effect(3))
assert verdict.paired.mde() > abs(verdict.paired.mean)
assert pairs_for(0.03) < pairs_for(0.02) < pairs_for(0.01)
assert pairs_for(0.005) < 4.5 * pairs_for(0.01)
Picture(
    figure,
    "The minimum detectable effect falls steeply over the first ten pairs and slowly "
    f"after that; with 3 pairs it is {curve[0]:.1f} points, "
    f"with 60 pairs {curve[-1]:.1f}.",
)

# %% [markdown]
# Small differences are expensive. The scatter of a mean shrinks only with the square root of the number of pairs, so
# in the long run it takes four times as many pairs to detect half the difference. Decide *before* you start how small
# a difference would matter to you. And read the table as a rough guide: three pairs estimate the scatter only
# roughly.
#
# ## Exercises
#
# ### Exercise 01.1
#
# A model gives the true class a probability of 0.9. What is the cross-entropy of this sample? Give three significant
# digits.

# %% tags=["solution"]
price = -math.log(0.9)
ftlab.check.exercise("01.1", price)

# %% [markdown]
# ### Exercise 01.2
#
# 97 texts come in batches of 32. The four batch means of the loss are 0.40, 0.40, 0.40 and 1.60; the last batch holds a
# single text. What is the mean loss over the 97 texts? Give three significant digits.

# %% tags=["solution"]
mean_loss = (96 * 0.40 + 1 * 1.60) / 97
ftlab.check.exercise("01.2", mean_loss)

# %% [markdown]
# ### Exercise 01.3
#
# Write `loss_of(logits, labels)`. It returns the mean cross-entropy, computed with your own exponentials and
# logarithms: do not use `cross_entropy`, `softmax` or `log_softmax`. It must work for logits of a thousand. `logits`
# has the shape (N, C), `labels` holds N whole numbers.


# %% tags=["solution"]
def loss_of(logits, labels):
    lowered = logits - logits.max(dim=1, keepdim=True).values
    logs = lowered - lowered.exp().sum(dim=1, keepdim=True).log()
    return -logs.gather(1, labels[:, None]).mean()


ftlab.check.exercise("01.3", loss_of)

# %% [markdown]
# ### Exercise 01.4
#
# Write `gradient_of(logits, labels)`. It returns the gradient of the mean cross-entropy with respect to the logits,
# in the shape of the logits, without autograd. Do not change the tensors that you are given.


# %% tags=["solution"]
def gradient_of(logits, labels):
    said = logits.softmax(dim=1)
    true = torch.nn.functional.one_hot(labels, logits.shape[1])
    return (said - true) / len(labels)


ftlab.check.exercise("01.4", gradient_of)

# %% [markdown]
# ## Key points
#
# - Cross-entropy is minus the logarithm of the probability that the model gave to the true class, averaged over
#   samples. It is near 0 for confident and correct answers, $\log C$ for a model with no idea, and unbounded for
#   confident wrong answers.
# - Its gradient with respect to the logits is $(\hat{y}-y)/N$: what the model said minus what was true.
# - Pass logits to the loss, never probabilities, and check that the first loss of a training is near $\log C$.
# - Average over samples: weight each batch mean by the size of its batch.
# - A model overfits when its training loss falls while its held-out loss rises. If the accuracy stays the same, the
#   wrong answers have become more confident, not more frequent.
# - "Undecided" is not "no effect". Ask what difference the experiment had the power to detect.
