# %% [markdown]
# # 10. My own csv, also on Colab
#
# From a table that somebody exported to a fine-tuned model that answers new rows, with the flaws that real tables have.
#
# **When you are through** (about 5 minutes to read, under 1 to run) you can
#
# - load a csv whose columns have other names, and read what is mentioned about it;
# - fine-tune on it, answer a new file, and keep the model, on your machine or on Colab;
# - say what a refusal means, and mend the file at the place that it names.
#
# You need a table with a column of texts and a column of labels. This page writes one.

# %% tags=["nbval-skip"]
import subprocess
import sys

if "google.colab" in sys.modules:  # on Colab: install your copy of the repository; its torch stays
    REPOSITORY = ""  # the address of your copy, as in https://github.com/you/ftlab
    assert REPOSITORY, "Write the address of your copy of the repository into REPOSITORY, then run this cell again."
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"ftlab[embedded] @ git+{REPOSITORY}"], check=True)

# %%
import csv
import logging
import os
import sys
import tempfile
from pathlib import Path

import pandas as pd
import transformers

import ftlab

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
logging.getLogger("ftlab").addHandler(logging.StreamHandler(sys.stdout))  # show what is mentioned on the page itself
workplace = tempfile.TemporaryDirectory()  # what this page saves goes there, and away again
os.chdir(workplace.name)

# %% [markdown]
# ## A table as they are
#
# Customers write, and somebody has sorted what they wrote: for the film desk or for the hotel desk. The columns are called
# `comment` and `desk`. The program that exported it has put a byte order mark in front, there is a blank row, and one label
# has a space behind it.

# %%
reviews = ftlab.load_data("reviews", task="topic")["train"]
names = reviews.features["label"].names
rows = [(row["text"], names[row["label"]]) for row in reviews if names[row["label"]] in ("film", "hotel")]
print(len(rows), "rows")

rows[3] = (rows[3][0], rows[3][1] + " ")
rows.insert(7, ("", ""))
with open("my.csv", "w", encoding="utf-8-sig", newline="") as file:  # "-sig" writes the byte order mark
    csv.writer(file).writerows([("comment", "desk"), *rows])
print(Path("my.csv").read_text(encoding="utf-8")[:120])

# %% [markdown]
# ## Load it
#
# `text=` and `label=` name the columns. Nothing is guessed silently: what was found and mended is mentioned, in lines that
# begin with `note:`. Read them; each is harmless, or else it is the reason why your numbers are odd.

# %%
data = ftlab.load_data("my.csv", text="comment", label="desk")
for split, part in data.items():
    print(f"{split:10} {len(part)} rows")
print(data["train"].features["label"].names)
assert sum(map(len, data.values())) == len(rows) - 1
assert data["train"].features["label"].names == ["film", "hotel"]

# %% [markdown]
# One file was split: 80 % to train on, 10 % for validation, 10 % for test, each label in the same proportion in
# all three, and always the same rows. Do you have splits of your own? Put `train.csv`, `validation.csv` and `test.csv` in a folder, and load the folder.
#
# ## Fine-tune
#
# With a few hundred rows take a greater learning rate than with many thousands, and look at the interval.

# %% tags=["nbval-ignore-output"]
model = ftlab.load_model("minilm", data)
run = ftlab.finetune(model, data, epochs=3, lr=3e-4, seed=0, progress=False)
print(run.metrics)
assert run.metrics["accuracy"] > 0.6

# %% [markdown]
# ## Answer a new file
#
# New rows have no label. Read them with pandas, let the model answer, and write its answers beside them, with its
# probability: who reads them will want to begin with the unsure ones.

# %%
pd.DataFrame({"comment": [
    "The pillows were hard and the corridor smelled of paint.",
    "Two hours of a man looking out of a window, and I did not want it to end.",
    "They gave us a room above the kitchen.",
    "The sequel has the same jokes, told by a worse actor.",
]}).to_csv("new.csv", index=False)  # fmt: skip

