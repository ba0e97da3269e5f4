# %% [markdown]
# # 10. My own csv, also on Colab
#
# You have a table with a column of texts and a column of labels. On this page such a table, with the flaws that real
# tables have, becomes a fine-tuned model that labels new rows.
#
# **When you are through** (about 25 minutes to read and work through, about 1 minute to run) you can
#
# - load a csv file whose columns have any names, and read the notes that `load_data` prints about it;
# - fine-tune on it, label a file of new rows, and keep the model, on your machine or on Colab;
# - read the message when `load_data` refuses a file, and fix the line that it names.
#
# The page writes its own files to the folder `runs/my_csv/`. They stay there, so open them in an editor as you read.

# %% tags=["hide-input"]
import csv
import logging
import sys
from pathlib import Path

import pandas as pd
from scipy.stats import binomtest

import ftlab

# ftlab's notes go to the logger "ftlab": print them on the page
logging.getLogger("ftlab").addHandler(logging.StreamHandler(sys.stdout))
folder = Path("runs/my_csv")
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## A table as people export it
#
# Imagine a magazine that reviews films and hotels. Its readers send in comments, and somebody has sorted 400 of them: each
# goes to the film desk or to the hotel desk. We make this table from the reviews that come with
# ftlab. The columns are called `comment` and `desk`.
#
# The export has three common flaws. The file begins with a *byte order mark*, three invisible bytes that some
# spreadsheet programs write. One label has a space after it. One row is blank.

# %%
reviews = ftlab.load_data("reviews", task="topic")["train"]
names = reviews.features["label"].names
rows = [(row["text"], names[row["label"]]) for row in reviews]
rows = [row for row in rows if row[1] in ("film", "hotel")][:400]

text, desk = rows[3]
rows[3] = (text, desk + " ")  # the space behind a label
rows.insert(7, ("", ""))  # the blank row
table = folder / "my.csv"
with open(table, "w", encoding="utf-8-sig", newline="") as file:  # "-sig": the mark
    csv.writer(file).writerows([("comment", "desk"), *rows])

print("the first bytes:", table.read_bytes()[:16])
for number, line in enumerate(table.read_text("utf-8-sig").splitlines()[:10], start=1):
    print(
        f"{number:2} |{line if len(line) < 72 else line[:36] + ' ... ' + line[-30:]}|"
    )

# %% [markdown]
# `\xef\xbb\xbf` is the byte order mark. Line 5 ends in a space, and line 9 is blank.
#
# ## Load it
#
# `text=` and `label=` name the columns. Everything that `load_data` repairs or leaves out, it reports in a line that begins
# with `note:`. Read these lines. Usually they are harmless, and sometimes they explain why your numbers are odd.

# %%
data = ftlab.load_data(table, text="comment", label="desk")
for split, part in data.items():
    print(f"{split:10} {len(part):3} rows")
print("labels:", data["train"].features["label"].names)

# %% tags=["hide-cell"]
assert [len(part) for part in data.values()] == [320, 40, 40]
assert data["train"].features["label"].names == ["film", "hotel"]

# %% [markdown]
# A single file is split into 80 % for training, 10 % for validation and 10 % for test. Each split holds the labels in the
# same proportion, and the same file is always split in the same way. If you have your own splits, put `train.csv`,
# `validation.csv` and `test.csv` into a folder and load the folder.
#
# ## Fine-tune
#
# A small table gives few updates, so we take smaller batches and a higher learning rate than the defaults (32 and 5e-5).

# %% tags=["nbval-ignore-output"]
model = ftlab.load_model("minilm", data)
run = ftlab.finetune(
    model, data, epochs=2, lr=1e-4, batch_size=16, seed=0, progress=False
)
count, accuracy = run.metrics.n, run.metrics["accuracy"]
right = round(count * accuracy)
interval = binomtest(right, count).proportion_ci(method="wilson")
low, high = interval.low, interval.high
print(f"{right} of {count} test rows are right: accuracy {accuracy:.3f}")
print(f"95 % interval (Wilson) {low:.3f} to {high:.3f}; always guessing film: 0.50")
assert low > 0.7

# %% [markdown]
# The interval says how far this accuracy may be from the accuracy on many more rows of the same kind. It is wide because
# the test split is small. It still lies far above 0.5, so the model has learned the task. A cell
# that ends in `run` shows all metrics and the curves.
#
# ## Answer a new file
#
# New rows have no label. Read them with pandas, let the model answer, and write its answers and their probabilities beside the
# texts. Whoever checks the answers can then begin with the least confident ones.

# %%
comments = [
    "The pillows were hard and the corridor smelled of paint.",
    "Two hours of a man looking out of a window, and I did not want it to end.",
    "They gave us a room above the kitchen.",
    "The sequel has the same jokes, told by a worse actor.",
    "I would not go again.",
]
pd.DataFrame({"comment": comments}).to_csv(folder / "new.csv", index=False)

