# %% [markdown]
# # 0. Quickstart: fine-tune a model in five lines
#
# You take a model that already knows a lot about English and teach it to tell praise from complaint.
#
# **When you are through** (about 60 minutes to read and work through, about 2 minutes to run) you can
#
# - fine-tune a pretrained BERT in five lines, ask it about your own sentences, save it and open it elsewhere;
# - say what happens to a sentence inside the model, from tokens to a probability;
# - read accuracy, F1, AUC-ROC and a confusion matrix, and say how certain each number is;
# - find the faults in a training loop that looks right.
#
# You need some Python, and it helps to have seen a neural network train once. Nothing here needs the internet: a
# small BERT (all-MiniLM-L6-v2) and the labelled reviews come with the package.

# %%
import pandas as pd

import ftlab
from ftlab import ClipNorm

# %% [markdown]
# ## Five lines
#
# The task: is a review positive or negative? "The air conditioning rattled until dawn." is negative.
#
# The lines that do the work are `load_data`, `load_model`, `finetune`, `predict` and `save`. The four lines in
# between keep the run short: the model learns only from the shorter reviews, which it sees once, and is measured on
# some of the reviews that are set aside for that.

# %% tags=["nbval-ignore-output"]
sentences = [
    "a quiet little gem",
    "I loved it.",
    "Terrible food.",
    "Boring and far too long.",
]

data = ftlab.load_data("reviews", task="sentiment")
short = [place for place, text in enumerate(data["train"]["text"]) if len(text) < 120]
data["train"] = data["train"].select(short)
data["validation"] = data["validation"].select(range(100))
data["test"] = data["test"].select(range(500))

model = ftlab.load_model("minilm", data)
run = ftlab.finetune(
    model, data, epochs=1, lr=2e-4, batch_size=16, recipe=[ClipNorm(1.0)]
)
answers = run.predict(sentences)
run.save("runs/first")

# %% tags=["hide-input", "nbval-ignore-output"]
labels = [one["label"] for one in answers]
scores = [one["score"] for one in answers]
assert labels == ["positive", "positive", "negative", "negative"]
assert min(answers, key=lambda one: one["score"]) is answers[0]
assert sum("gem" in text.lower().split() for text in data["train"]["text"]) < 10
known = {text.lower().rstrip(".") for text in data["train"]["text"]}
assert not known & {text.lower().rstrip(".") for text in sentences}
pd.DataFrame({"sentence": sentences, "answer": labels, "probability": scores}).round(3)

# %% [markdown]
# It has never seen these four sentences, and it is right about all of them. It is least confident about the first,
# and "gem" is rare in the reviews that it learned from. Now try it on sentences of your own: change the list and run
# the cell as often as you like. Which sentences does it get wrong?

# %% tags=["nbval-ignore-output"]
for answer in run.predict(["Write what you like here.", "The soup was cold again."]):
    print(answer["label"], round(answer["score"], 3))
assert answer["label"] == "negative"

# %% [markdown]
# To train on all the reviews, type `make demo` in a terminal: it takes about three minutes on two cores. The page on
# [the data](../data.md) shows how the accuracy grows with the number of reviews.
#
# ## What happened
#
# Here is the model. Read the drawing from the bottom up.

# %% tags=["hide-input"]
import base64
from pathlib import Path

from IPython.display import HTML

alt = (
    "The model from bottom to top: the text is cut into tokens, each token becomes a"
    " vector of 384 numbers, six layers work on the vectors, the head turns the first"
    " vector into two logits, and softmax turns the logits into two probabilities."
)


def encoded(name: str, ground: str) -> str:
    """Return a drawing of the book as a data URI, with a ground of its own."""
    svg = Path(f"../book/_static/{name}.svg").read_text(encoding="utf-8")
    ground = f'<rect width="100%" height="100%" rx="8" fill="{ground}"/>'
    svg = svg.replace("<defs>", f"{ground}<defs>", 1)
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


if Path("../book/_static/model_light.svg").exists():
    light, dark = encoded("model_light", "#ffffff"), encoded("model_dark", "#1c2128")
    drawing = HTML(
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        f'<img src="{light}" alt="{alt}" style="max-width: 100%; background: none">'
        "</picture>"
    )
else:  # without the repository, as on Colab
    drawing = alt
drawing