# %% tags=["nbval-ignore-output"]
new = pd.read_csv("new.csv")
answers = run.predict(new["comment"])
new["desk"] = [answer["label"] for answer in answers]
new["probability"] = [round(answer["score"], 3) for answer in answers]
new.to_csv("answered.csv", index=False)
print(new.to_string(index=False, max_colwidth=50))
assert [new["desk"][place] for place in (0, 2, 3)] == ["hotel", "hotel", "film"]
assert new["probability"].idxmin() == 1

# %% [markdown]
# The second text names no film and no room, and of it the model is least sure.
#
# ## Keep the model
#
# `save` leaves an ordinary `transformers` folder. Load that folder to go on, tomorrow or on another machine.

# %% tags=["nbval-ignore-output"]
run.save("my_model")
again = ftlab.load_model("my_model")
print(sorted(path.name for path in Path("my_model").iterdir()))
same = ftlab.predict(again, new["comment"])
print("the same answers:", [one["label"] for one in same] == list(new["desk"]))
assert [one["label"] for one in same] == list(new["desk"])

# %% [markdown]
# ## On Colab: where the file goes
#
# Choose a GPU first: *Runtime*, *Change runtime type*. Then one of two ways. The first asks for a file from your machine
# and puts it in the working directory; it is gone when the session ends:
#
# ```python
# from google.colab import files
#
# files.upload()  # a file of another name than those on this page
# data = ftlab.load_data("mine.csv", text="comment", label="desk")
# ```
#
# The second opens your Drive as a folder. What you save there stays, so save the model there too:
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
# ## When it is refused
#
# A file that cannot be read whole is refused before any work, with the place and with what to do. Here are the three
# refusals that people meet most. First, the names of the columns:


# %%
def attempt(source, **columns):
    try:
        ftlab.load_data(source, **columns)
    except ftlab.Refused as error:
        print(error)


attempt("my.csv")

# %% [markdown]
# Second, a comma in a text without quotes around it. The line is counted as your editor counts it:

# %%
Path("comma.csv").write_text("comment,desk\nA dull plot.,film\nCold, damp and loud.,hotel\n", encoding="utf-8")
attempt("comma.csv", text="comment", label="desk")

# %% [markdown]
# Third, a file that is not in UTF-8, as older spreadsheets write it. The first byte that does not fit is named:

# %%
Path("latin.csv").write_bytes("comment,desk\nNo heating but in the café.,hotel\n".encode("latin-1"))
attempt("latin.csv", text="comment", label="desk")

# %% [markdown]
# ## Exercises
#
# ### Exercise 10.1
#
# This file is refused. In which line of the file, as your editor counts, stands the row that lacks its label? The refusal
# counts rows: without the header, and without blank lines.

# %%
Path("lacking.csv").write_text(
    "comment,desk\nThe room was cold.,hotel\n,\nA dull plot.,film\nThe lift was out of order.,hotel\nTwo hours too long.,\n",
    encoding="utf-8",
)
attempt("lacking.csv", text="comment", label="desk")

# %% tags=["solution"]
line = 4 + 1 + 1  # the fourth row, the header, and the blank line before it
ftlab.check.exercise("10.1", line)

# %% [markdown]
# ### Exercise 10.2
#
# A file has 250 rows, 125 of each of two labels, and no text twice. How many rows will you train on?

# %% tags=["solution"]
kept = 250 - 25 - 25
ftlab.check.exercise("10.2", kept)

# %% [markdown]
# ## Key points
#
# - `load_data("my.csv", text=..., label=...)`, `load_model`, `finetune`, `predict`, `save`: nothing else is needed.
# - Read the notes. A row that cannot be learned from is refused by its place, never dropped silently.
# - On Colab, what is not saved to your Drive or downloaded is gone when the session ends.

# %% tags=["nbval-skip"]
os.chdir(Path.home())
workplace.cleanup()
