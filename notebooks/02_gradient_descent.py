# %% [markdown]
# # 2. Gradient descent
#
# The gradient says which way is down. How far to go it does not say, and most of what goes wrong in training goes wrong
# there.
#
# **When you are through** (about 35 minutes to read, about 1 to run) you can
#
# - predict from the curvature of a loss at which learning rates descent converges, swings or diverges;
# - say in which four ways AdamW, which is what really trains your model, departs from the formula;
# - recognise a rate that is too small or too great from a handful of losses, and say what clipping can mend.
#
# You need [chapter 1](01_cross_entropy.ipynb) for the loss.
#
# **Formulas:** `gradient_descent`, `adamw`, `clip_norm`, `clip_value`, `sam`

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
from itertools import pairwise

import torch
import transformers
from IPython.display import Markdown
from matplotlib.figure import Figure
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import ftlab
from ftlab import GradientRule, explore, formulas, slider
from ftlab.device import choose_device, choose_engine
from ftlab.formulas import Moments, adamw, clip_norm, clip_value, cross_entropy, gradient_descent, sam
from ftlab.plots import BLUE, GREY, ORANGE, Picture

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# %% [markdown]
# ## Why
#
# A loss of two parameters: a valley that rises slowly along one and steeply along the other. From the same start, with
# the same gradient, three learning rates.

# %%
CURVATURES = torch.tensor([1.0, 20.0], dtype=torch.float64)
START = torch.tensor([4.0, 1.0], dtype=torch.float64)


def valley(point):
    """J = (θ1² + 20 θ2²)/2, whose gradient is (θ1, 20 θ2)."""
    return (CURVATURES * point**2).sum(-1) / 2


def way_down(rate, steps):
    """The points that gradient descent visits from the start, that one included."""
    params, path = {"θ": START}, [START]
    for _ in range(steps):
        params = gradient_descent(params, {"θ": CURVATURES * params["θ"]}, rate)
        path.append(params["θ"])
    return torch.stack(path)


for rate in (0.01, 0.09, 0.105):
    losses = valley(way_down(rate, 40))
    print(f"rate {rate:5.3f}: loss {losses[0]:.2f}, after 10 steps {losses[10]:.3f}, after 40 steps {losses[40]:.3f}")

# %%


def draw_path(axes, path):
    """Level lines of the valley and the way through it, as far as it stays on the map."""
    across, along = torch.meshgrid(torch.linspace(-2.4, 2.4, 61), torch.linspace(-5, 5, 61), indexing="ij")
    heights = valley(torch.stack([along, across], dim=-1).double())
    axes.contour(along, across, heights, levels=[0.5, 2, 6, 14, 28, 50], colors=GREY, linewidths=0.7)
    axes.plot(path[:, 0], path[:, 1], "o-", color=BLUE, markersize=3, linewidth=1)
    axes.plot(0, 0, "x", color=ORANGE, markersize=9)
    axes.set(xlabel="θ1", xlim=(-5, 5), ylim=(-2.4, 2.4))


figure = Figure(figsize=(8, 2.8), layout="constrained", facecolor="white")
for axes, rate in zip(figure.subplots(1, 3, sharey=True), (0.01, 0.09, 0.105), strict=True):
    draw_path(axes, way_down(rate, 40))
    axes.set_title(f"rate {rate}")
figure.axes[0].set_ylabel("θ2")
Picture(
    figure,
    "Three ways through a narrow valley. With a rate of 0.01 the points creep and stop far from the lowest point, with "
    "0.09 they swing across the valley and arrive, with 0.105 each swing is wider than the last and they leave the map.",
)

# %% [markdown]
# The second rate is nine times the first and works. The third is only a sixth greater and ruins everything. Where is
# the edge, and can it be known in advance?
#
# ## The formula

# %%
ftlab.formula(gradient_descent)