# %% [markdown]
# ### From text to tokens
#
# A network computes with numbers, so the text is first cut into pieces, its **tokens**. The **tokenizer** does the
# cutting: it has a fixed vocabulary, in which every token has a number, its **id**. A frequent word is one token. A
# rare word is cut into several, and `##` marks a piece that continues a word. `[CLS]` and `[SEP]` mark the beginning
# and the end of the text.

# %%
tokenizer = model.processor
ids = tokenizer("Loved it!")["input_ids"]
print(f"{len(tokenizer):,} tokens in the vocabulary")
print("unputdownable:", tokenizer.tokenize("unputdownable"))
pd.DataFrame([tokenizer.convert_ids_to_tokens(ids), ids], index=["token", "id"])

# %% [markdown]
# ### From tokens to two probabilities
#
# The **embedding** is a large table: for each id it holds a vector of 384 numbers. Then come six **layers**. In each
# layer, *attention* lets every token's vector take in something from the other tokens, so that "not" can change what
# "good" stands for; then each vector is processed on its own. At the end the vector of `[CLS]`, after one more small
# layer called the pooler, stands for the whole text.
#
# All of these numbers, the **parameters** of the model, were loaded from a **checkpoint**: a file with the parameters
# of a model that somebody has trained. The model is called **pretrained**, because it had already learned from a
# great deal of English text before you loaded it.
#
# Only the **head** is new. It turns the 384 numbers into one score for each label, and its parameters start out
# random.

# %%
net = model.net
parts = {
    "embedding": net.bert.embeddings,
    "6 layers": net.bert.encoder,
    "pooler": net.bert.pooler,
    "head": net.classifier,
}
sizes = {
    name: sum(one.numel() for one in part.parameters()) for name, part in parts.items()
}
pd.DataFrame({"parameters": sizes}).map("{:,}".format)

# %% tags=["hide-cell"]
assert sizes["head"] == 384 * 2 + 2
assert sum(sizes.values()) == sum(one.numel() for one in net.parameters())

# %% [markdown]
# The scores are called **logits**. A logit can be any number. **Softmax** makes probabilities of them, which are
# positive and sum to 1:
#
# $$p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}$$
#
# Before the training the head is random, and both labels get about one half. **Fine-tuning** changed that. It takes
# the labelled reviews in small groups, called batches. After each batch it moves every parameter a little, in the
# direction that gives the right labels a higher probability. Chapters 1 and 2 show how. (The drawing is of another
# run, so its logits differ from those below.)

# %% tags=["nbval-ignore-output"]
import torch

batch = tokenizer("Loved it!", return_tensors="pt")
with torch.inference_mode():
    before = model.net.eval()(**batch).logits[0]
    after = run.model.net.eval()(**batch).logits[0]
columns = {
    "logits before": before,
    "softmax before": before.softmax(0),
    "logits after": after,
    "softmax after": after.softmax(0),
}
pd.DataFrame(columns, index=["negative", "positive"]).astype(float).round(3)

# %% tags=["hide-cell"]
assert ids == [101, 3866, 2009, 999, 102]
assert abs(before.softmax(0)[1] - 0.5) < 0.1
assert after.softmax(0)[1] > 0.9
by_hand = after.exp() / after.exp().sum()
assert torch.allclose(by_hand, after.softmax(0), atol=1e-6)

# %% [markdown]
# ### Six steps, five lines
#
# The article that this course follows describes fine-tuning in six steps. Here is where each of them is.
#
# | step of the article | line |
# | --- | --- |
# | 1 load a pretrained model | `load_model` |
# | 2 prepare the data | `load_data` |
# | 3 define the loss | inside `finetune`: cross-entropy, unless you give another |
# | 4 fine-tune, with strategies | `finetune`, with its `recipe` |
# | 5 evaluate | inside `finetune`, on the test split; `predict` lets you look yourself |
# | 6 save | `save` |
#
# ## How good is it?
#
# Type the name of a run, and you see its results on reviews that were not used in the training.

# %% tags=["nbval-ignore-output"]
run

# %% tags=["hide-cell"]
metrics = run.metrics.to_dict()
assert metrics["accuracy_low"] > 0.75, "far above 0.5, which guessing reaches"

# %% [markdown]
# ### Accuracy and F1, from four counts
#
# The **confusion matrix** counts the test reviews: a row for each true label, a column for each answer.