# %% tags=["nbval-ignore-output"]
new = pd.read_csv(folder / "new.csv")
answers = run.predict(new["comment"])
new["desk"] = [answer["label"] for answer in answers]
new["probability"] = [round(answer["score"], 3) for answer in answers]
new.to_csv(folder / "answered.csv", index=False)
print(new.sort_values("probability").to_string(index=False, max_colwidth=60))

# %% [markdown]
# The two texts at the top name neither a film nor a hotel. The probability of each answer is close to 0.5, which tells you that
# the model is guessing. The other three answers are right.

# %% tags=["hide-cell"]
assert [new["desk"][place] for place in (0, 2, 3)] == ["hotel", "hotel", "film"]
vague, clear = new["probability"][[1, 4]], new["probability"][[0, 2, 3]]
assert vague.max() < 0.75
assert clear.min() > 0.85

# %% [markdown]
# ## Keep the model
#
# `save` writes an ordinary `transformers` folder. Load that folder to continue tomorrow, or on another machine. The loaded
# model gives the same answers:

# %% tags=["nbval-ignore-output"]
run.save(folder / "model")
print(*sorted(path.name for path in (folder / "model").iterdir()))
again = ftlab.load_model(folder / "model")
for before, after in zip(answers, ftlab.predict(again, new["comment"]), strict=True):
    print(
        f"before {before['label']:5} {before['score']:.4f}"
        f"   loaded {after['label']:5} {after['score']:.4f}"
    )
    assert before["label"] == after["label"]
    assert abs(before["score"] - after["score"]) < 1e-4

# %% [markdown]
# The same job without Python, in a terminal:
#
# ```
# ftlab finetune --data my.csv --text comment --label desk --epochs 2 --lr 1e-4 --batch-size 16 --output runs/mine
# ftlab predict runs/mine "They gave us a room above the kitchen."
# ```
#
# ## On Colab: where the file goes
#
# Colab runs notebooks on Google's computers, in your browser. First choose a GPU: *Runtime*, then *Change runtime
# type*. There are two ways to bring a file in. You can upload it from your computer. It is then in the working
# directory, and it is gone when the Colab session ends:
#
# ```python
# from google.colab import files
#
# files.upload()  # choose mine.csv
# data = ftlab.load_data("mine.csv", text="comment", label="desk")
# ```
#
# Or you can mount your Google Drive as a folder. What you save there stays, so save the model there too:
#
# ```python
# from google.colab import drive
#
# drive.mount("/content/drive")
# data = ftlab.load_data("/content/drive/MyDrive/mine.csv", text="comment", label="desk")
# ...
# run.save("/content/drive/MyDrive/my_model")
# ```
#
# ## When a file is refused
#
# `load_data` checks the whole file before any training. If a row cannot be used, it refuses the file, names the place and
# says what to do. Rows are never dropped silently. These are the three refusals that people meet most often.
#
# **The columns have other names.** You did not say which column holds the texts:


# %%
def attempt(file, **columns):
    """Load a file, and print the refusal if there is one."""
    try:
        ftlab.load_data(file, **columns)
    except ftlab.InputError as error:
        print(error)


attempt(folder / "my.csv")

# %% [markdown]
# **A text contains a comma and has no quotes around it.** The line number is the one that your editor shows:

# %%
comma = folder / "comma.csv"
comma.write_text(
    "comment,desk\nA dull plot.,film\nCold, damp and loud.,hotel\n", encoding="utf-8"
)
attempt(comma, text="comment", label="desk")

# %% [markdown]
# **The file is not in UTF-8.** Older spreadsheet programs write other encodings. The message names the first byte that
# does not fit:

# %%
latin = folder / "latin.csv"
latin.write_bytes("comment,desk\nNo heating but in the café.,hotel\n".encode("latin-1"))
attempt(latin, text="comment", label="desk")

# %% [markdown]
# ## Exercises
#
# ### Exercise 10.1
#
# This file is refused. The refusal counts *rows*: the header and blank lines do not count. On which *line* of the file, as
# your editor shows it, is the row whose label is missing?

# %%
lacking = folder / "lacking.csv"
lacking.write_text(
    "comment,desk\nThe room was cold.,hotel\n,\nA dull plot.,film\n"
    "The lift was out of order.,hotel\nTwo hours too long.,\n",
    encoding="utf-8",
)
attempt(lacking, text="comment", label="desk")

# %% tags=["solution"]
line = 4 + 1 + 1  # the fourth row, the header, and the blank line before it
ftlab.check.exercise("10.1", line)

# %% [markdown]
# ### Exercise 10.2
#
# A file has 250 rows, 125 for each of two labels. No text occurs twice. How many rows will you train on?

# %% tags=["solution"]
kept = 250 - 25 - 25
ftlab.check.exercise("10.2", kept)

# %% [markdown]
# ## Key points
#
# - The whole job is five calls: `load_data("my.csv", text=..., label=...)`, `load_model`, `finetune`, `predict`, `save`.
# - Read the notes. A row that cannot be used is refused, with its place in the file; it is never dropped silently.
# - With a small test split, look at the interval before you believe the accuracy.
# - On Colab, whatever you do not save to your Drive or download is gone when the session ends.