# %% [markdown]
# Its limit cases:
#
# - **$\alpha = 0$**: nothing moves.
# - **The gradient is 0**: nothing moves, at any rate. That is so at a minimum, and on a plateau or a saddle too.
# - **On a parabola of curvature $L$**, $J=\frac{L}{2}\theta^2$, the gradient is $L\theta$, and one step multiplies
#   $\theta$ by $1-\alpha L$. Everything follows from that factor:
#
# | learning rate | factor | what happens |
# | --- | --- | --- |
# | below $1/L$ | between 0 and 1 | it falls, step by step, from one side |
# | $1/L$ | 0 | it is there at once |
# | between $1/L$ and $2/L$ | between -1 and 0 | it swings from side to side, ever closer |
# | $2/L$ | -1 | it swings forever |
# | above $2/L$ | below -1 | each swing is wider than the last |
#
# ## By hand
#
# $J=\theta^2$ from $\theta=3$. The gradient is $2\theta=6$. With the rates 0.1, 0.5 and 1.1 the next $\theta$ is
# $3-0.6$, $3-3$ and $3-6.6$.

# %%
for rate, on_paper in ((0.1, 2.4), (0.5, 0.0), (1.1, -3.6)):
    params = {"θ": torch.tensor([3.0], dtype=torch.float64)}
    found = gradient_descent(params, {"θ": 2 * params["θ"]}, rate)["θ"].item()
    print(f"rate {rate}: on paper {on_paper:4.1f}, function {found:4.1f}")
    assert math.isclose(found, on_paper, abs_tol=1e-12)

# %% [markdown]
# Now the table above, with numbers. The curvature is 4, so $1/L=0.25$ and $2/L=0.5$.

# %%
L = 4.0


def visit(rate, steps):
    """θ before the first step and after each, on the parabola L θ²/2 from 1."""
    params, seen = {"θ": torch.ones(1, dtype=torch.float64)}, [1.0]
    for _ in range(steps):
        params = gradient_descent(params, {"θ": L * params["θ"]}, rate)
        seen.append(params["θ"].item())
    return seen


print("rate    factor      θ, step by step                     after 30 steps")
for rate in (0.1, 0.25, 0.4, 0.5, 0.6):
    seen = visit(rate, 30)
    print(f"{rate:4.2f}  {1 - rate * L:8.1f}   {' '.join(f'{one:6.3f}' for one in seen[:5])}  {abs(seen[-1]):15.4f}")

falling, swinging, growing = visit(0.1, 30), visit(0.4, 30), visit(0.6, 30)
assert all(0 < after < before for before, after in pairwise(falling))
assert all(after * before < 0 and abs(after) < abs(before) for before, after in pairwise(swinging))
assert all(abs(after) > abs(before) for before, after in pairwise(growing))
assert abs(visit(0.5, 30)[-1]) == 1.0

# %% [markdown]
# With several parameters each direction has its own curvature, and all share one rate. **The greatest curvature sets
# the limit, the smallest sets the pace.** In the valley above the greatest is 20, so the edge is at $2/20=0.1$: that is
# why 0.09 arrived and 0.105 did not. Along the other direction a rate of 0.09 leaves $1-0.09$ of the way at each step.
#
# ## Against torch
#
# Whole tensors: a linear classifier with 3 classes and 10 inputs, 50 updates, gradients from autograd. Each formula of
# this page against torch's own.

# %%
chance = torch.Generator().manual_seed(0)
inputs = torch.randn(32, 10, dtype=torch.float64, generator=chance)
targets = torch.randint(3, (32,), generator=chance)
begun = {
    "weight": torch.randn(3, 10, dtype=torch.float64, generator=chance),
    "bias": torch.zeros(3, dtype=torch.float64),
}


def loss_of(params):
    return cross_entropy(inputs @ params["weight"].T + params["bias"], targets)


def gradients(params):
    leaves = {name: param.clone().requires_grad_() for name, param in params.items()}
    return dict(zip(leaves, torch.autograd.grad(loss_of(leaves), list(leaves.values())), strict=True))