# %% tags=["nbval-ignore-output"]
confusion = run.metrics.confusion
assert confusion.to_numpy().sum() == len(data["test"])
confusion

# %% [markdown]
# **Accuracy** is the share of right answers. It misleads where one label is rare: with 95 complaints among 100
# reviews, a model that always says "negative" has an accuracy of 0.95 and is useless.
#
# So look at one label, here *positive*, and ask two questions. **Precision**: of the reviews that the model calls
# positive, what share really is positive? **Recall**: of the positive reviews, what share does it find? **F1** is the
# harmonic mean of the two, and it is high only if both are high. *F1 (macro)* in the table above is the mean of the
# two labels' F1.

# %% tags=["nbval-ignore-output"]
(true_neg, false_pos), (false_neg, true_pos) = confusion.to_numpy()
n = len(data["test"])
precision, recall = true_pos / (true_pos + false_pos), true_pos / (true_pos + false_neg)
f1 = 2 * precision * recall / (precision + recall)
print(f"accuracy   ({true_neg} + {true_pos}) / {n} = {(true_neg + true_pos) / n:.3f}")
print(f"precision  {true_pos} / ({true_pos} + {false_pos}) = {precision:.3f}")
print(f"recall     {true_pos} / ({true_pos} + {false_neg}) = {recall:.3f}")
print(f"F1         2 · precision · recall / (precision + recall) = {f1:.3f}")

# %% tags=["hide-cell"]
assert abs((true_neg + true_pos) / n - metrics["accuracy"]) < 1e-9
assert abs(f1 - metrics["f1"]) < 1e-9

# %% [markdown]
# ### AUC-ROC, from pairs
#
# **AUC-ROC** asks how well the model *ranks*. Take one positive and one negative review at random: how often does the
# positive one get the higher probability of being positive? Chance gives 0.5 and a perfect ranking 1. The cut-off
# between "negative" and "positive" plays no part. So a model that gives every review too high a probability, but puts
# the reviews in the right order, can still have a high AUC-ROC. (The name stands for the area under a curve, the ROC
# curve.)

# %% tags=["nbval-ignore-output"]
import numpy as np

true = np.array(data["test"]["label"])  # 0 is negative, 1 is positive
predicted = run.predict(data["test"]["text"])
probability = np.array([one["probabilities"]["positive"] for one in predicted])

wins = probability[true == 1][:, None] > probability[true == 0]
print(f"{wins.sum():,} of {wins.size:,} pairs in the right order: {wins.mean():.3f}")
assert abs(wins.mean() - metrics["auc_roc"]) < 1e-3

# %% [markdown]
# ### The interval
#
# With other test reviews, the accuracy would have come out a little different. How different? Draw as many reviews as
# there are from the test split, with replacement: some come twice, some not at all. Compute the accuracy of the draw.
# Do this a thousand times; the middle 95 % of the results are the **95 % interval**. This method is called the
# bootstrap.

# %% tags=["nbval-ignore-output"]
right = (probability > 0.5) == true
chance = np.random.default_rng(0)
drawn = [right[chance.integers(0, n, n)].mean() for _ in range(1000)]
low, high = np.percentile(drawn, [2.5, 97.5])
print(f"by hand       {right.mean():.3f}, 95 % interval {low:.3f} to {high:.3f}")
name, value, interval = run.metrics.rows()[0]
print(f"in the table  {value}, 95 % interval {interval}")
assert abs(low - metrics["accuracy_low"]) < 0.005

# %% [markdown]
# The interval tells you how the result would vary with a different test set. It says nothing about a different
# **seed**, the number that determines the random head and the order of the reviews. To compare two ways of training
# you need to know both, and from chapter 1 on you will.
#
# ### The curves
#
# Look again at the figure above. On the left, each dot is the **loss** of one batch: how surprised the model was by
# the right labels (chapter 1). It starts near log 2 = 0.69, the loss of a model that gives both labels one half. The
# line, a running mean, falls. One **epoch** is one pass through the training reviews, and this run made one. So each
# batch was new to the model, and it got better at reviews that it had not seen before.
#
# In the middle is the **learning rate**, which sets how far each update moves the parameters. It rises during the
# first tenth of the run and then falls to 0 (chapter 4). On the right are the results on the *validation* split after
# each epoch: here one dot each.
#
# Each split has its job. The model learns from *train*. You watch it on *validation* while you try things. You
# measure it once, at the end, on *test*.

# %% tags=["nbval-ignore-output"]
losses = np.array([record["loss"] for record in run.history])
tenth = len(losses) // 10
print(f"log 2                   {np.log(2):.2f}")
print(f"first tenth of the run  {losses[:tenth].mean():.2f}")
print(f"last tenth of the run   {losses[-tenth:].mean():.2f}")
assert losses[-tenth:].mean() < 0.5

# %% [markdown]
# ## What was done, in words and as an equation
#
# A **recipe** is a list of rules. `explain` reads any recipe; it needs no model and no data. In the equation, θ are
# the parameters, α is the learning rate and ∇J is the gradient of the loss. Each chapter of this course is about one
# part of it.

# %%
print(ftlab.explain([ClipNorm(1.0)]))

# %% [markdown]
# ## Open it anywhere
#
# `save` left an ordinary `transformers` folder: the weights as safetensors, the names of the labels, the tokenizer,
# and a model card. Anybody can open it without ftlab. You will find it in `runs/first`.

# %% tags=["hide-cell"]
import transformers

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

# %% tags=["nbval-ignore-output"]
from transformers import pipeline

print(sorted(one.name for one in Path("runs/first").iterdir()))
theirs = pipeline("text-classification", "runs/first")(sentences)
pd.DataFrame(
    {
        "sentence": sentences,
        "ftlab": scores,
        "pipeline": [one["score"] for one in theirs],
        "answer": [one["label"] for one in theirs],
    }
).round(4)

# %% tags=["hide-cell"]
assert labels == [one["label"] for one in theirs]
assert max(abs(a - b["score"]) for a, b in zip(scores, theirs, strict=True)) < 1e-4

# %% [markdown]
# ## Where it errs
#
# One number hides where a model errs. Each review also has a second label, its `phenomenon`: the way in which the
# opinion is expressed. The model never saw it.

# %% tags=["hide-input", "nbval-ignore-output"]
from scipy.stats import binomtest

marked = ftlab.load_data("reviews", task="phenomenon")["test"].select(range(n))
assert list(marked["text"]) == list(data["test"]["text"])
kinds = np.array(marked.features["label"].names)[marked["label"]]
rows = []
for kind in np.unique(kinds):
    hits = right[kinds == kind]
    interval = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="wilson")
    between = f"{interval.low:.2f} to {interval.high:.2f}"
    rows.append([kind, len(hits), hits.mean(), between])
columns = ["phenomenon", "reviews", "accuracy", "95 % interval"]
table = pd.DataFrame(rows, columns=columns).sort_values("accuracy", ascending=False)
low = {one[0]: float(one[3].split(" to ")[0]) for one in rows}
high = {one[0]: float(one[3].split(" to ")[1]) for one in rows}
assert low["plain"] > high["irony"]
table.round(2).reset_index(drop=True)

# %% [markdown]
# Plain reviews are easy, and the model does far worse on ironic ones. The intervals are wide where there are few
# reviews, so before you call one phenomenon harder than another, see whether their intervals overlap. [Which texts it
# gets wrong](12_which_texts.ipynb) goes on from here.
#
# ## The article's loop, as it was printed
#
# Now that you know what a working run looks like, here is one that only looks right. These are the code blocks of the
# article's section 4, one after the other, with not a character changed. All six steps are there. Read it once: how
# many faults do you count?