def by_torch(make, clip=lambda params: None):
    leaves = {name: param.clone().requires_grad_() for name, param in begun.items()}
    optimizer = make(list(leaves.values()))
    for _ in range(50):
        optimizer.zero_grad()
        loss_of(leaves).backward()
        clip(list(leaves.values()))
        optimizer.step()
    return leaves


def by_formula(clip=lambda grads: grads):
    params = begun
    for _ in range(50):
        params = gradient_descent(params, clip(gradients(params)), 0.5)
    return params


def by_adamw(factor=1.0, **settings):
    params, moments = begun, Moments()
    for _ in range(50):
        grads = {name: factor * grad for name, grad in gradients(params).items()}
        params, moments = adamw(params, grads, moments, 0.05, **settings)
    return params


def apart(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in begun)


def sgd(params):
    return torch.optim.SGD(params, lr=0.5)


differences = {
    "gradient_descent, SGD": apart(by_formula(), by_torch(sgd)),
    "adamw, AdamW": apart(by_adamw(), by_torch(lambda params: torch.optim.AdamW(params, lr=0.05, weight_decay=0.01))),
    "clip_norm, clip_grad_norm_": apart(
        by_formula(lambda grads: clip_norm(grads, 0.1)),
        by_torch(sgd, lambda params: torch.nn.utils.clip_grad_norm_(params, 0.1)),
    ),
    "clip_value, clip_grad_value_": apart(
        by_formula(lambda grads: clip_value(grads, 0.02)),
        by_torch(sgd, lambda params: torch.nn.utils.clip_grad_value_(params, 0.02)),
    ),
}
for name, difference in differences.items():
    print(f"{name:30} < 1e-6: {difference < 1e-6}")
    assert difference < 1e-6

# %% [markdown]
# ### AdamW, which really trains your model
#
# The article writes formula (2) and its code says `optim.AdamW`. So does ftlab, where nothing else is asked for. It is
# another update:

# %%
ftlab.formula(adamw)

# %% [markdown]
# **First departure: the length of a step is the rate, not the rate times the slope.** Every entry is divided by its own
# size. Here are three gradients of very different size, and the first step of each formula at a rate of 0.1.

# %%
slopes = {"θ": torch.tensor([500.0, -0.5, 0.001], dtype=torch.float64)}
still = {"θ": torch.zeros(3, dtype=torch.float64)}
plain = gradient_descent(still, slopes, 0.1)["θ"]
adam, _ = adamw(still, slopes, Moments(), 0.1, weight_decay=0.0)
print("gradient:        ", [f"{one:g}" for one in slopes["θ"].tolist()])
print("gradient descent:", [f"{one:g}" for one in plain.tolist()])
print("AdamW:           ", [f"{one:.4f}" for one in adam["θ"].tolist()])
assert torch.allclose(adam["θ"], -0.1 * slopes["θ"].sign(), atol=1e-5)

# %% [markdown]
# That is why a rate of 5e-5 is usual for AdamW and useless for plain descent: the two rates are not in the same unit.
#
# **Second departure: the direction is a running mean** of the latest gradients, about ten of them with
# $\beta_1=0.9$.
#
# **Third departure: bias correction.** Both running means begin at 0 and are too small at first, by $1-\beta^t$. The
# mean of squares, which remembers longer, is too small for longer, and it stands below the line. Without the correction
# the steps are too *long*, by $(1-\beta_1^t)/\sqrt{1-\beta_2^t}$. Let the gradient stay at 1 and look:

# %%


def step_lengths(steps, bias_correction):
    """How far each step goes at a rate of 1 under a gradient that stays 1."""
    params, moments, lengths = {"θ": torch.zeros(1, dtype=torch.float64)}, Moments(), []
    for _ in range(steps):
        new, moments = adamw(
            params, {"θ": torch.ones(1, dtype=torch.float64)}, moments, 1.0,
            eps=1e-30, weight_decay=0.0, bias_correction=bias_correction,
        )  # fmt: skip
        lengths.append((params["θ"] - new["θ"]).item())
        params = new
    return torch.tensor(lengths, dtype=torch.float64)