# %%
PRINTED = """\
from transformers import BertTokenizer, BertForSequenceClassification

tokenizer = BertTokenizer.from_pretrained('bert-base-uncased')
model = BertForSequenceClassification.from_pretrained('bert-base-uncased', num_labels=2)

import torch
from torch.utils.data import Dataset, DataLoader

class TextClassificationDataset(Dataset):
    def __init__(self, texts, labels, tokenizer, max_length):
        self.texts = texts
        self.labels = labels
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, idx):
        text = self.texts[idx]
        label = self.labels[idx]
        encoding = self.tokenizer.encode_plus(
            text,
            add_special_tokens=True,
            max_length=self.max_length,
            return_token_type_ids=False,
            padding='max_length',
            truncation=True,
            return_attention_mask=True,
            return_tensors='pt'
        )
        return {
            'input_ids': encoding['input_ids'].flatten(),
            'attention_mask': encoding['attention_mask'].flatten(),
            'labels': torch.tensor(label, dtype=torch.long)
        }

train_dataset = TextClassificationDataset(train_texts, train_labels, tokenizer, max_length=128)
val_dataset = TextClassificationDataset(val_texts, val_labels, tokenizer, max_length=128)
train_loader = DataLoader(train_dataset, batch_size=32, shuffle=True)
val_loader = DataLoader(val_dataset, batch_size=32, shuffle=False)

import torch.nn.functional as F

def compute_loss(logits, labels):
    return F.cross_entropy(logits, labels)

import torch.optim as optim

optimizer = optim.AdamW(model.parameters(), lr=5e-5)
num_epochs = 3

for epoch in range(num_epochs):
    model.train()
    for batch in train_loader:
        input_ids = batch['input_ids'].to(device)
        attention_mask = batch['attention_mask'].to(device)
        labels = batch['labels'].to(device)

        outputs = model(input_ids, attention_mask=attention_mask, labels=labels)
        loss = outputs.loss

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    # Evaluate on validation set
    model.eval()
    total_loss = 0
    correct = 0
    for batch in val_loader:
        input_ids = batch['input_ids'].to(device)
        attention_mask = batch['attention_mask'].to(device)
        labels = batch['labels'].to(device)

        with torch.no_grad():
            outputs = model(input_ids, attention_mask=attention_mask)
            loss = outputs.loss
            predictions = outputs.logits
            _, predicted = torch.max(predictions.data, 1)
            total_loss += loss.item()
            correct += (predicted == labels).sum().item()

    print(f'Epoch {epoch+1}/{num_epochs}, Loss: {total_loss/len(val_loader)}, Accuracy: {correct/len(val_loader)}')

model.save_pretrained('text_classification_model')
"""

# %% [markdown]
# We run it the way you would: start it, fix only the line at which it stops, and start it again. It gets 8 reviews to
# train on and 34 to validate, enough to see it run. (Where the listing loads the checkpoint `bert-base-uncased`, we
# give it the small BERT of this page instead. It stops at the same lines.)

# %% tags=["hide-cell"]
import contextlib
import os
import tempfile

from transformers import AutoTokenizer


@contextlib.contextmanager
def workbench():
    """Work in a temporary folder, in which a BERT lies under the listing's name for it.

    ``from_pretrained`` opens a folder before it asks the hub.
    """
    bare = ftlab.load_model("minilm", data)
    names = {0: "LABEL_0", 1: "LABEL_1"}
    bare.net.config.update(
        {"id2label": names, "label2id": {b: a for a, b in names.items()}}
    )
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        bare.net.base_model.save_pretrained("bert-base-uncased")
        bare.processor.save_pretrained("bert-base-uncased")
        yield


def attempt(listing: str) -> dict:
    """Run a listing; say at which line it stops, and why; return its variables."""
    torch.manual_seed(0)  # for this page only: the listing itself sets no seed
    variables: dict = {}
    try:
        exec(compile(listing, "listing", "exec"), variables)
    except Exception as error:
        frame, line = error.__traceback__, 0
        while frame:  # the innermost line that belongs to the listing
            here = frame.tb_frame.f_code.co_filename == "listing"
            line, frame = frame.tb_lineno if here else line, frame.tb_next
        print(f"stops: {listing.splitlines()[line - 1].strip()}")
        print(f"       {type(error).__name__}: {error}")
    return variables


def read_back(folder: str, text: str) -> list:
    """Return the files of a saved folder, and what a tokenizer loaded from it reads."""
    try:
        tokens = AutoTokenizer.from_pretrained(folder).tokenize(text)
    except OSError as error:
        tokens = f"OSError: {str(error).splitlines()[0]}"
    return [sorted(os.listdir(folder)), tokens]


# %% tags=["hide-input"]
FIXES = [
    (
        "give it texts and labels",
        "train_dataset = ",
        """\
import ftlab
reviews = ftlab.load_data("reviews")
train, val = reviews["train"].select(range(8)), reviews["validation"].select(range(34))
train_texts, train_labels = list(train["text"]), list(train["label"])
val_texts, val_labels = list(val["text"]), list(val["label"])
train_dataset = """,
    ),
    (
        "call the tokenizer: encode_plus is gone from transformers 5",
        "self.tokenizer.encode_plus(",
        "self.tokenizer(",
    ),
    (
        "say which device, and move the model there",
        "optimizer = optim",
        """\
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model.to(device)
optimizer = optim""",
    ),
    (
        "give the model the labels: without them it computes no loss",
        "outputs = model(input_ids, attention_mask=attention_mask)",
        "outputs = model(input_ids, attention_mask=attention_mask, labels=labels)",
    ),
]