ratio = step_lengths(1000, bias_correction=False) / step_lengths(1000, bias_correction=True)
count = torch.arange(1, 1001, dtype=torch.float64)
assert torch.allclose(ratio, (1 - 0.9**count) / (1 - 0.999**count).sqrt(), rtol=1e-9)
for step in (1, 2, 5, 10, 50, 100, 500, 1000):
    print(f"step {step:4}: {ratio[step - 1]:.2f} times as long without the correction")
print(f"the greatest is {ratio.max():.2f}, at step {int(ratio.argmax()) + 1}")
assert ratio.max() > 6.5

# %% [markdown]
# So an optimizer without the correction runs at several times the rate that you set, just when the new head is still
# random, and a short fine-tuning is over before that wears off. The optimizer published with BERT left it out
# (google-research/bert, issue 153); with warm-up it does little harm.
#
# **Fourth departure: decoupled decay.** Weights are pulled towards 0 by $1-\alpha\lambda$, apart from the gradient. The
# older way, a penalty whose gradient $\lambda\theta$ is added to the others, is divided by the size of the gradient like
# everything else. Two weights begin at 1; one sees gradients of $\pm 100$, the other of $\pm 0.01$, in turns:

# %%


def decayed(optimizer, strength):
    """What is left of both weights after 100 steps."""
    weights = torch.ones(2, dtype=torch.float64, requires_grad=True)
    stepper = optimizer([weights], lr=0.001, weight_decay=strength)
    for step in range(100):
        weights.grad = torch.tensor([100.0, 0.01], dtype=torch.float64) * (-1) ** step
        stepper.step()
    return weights.detach()


taken = {}
for name, optimizer in (("in the gradient (Adam)", torch.optim.Adam), ("decoupled (AdamW)", torch.optim.AdamW)):
    taken[name] = decayed(optimizer, 0.0) - decayed(optimizer, 0.5)
    large, small = taken[name].tolist()
    print(f"{name:23} took {large:.4f} from the weight with large gradients, {small:.4f} from the other")
assert torch.allclose(*taken["decoupled (AdamW)"], rtol=0.02)
assert taken["in the gradient (Adam)"][1] > 10 * taken["in the gradient (Adam)"][0]

# %% [markdown]
# Decoupled, both lose the same share. Through the gradient, the weight with the large gradients is hardly pulled.
#
# ### Gradient clipping, and a look uphill
#
# Three more formulas act on the gradient before the optimizer sees it.

# %%
shown = []
for name in ("clip_norm", "clip_value", "sam"):
    one = ftlab.formula(getattr(formulas, name))
    shown.append(f"**`{name}`**: {one.sentence}\n\n$$\n{one.mathematics}\n$$")
Markdown("\n\n".join(shown))

# %% [markdown]
# Clipping by the norm shortens and keeps the direction. Clipping by value cuts entry by entry and turns it:

# %%
long = {"θ": torch.tensor([3.0, 4.0, 12.0], dtype=torch.float64)}
for name, clipped in (("clip_norm", clip_norm(long, 1.0)), ("clip_value", clip_value(long, 1.0))):
    turned = torch.nn.functional.cosine_similarity(clipped["θ"], long["θ"], dim=0).clamp(max=1).arccos().rad2deg()
    print(f"{name:10} {[round(one, 3) for one in clipped['θ'].tolist()]}, turned by {turned:.0f} degrees")
assert torch.allclose(clip_norm(long, 1.0)["θ"], long["θ"] / 13, rtol=1e-6)
assert clip_value(long, 1.0)["θ"].tolist() == [1, 1, 1]

# %% [markdown]
# For plain descent clipping is a brake: a step is never longer than $\alpha c$. **AdamW hardly notices it.** Multiply
# all gradients by one number, whichever, and the division takes it out again, as long as $\epsilon$ is small beside them
# (here it is 1e-15, where 1e-8 is usual):