listing = PRINTED
with workbench():
    for fix, before, after in FIXES:
        attempt(listing)
        print(f"fix:   {fix}\n")
        assert listing.count(before) == 1
        listing = listing.replace(before, after)

# %% [markdown]
# Four stops. The last is the nastiest: it comes only after a whole epoch of training, which can take an evening on a
# large data set. Now the listing runs to its end. Is it right?

# %% tags=["nbval-ignore-output"]
with workbench():
    variables = attempt(listing)
    files, tokens = read_back("text_classification_model", "Not one dull minute.")

# %% [markdown]
# ## It runs, and is still wrong
#
# **An accuracy above 1.** The listing divides the number of right answers by the number of *batches*. Its loss is a
# mean over batches too: the last batch holds 2 reviews and counts as much as the 32 before it. Divide by samples.

# %% tags=["nbval-ignore-output"]
hits, batches = variables["correct"], len(variables["val_loader"])
print(f"as printed  {hits} / {batches} batches = {hits / batches}")
print(f"accuracy    {hits} / 34 reviews = {hits / 34:.2f}")
assert hits / batches > 1 > hits / 34

# %% [markdown]
# **The model never moves, and the loss function is never used.** The batches are sent to `device`, but the model
# stays where it was loaded. On a CPU nobody notices. On a GPU the run stops at the first batch. `compute_loss` occurs
# only where it is defined.

# %%
for text in (".to(device)", "model.to(device)", "compute_loss"):
    print(f"{PRINTED.count(text)} × {text}")

# %% [markdown]
# **Every review is padded to 128 tokens.** All texts of a batch must have the same length, so short ones are filled
# up with `[PAD]`. The listing fills all of them up to 128, whatever their length, and the model spends time on every
# `[PAD]`.

# %%
texts = list(ftlab.load_data("reviews")["train"]["text"])  # all of them
lengths = [len(one) for one in tokenizer(texts)["input_ids"]]
mean = sum(lengths) / len(lengths)
print(f"tokens in a review: {mean:.0f} on average, at most {max(lengths)}")
print(f"padded to 128: {1 - mean / 128:.0%} of all tokens are padding")

# %% tags=["nbval-ignore-output"]
import time

spent = {"max_length": [], "longest": []}
for _ in range(2):  # alternating, so that both meet the same noise
    for padding, times in spent.items():
        batch = tokenizer(
            texts[:8], padding=padding, max_length=128, return_tensors="pt"
        )
        started = time.perf_counter()
        model.net(**batch).logits.sum().backward()
        times.append(time.perf_counter() - started)
model.net.zero_grad()
ratio = min(spent["max_length"]) / min(spent["longest"])
print(f"padded to 128, a batch takes {ratio:.1f} times as long as it needs to")
assert ratio > 1.3

# %% [markdown]
# **The tokenizer is not saved.** Anyone who opens the saved folder gets an error. Or something worse: some versions
# of transformers silently build an empty tokenizer, read every word as `[UNK]` (unknown), and answer anyway.

# %% tags=["nbval-ignore-output"]
print(files)
print("Not one dull minute. ->", tokens)
assert "tokenizer.json" not in files

# %% [markdown]
# **Nothing can be repeated.** There is no seed, so every run begins with a different head and a different order of
# the reviews. There is no decay of the learning rate either, although the article recommends it just above the
# listing.
#
# | fault | how it shows | what to do |
# | --- | --- | --- |
# | texts, labels, `device` undefined | `NameError` | define them |
# | `encode_plus` is gone from transformers 5 | `AttributeError` | call the tokenizer |
# | validation loss read without labels | `AttributeError` on `None`, after an epoch | give the labels |
# | model never moved | fails on every GPU | `model.to(device)` |
# | `compute_loss` unused | never called | use it, or leave it out |
# | padding to 128 | most tokens are padding | pad to the longest of the batch |
# | accuracy divided by batches | above 1 | divide by samples |
# | tokenizer not saved | the folder cannot be used, or answers nonsense | save it beside the model |
# | no seed, no schedule | a different result each time | set them, print them |
#
# ## The loop as it should have been
#
# Here is the loop in plain PyTorch with the faults fixed. Dropout (during training, it sets random values inside the
# model to 0) is off and the data order is fixed, because next we compare this loop with ftlab's, loss by loss.