# %%
for factor in (1000.0, 0.001):
    moved = apart(by_adamw(factor, eps=1e-15, weight_decay=0.0), by_adamw(eps=1e-15, weight_decay=0.0))
    print(f"AdamW, 50 steps, gradients times {factor:g}: parameters differ by < 1e-6: {moved < 1e-6}")
    assert moved < 1e-6
once, louder = begun, begun
for _ in range(50):
    once = gradient_descent(once, gradients(once), 0.05)
    louder = gradient_descent(louder, {name: 1000 * grad for name, grad in gradients(louder).items()}, 0.05)
print(f"gradient descent, the same times 1000: parameters differ by < 1e-6: {apart(once, louder) < 1e-6}")
assert apart(once, louder) > 1

# %% [markdown]
# What is left to clipping under AdamW is the balance *between* steps: one step that is a hundred times as loud as the
# others. We come back to it under "Where it hurts".
#
# SAM takes the gradient not here but a little uphill, and so sees what is sharp. Two parabolas, both with a slope of 1
# where we stand; one is a hundred times as curved:

# %%
for name, curvature in (("flat", 1.0), ("sharp", 100.0)):
    here = {"θ": torch.tensor([1 / curvature], dtype=torch.float64)}
    uphill = sam(here, {"θ": curvature * here["θ"]}, 0.05)
    print(f"{name:5}: slope here {(curvature * here['θ']).item():.2f}, uphill {(curvature * uphill['θ']).item():.2f}")
    assert math.isclose((uphill["θ"] - here["θ"]).item(), 0.05, rel_tol=1e-9)

# %% [markdown]
# ## Explore
#
# The valley again. Find a rate that gets through it, and then one that does not.

# %%


def draw(rate, steps):
    """The way through the valley on the left, the loss by step on the right."""
    path = way_down(rate, steps)
    losses = valley(path)
    figure = Figure(figsize=(7, 3), facecolor="white")
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.18, top=0.89, wspace=0.25)
    left, right = figure.subplots(1, 2)
    draw_path(left, path)
    left.set_ylabel("θ2")
    right.plot(losses, color=BLUE)
    right.axhline(0.1, color=ORANGE, linestyle="--", label="the goal, 0.1")
    right.set(title="loss", xlabel="step", yscale="log", ylim=(1e-4, 1e5))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    end = losses[-1].item()
    said = f"After {steps} step{'s' if steps > 1 else ''} the loss is {end:.3f}; it began at {losses[0]:.1f}."
    manner = "It never swings." if rate <= 1 / 20 else "It swings." if rate < 2 / 20 else "Its swings do not shrink."
    reached = "Goal reached." if end < 0.1 and steps <= 40 else "Too many steps." if end < 0.1 else "Not there yet."
    return figure, f"{said} {manner} {reached}"


explore(
    draw,
    goal="bring the loss below 0.1 in at most 40 steps",
    rate=slider([0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.09, 0.1, 0.105], start=0.01),
    steps=slider([1, 2, 5, 10, 20, 40, 100, 300], start=40),
)

# %% [markdown]
# Between too slow and too fast there is little room, and the narrower the valley, the less. With one rate for all
# directions, the steps that are needed grow with the quotient of the greatest and the smallest curvature. This is one
# reason for AdamW, which gives each parameter its own step.
#
# ## On the real model
#
# The embedded MiniLM, 16 reviews, plain gradient descent, and always the same start. `begin` prepares a training,
# `step` makes one update and returns the loss from before it.

# %%
reviews = ftlab.load_data("reviews", task="sentiment")
model = ftlab.load_model("minilm", reviews)
rows = reviews["train"][:16]
batch = {**model.processor(rows["text"], padding=True, return_tensors="pt"), "labels": torch.tensor(rows["label"])}
ENGINE = choose_engine("auto", choose_device("cpu"))
print(model)
print(f"{len(rows['text'])} reviews, {sum(rows['label'])} of them positive")


def train(rate, optimizer="sgd", steps=12):
    """Make some updates on the 16 reviews from the pretrained model; return the loss before each, and the model."""
    state = ftlab.begin(model.copy(0), [batch], epochs=steps, lr=rate, optimizer=optimizer, engine=ENGINE)
    return [ftlab.step(state, batch)["loss"] for _ in range(steps)], state.model


# %% tags=["nbval-ignore-output"]
runs, models = {}, {}
for rate in (0.003, 0.1, 3.0):
    runs[rate], models[rate] = train(rate)
for rate, losses in runs.items():
    print(f"rate {rate:5}: {' '.join(f'{loss:6.2f}' for loss in losses)}")
assert abs(runs[0.003][-1] - runs[0.003][0]) < 0.05
assert runs[0.1][-1] < math.log(2) / 2
assert max(runs[3.0]) > 20

# %% tags=["nbval-ignore-output"]
figure = Figure(figsize=(6, 3), layout="constrained", facecolor="white")
axes = figure.subplots()
for (rate, losses), (colour, style) in zip(runs.items(), ((GREY, ":"), (BLUE, "-"), (ORANGE, "--")), strict=True):
    axes.plot(range(1, 13), losses, style, color=colour, marker=".", label=f"rate {rate}")
axes.axhline(math.log(2), color="black", linewidth=0.6)
axes.set(xlabel="update", ylabel="loss", yscale="log")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
assert min(runs[3.0][3:]) > 1
Picture(
    figure,
    "On a logarithmic scale the loss with a rate of 0.003 stays at log 2, with 0.1 it falls below half of that, with 3 it "
    "leaps to many times log 2 within a few updates and does not come back.",
)

# %% [markdown]
# The picture of the valley, on a model with 22.7 million parameters. A loss that is flat from the start, at log 2, asks
# for a greater rate. A loss that leaps above its start asks for a smaller one, and every further step is wasted.
#
# Far enough out the numbers end, and the run is stopped with a message:

# %% tags=["nbval-ignore-output"]
try:
    train(1e20)
    stopped = ""
except ftlab.Diverged as error:
    stopped = str(error)
print("Diverged:", stopped)
assert "Lower lr" in stopped

# %% [markdown]
# And AdamW? A rate of 0.1, which was good a moment ago, is some three hundred times the one that works for it:

# %% tags=["nbval-ignore-output"]
with_adamw = {3e-4: train(3e-4, "adamw", steps=9)[0], 0.1: train(0.1, "adamw", steps=4)[0]}
for rate, losses in with_adamw.items():
    print(f"AdamW, rate {rate:6}: {' '.join(f'{loss:6.2f}' for loss in losses)}")
assert with_adamw[3e-4][-1] < 0.2
assert min(with_adamw[0.1][1:]) > math.log(2)

# %% [markdown]
# ## Where it hurts
#
# **A rate that was good becomes too great.** The limit $2/L$ is that of the place where you are, and $L$ changes on the
# way. Here is a rate between the good one and the one that diverged at once:

# %% tags=["nbval-ignore-output"]
later, _ = train(0.3, steps=16)
print(f"rate 0.3: {' '.join(f'{loss:.2f}' for loss in later)}")
lowest = later.index(min(later))
print(f"lowest at update {lowest + 1} with {min(later):.2f}; at the end {later[-1]:.2f}, log 2 is {math.log(2):.2f}")
assert min(later) < 0.35
assert max(later[lowest + 1 :]) > 3 * min(later)
assert later[4] < min(losses[4] for losses in runs.values())

# %% [markdown]
# It had learned the 16 reviews, then one step threw it out. Had you looked at the first five losses only, you would have
# called this rate the best of all.
#
# The curvature of 22.7 million parameters can be measured. Go a little way along a direction, see how the gradient has
# changed, and take that change as the next direction: it turns towards the greatest curvature. What you have at any
# moment is a lower bound of $L$. Here it is taken where the good run, at 0.1, arrived:

# %% tags=["nbval-ignore-output"]


def curvature(net, rounds=3, reach=1e-3):
    """A lower bound of the greatest curvature of the loss of the 16 reviews, dropout off."""
    net.eval()
    params = list(net.parameters())
    here = parameters_to_vector(params).detach()
    texts = {name: tensor for name, tensor in batch.items() if name != "labels"}

    def slope(place):
        vector_to_parameters(place, params)
        loss = cross_entropy(net(**texts).logits, batch["labels"])
        return parameters_to_vector(torch.autograd.grad(loss, params))

    direction = slope(here)
    for _ in range(rounds):
        direction = direction / direction.norm()
        change = (slope(here + reach * direction) - slope(here - reach * direction)) / (2 * reach)
        bound, direction = (change @ direction).item(), change
    return bound


bound = curvature(models[0.1])
print(f"L is at least {bound:.1f}, so the limit 2/L is at most {2 / bound:.2f}")
assert 2 / bound < 0.3

# %% [markdown]
# At 0.3 no run can stay in this valley: its walls are too steep for such steps. That is one reason to let the rate fall in
# the course of a training, which is what [chapter 4](04_decay.ipynb) is about.
#
# **One loud gradient, and AdamW creeps.** AdamW remembers the squares of some thousand gradients. A gradient that stays
# 1, except for one batch in which it is 100, say because of an odd row:

# %%


def walk(steps, loud_at=None, bound=math.inf):
    """How far AdamW gets with steps of 0.01 under a gradient of 1, with one of 100 among them."""
    params, moments, places = {"θ": torch.zeros(1, dtype=torch.float64)}, Moments(), []
    for step in range(1, steps + 1):
        grads = {"θ": torch.full((1,), 100.0 if step == loud_at else 1.0, dtype=torch.float64)}
        params, moments = adamw(params, clip_norm(grads, bound), moments, 0.01, weight_decay=0.0)
        places.append(-params["θ"].item())
    return places


quiet, loud, clipped = walk(300), walk(300, loud_at=50), walk(300, loud_at=50, bound=1.0)
print(f"all gradients alike:            {quiet[-1]:.2f} after 300 steps")
print(f"one of them 100 times as great: {loud[-1]:.2f}")
print(f"the same, clipped to 1:         {clipped[-1]:.2f}")
print(f"a step before the loud one {loud[48] - loud[47]:.4f}, a hundred steps after it {loud[149] - loud[148]:.4f}")
assert loud[-1] < 0.7 * quiet[-1]
assert abs(clipped[-1] - quiet[-1]) < 1e-3

# %% [markdown]
# The loud gradient does not throw AdamW far, its step is bounded. But it sits in the mean of squares, below the line,
# and makes every later step short, hundreds of steps on. This is what `ClipNorm` is good for under AdamW, and why one
# sees so little of it when no gradient is loud.
#
# ## Also called
#
# - *Steepest descent*, *batch* or *full-batch gradient descent* where all samples are in one gradient; *stochastic
#   gradient descent* where each step sees a sample of them. `torch.optim.SGD` draws no sample: the batches do.
# - The *learning rate* is the *step size* of numerical mathematics, and is written $\alpha$, $\eta$ or $\epsilon$.
# - *Adam* is AdamW without decay, or with the coupled one, depending on who says it. In torch, `Adam(weight_decay=...)`
#   is the coupled one.
# - The article calls $\nabla J$ the gradient of the parameters with respect to the loss. It is the gradient of the loss with
#   respect to the parameters; its formula is right.
# - Two words of the article mislead. It bases fine-tuning on gradient descent, and its code trains with AdamW, whose
#   step does not grow with the gradient. And its *clipping* is neither of the two above: its formula (5) is a step against
#   the sign of the gradient, which [chapter 5](05_sign_prune.ipynb) looks into.
#
# ## Is your own rule better?
#
# If AdamW divides by the size of the gradient anyway, why not give every gradient the length 1 yourself? As a rule:


# %% tags=["nbval-ignore-output"]
@dataclass(frozen=True)
class UnitGradient(GradientRule):
    """Give all gradients together the length 1."""

    def shape(self, grads, memory, now):
        length = sum(grad.square().sum() for grad in grads.values()).sqrt() + 1e-12
        return {name: grad / length for name, grad in grads.items()}, memory


topics = ftlab.load_data("reviews", task="topic")
topics["test"] = topics["test"].select(range(30))
verdict = ftlab.trial(UnitGradient(), topics, pairs=3, rows=40, epochs=2, lr=1e-3, batch_size=16)
print(verdict)
assert verdict.broken == ()
assert len(verdict.with_it) == 3

# %% [markdown]
# Read the interval first. Where it holds 0, no difference was seen, and the verdict says how large one would have to be
# to show on 30 reviews and three pairs. From this page you could have foreseen that it is small: with AdamW only the
# balance between steps changes. Try the same with `optimizer="sgd"`, where the length of the gradient is the length of
# the step. Where the verdict adds that neither arm does better than always giving the most frequent label, too little was
# learned to judge any rule: give more rows.
#
# ## Exercises
#
# ### Exercise 02.1
#
# $J=3\theta^2$, from $\theta=1$, with a learning rate of 0.1. Where is $\theta$ after three steps? To three significant
# digits.

# %% tags=["solution"]
theta = (1 - 0.1 * 6) ** 3
ftlab.check.exercise("02.1", theta)

# %% [markdown]
# ### Exercise 02.2
#
# $J=\frac{1}{2}(\theta_1^2+8\,\theta_2^2+50\,\theta_3^2)$. Below which learning rate does gradient descent converge from
# every start? To two significant digits.

# %% tags=["solution"]
edge = 2 / 50
ftlab.check.exercise("02.2", edge)

# %% [markdown]
# ### Exercise 02.3
#
# Write `descend(theta, gradient, rate, steps)`: gradient descent as a loop. `theta` is a tensor, `gradient` a function
# from such a tensor to the gradient there. Give back where it ends, and leave the tensor that you are given as it is.


# %% tags=["solution"]
def descend(theta, gradient, rate, steps):
    for _ in range(steps):
        theta = theta - rate * gradient(theta)
    return theta


ftlab.check.exercise("02.3", descend)

# %% [markdown]
# ### Exercise 02.4
#
# Write `adam_step(theta, grad, first, second, t, rate)`: one step of Adam, without decay, with $\beta_1=0.9$,
# $\beta_2=0.999$, $\epsilon=10^{-8}$. `first` and `second` are the running means before this step, `t` counts from 1.
# Give back the new `theta`, `first` and `second`.


# %% tags=["solution"]
def adam_step(theta, grad, first, second, t, rate):
    first = 0.9 * first + 0.1 * grad
    second = 0.999 * second + 0.001 * grad**2
    upper = first / (1 - 0.9**t)
    lower = (second / (1 - 0.999**t)).sqrt() + 1e-8
    return theta - rate * upper / lower, first, second


ftlab.check.exercise("02.4", adam_step)

# %% [markdown]
# ## Key points
#
# - On a parabola of greatest curvature $L$, gradient descent falls without swinging up to $\alpha=1/L$, swings and converges
#   up to $2/L$, and diverges beyond.
# - The greatest curvature sets the limit, the smallest sets the pace, and the curvature changes on the way.
# - AdamW is another update: a running mean, divided by each entry's own size, corrected for its start at 0, with a decay
#   apart from the gradient. Its rates and those of plain descent are not in the same unit.
# - A constant factor on the gradient means nothing to AdamW. Clipping helps it against single loud gradients.
# - A loss that stays at $\log C$ asks for a greater rate, one that leaps above its start for a smaller one.