# %%
by_torch, by_ftlab = model.copy().net, model.copy().net  # from the same start
for one in (*by_torch.modules(), *by_ftlab.modules()):
    if isinstance(one, torch.nn.Dropout):
        one.p = 0.0

batches = []
for first in range(0, 24, 8):
    part = data["train"][first : first + 8]
    batch = tokenizer(
        part["text"], padding="longest", truncation=True, return_tensors="pt"
    )
    batches.append({**batch, "labels": torch.tensor(part["label"])})

optimizer = torch.optim.AdamW(by_torch.parameters(), lr=5e-5, weight_decay=0.01)
torch_losses = []
by_torch.train()
for _ in range(2):
    for batch in batches:
        logits = by_torch(batch["input_ids"], batch["attention_mask"]).logits
        loss = torch.nn.functional.cross_entropy(logits, batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch_losses.append(loss.item())

# %% [markdown]
# ## The same updates with ftlab
#
# `finetune` is built on two functions that you can call yourself: `begin` prepares a training and `step` makes one
# update. With an empty recipe they *are* the loop above. (ftlab's own AdamW leaves biases and LayerNorm weights out
# of the weight decay. To agree to the last digit, we hand it the optimizer of the loop.)

# %% tags=["nbval-ignore-output"]
state = ftlab.begin(
    by_ftlab,
    batches,
    recipe=[],
    epochs=2,
    lr=5e-5,
    optimizer=lambda groups: torch.optim.AdamW(
        [one | {"weight_decay": 0.01} for one in groups]
    ),
)
ftlab_losses = [ftlab.step(state, batch)["loss"] for _ in range(2) for batch in batches]

updates = pd.RangeIndex(1, len(batches) * 2 + 1, name="update")
pd.DataFrame(
    {"plain PyTorch": torch_losses, "ftlab": ftlab_losses}, index=updates
).round(4)

# %% tags=["hide-cell"]
apart = max(abs(a - b) for a, b in zip(torch_losses, ftlab_losses, strict=True))
assert apart < 1e-5

# %% [markdown]
# ## Exercises
#
# Put your answer in place of the three dots. If your answer is wrong, the check gives a hint. The solution is folded
# below each task.
#
# ### Exercise 00.1
#
# The listing's validation loss is a mean over batches. With 97 texts in batches of 32, the last batch holds a single
# text. What is the weight of this text in the mean? (2 significant digits)

# %% tags=["solution"]
weight = 1 / 4  # four batches; the last one's mean is its only text
ftlab.check.exercise("00.1", weight)

# %% [markdown]
# ### Exercise 00.2
#
# Suppose a model is right about every one of 872 validation texts. What does the listing print as its accuracy? (3
# significant digits)

# %% tags=["solution"]
import math

printed = 872 / math.ceil(872 / 32)
ftlab.check.exercise("00.2", printed)

# %% [markdown]
# ### Exercise 00.3
#
# Write `accuracy(batches)`. It gets pairs of tensors, the predicted and the true labels of each batch, and returns
# the share of samples that are right, as a number. The batches differ in size.


# %% tags=["solution"]
def accuracy(batches):
    right = sum((predicted == true).sum().item() for predicted, true in batches)
    return right / sum(len(true) for _, true in batches)


ftlab.check.exercise("00.3", accuracy)

# %% [markdown]
# ### Exercise 00.4
#
# Put `Decay(0.9, per="epoch")` beside `ClipNorm(1.0)` in the recipe and let `explain` read it. Its last line says
# that something usual is now missing. What? (one word, as that line writes it)

# %% tags=["solution"]
missing = "warm-up"  # a recipe that names a schedule gets that one and no other
ftlab.check.exercise("00.4", missing)

# %% [markdown]
# ## Key points
#
# - Fine-tuning starts from a pretrained checkpoint, puts a new head on it, and trains both on labelled examples.
#   In ftlab this takes five lines.
# - A text becomes tokens, vectors, logits and, by softmax, probabilities.
# - A result is a number with an interval, on data that the model has not seen, with a seed that lets others repeat it.
# - A loop that runs is not always right. Check what the averages divide by, what is padded and what is saved. Then
#   compare it with a second implementation.
