"""The command line. Each command calls the function of the same name and imports heavy packages only when it runs."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="A fine-tuning laboratory.\n\nFirst steps: ftlab doctor, then ftlab finetune --data reviews --output runs/first",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

DataOption = Annotated[
    str, typer.Option(help="reviews, tricky_reviews, digits, extraction, instructions, a file, a folder, or a hub id.")
]
TextOption = Annotated[str | None, typer.Option(help="The column with the texts.  [default: text]")]
LabelOption = Annotated[str | None, typer.Option(help="The column with the labels.  [default: label]")]
TaskOption = Annotated[
    str | None,
    typer.Option(help="classification, multilabel or regression; of reviews: sentiment, topic or phenomenon."),
]
RuleOption = Annotated[list[str] | None, typer.Option(help='A rule, such as "ClipNorm(1.0)"; may be repeated.')]
OptimizerOption = Annotated[str, typer.Option(help="adamw, sgd, signsgd, signum, lion or adabound.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FINETUNE = """Fine-tune a pretrained model on labelled texts.

\b
Example:
  ftlab finetune --data reviews --rule "Reinit(0.15)" --rule "ClipNorm(1.0)" --output runs/first
"""
EVALUATE = """Measure a fine-tuned model on labelled texts.

\b
Example:
  ftlab evaluate runs/first --data my_test.csv
"""
PREDICT = """Predict labels for texts; - reads lines from standard input.

\b
Example:
  ftlab predict runs/first "a quiet little gem" "it broke on day two"
"""
EXPLAIN = """Explain a recipe, in words and as an equation.

\b
Example:
  ftlab explain --rule "Decay(0.9, per='epoch')" --rule "ClipNorm(1.0)"
"""
COMPARE = """Compare recipes over paired seeds: each arm is compared with the first in the file.

\b
Example of recipes.toml:
  [plain]
  [clipped]
  recipe = ["ClipNorm(1.0)"]
\b
Example:
  ftlab compare recipes.toml --seeds 10 --figure differences.png
"""
DOCTOR = """Show the device, precision, threads, versions and embedded data.

\b
Example:
  ftlab doctor
"""


@app.command(help=FINETUNE)
def finetune(
    data: DataOption = "reviews",
    model: Annotated[str, typer.Option(help="minilm, a transformers folder, or a hub id.")] = "minilm",
    text: TextOption = None,
    label: LabelOption = None,
    task: TaskOption = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training rows.")] = 3,
    lr: Annotated[float, typer.Option(help="The peak learning rate.")] = 5e-5,
    batch_size: Annotated[int, typer.Option(help="Rows per update.")] = 32,
    accumulate: Annotated[
        int,
        typer.Option(help="Micro-batches per update (gradient accumulation), for batches that do not fit in memory."),
    ] = 1,
    max_length: Annotated[int, typer.Option(help="Tokens kept per text; longer texts are cut.")] = 128,
    seed: Annotated[int, typer.Option(help="The seed of all random draws.")] = 0,
    rule: RuleOption = None,
    optimizer: OptimizerOption = "adamw",
    engine: Annotated[str, typer.Option(help="auto, reference (fp32), fast (bf16) or fast-fp32.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    new_head: Annotated[bool, typer.Option("--new-head", help="Replace the head of a fine-tuned model.")] = False,
    output: Annotated[str | None, typer.Option(help="A folder for the model, metrics, history and curves.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run in the output folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the newest checkpoint.")] = False,
    save_every: Annotated[int | None, typer.Option(help="Updates between checkpoints.  [default: none]")] = None,
    debug: DebugOption = False,
) -> None:
    """Fine-tune, print the metrics and the paths of the files."""
    from ftlab.recipes.explain import explain
    from ftlab.recipes.parse import check_recipe
    from ftlab.training.finetune import finetune as run_finetune
    from ftlab.training.run_folder import check_output
    from ftlab.training.settings import Settings

    arguments: dict[str, Any] = {
        "epochs": epochs,
        "lr": lr,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "max_length": max_length,
        "seed": seed,
        "recipe": check_recipe(rule or []),
        "optimizer": optimizer,
        "engine": engine,
        "device": device,
        "save_every": save_every,
    }
    Settings(**arguments)
    if output is not None:
        check_output(Path(output), overwrite=overwrite, resume=resume)

    from ftlab.data.load import load_data
    from ftlab.errors import InterruptionError
    from ftlab.models.load import load_model

    examples = load_data(data, text=text, label=label, task=task)
    print(explain(arguments["recipe"], optimizer) + "\n", flush=True)
    try:
        run = run_finetune(
            load_model(model, examples, new_head=new_head),
            examples,
            **arguments,
            resume=resume,
            output=output,
            overwrite=overwrite,
        )
    except InterruptionError as stop:
        print(stop, file=sys.stderr)
        raise typer.Exit(130) from None
    print(run.summary())
    print(_saved_files(output))


@app.command(help=EVALUATE)
def evaluate(
    model: Annotated[str, typer.Argument(help="An output folder of finetune, or any fine-tuned model.")],
    data: DataOption = "reviews",
    text: TextOption = None,
    label: LabelOption = None,
    task: TaskOption = None,
    split: Annotated[
        str | None, typer.Option(help="A split of the data.  [default: all of a single file, else test or validation]")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens kept per text; longer texts are cut.  [default: as in training]")
    ] = None,
    exact_match: Annotated[
        bool, typer.Option("--exact-match", help="Generate a response to each row, and compare it with the true one.")
    ] = False,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print the table of metrics, and the confusion matrix."""
    from ftlab.data.load import load_data, load_rows
    from ftlab.errors import argument_error
    from ftlab.evaluation.inference import evaluate as run_evaluate
    from ftlab.models.load import load_model

    loaded = load_model(model)
    if Path(data).is_file() and split is None:
        name, rows = Path(data).name, load_rows(data, loaded.task, text=text, label=label)
    else:
        splits = load_data(data, text=text, label=label, task=task or _task_of_reviews(data, loaded))
        name = split or ("test" if "test" in splits else "validation")
        if name not in splits:
            raise argument_error("evaluate", "split", f"be one of {', '.join(splits)}", repr(name), "Choose one")
        rows = splits[name]
    metrics = run_evaluate(loaded, rows, split=name, max_length=max_length, exact_match=exact_match)
    if json_:
        print(json.dumps(metrics.to_dict(), ensure_ascii=False))
        return
    print(metrics)
    if metrics.confusion is not None:
        print(f"\ntrue classes in rows, predicted classes in columns:\n{metrics.confusion.to_string()}")


@app.command(help=PREDICT)
def predict(
    model: Annotated[str, typer.Argument(help="An output folder of finetune, or any fine-tuned model.")],
    texts: Annotated[list[str], typer.Argument(help="Texts, or prompts; - reads lines from standard input.")],
    max_length: Annotated[
        int | None, typer.Option(help="Tokens kept per text; longer texts are cut.  [default: as in training]")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="The most tokens of a generated response.")] = 64,
    temperature: Annotated[float, typer.Option(help="0: always the most probable token; above 0: draw.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The seed of the draws.")] = 0,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print one line per text; of a generated response, a line break becomes a space. A blank line gives an empty one."""
    from ftlab.display.predictions import as_line
    from ftlab.evaluation.inference import predict as run_predict
    from ftlab.models.load import load_model

    lines = [line for text in texts for line in (_lines_of_input() if text == "-" else [text])]
    given = [line for line in lines if line.strip()] if "-" in texts else lines
    found = run_predict(
        load_model(model),
        given,
        max_length=max_length,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=seed,
    )
    predictions = iter(found)
    for text in lines:
        prediction = next(predictions) if text.strip() else {}
        print(json.dumps({"text": text, **prediction}, ensure_ascii=False) if json_ else as_line(text, prediction))


def _lines_of_input() -> list[str]:
    """Return the lines of standard input. Only a line feed ends a line; a blank line stays, so that none shifts."""
    from ftlab.errors import input_error, note

    try:
        content = sys.stdin.buffer.read().decode("utf-8-sig") if hasattr(sys.stdin, "buffer") else sys.stdin.read()
    except UnicodeDecodeError as error:
        got = f"byte 0x{error.object[error.start]:02x} at position {error.start + 1}"
        raise input_error("predict", "standard input", "be UTF-8 text", got, "Convert it, as with iconv") from error
    lines = [line.removesuffix("\r") for line in content.removesuffix("\n").split("\n")] if content else []
    if blank := sum(not line.strip() for line in lines):
        note("predict", f"{blank} blank {'line gives' if blank == 1 else 'lines give'} an empty line.")
    return lines


@app.command(help=EXPLAIN)
def explain(rule: RuleOption = None, optimizer: OptimizerOption = "adamw", debug: DebugOption = False) -> None:
    """Print the plan."""
    from ftlab.recipes.explain import explain as run_explain

    print(run_explain(rule or [], optimizer))


@app.command(help=COMPARE)
def compare(
    recipes: Annotated[str, typer.Argument(help="A TOML file with one table per arm: recipe, lr, epochs, ...")],
    seeds: Annotated[int, typer.Option(help="The number of seeds, at least 2.")] = 10,
    data: DataOption = "reviews",
    model: Annotated[str, typer.Option(help="minilm, a transformers folder, or a hub id.")] = "minilm",
    text: TextOption = None,
    label: LabelOption = None,
    task: TaskOption = None,
    figure: Annotated[str | None, typer.Option(help="Write a figure of the differences to this file.")] = None,
    debug: DebugOption = False,
) -> None:
    """Print the table of the comparison."""
    from ftlab.data.load import load_data
    from ftlab.display.plots import check_figure
    from ftlab.experiments.compare import compare as run_compare

    if figure:
        check_figure("compare", figure)
    comparison = run_compare(recipes, load_data(data, text=text, label=label, task=task), model, seeds=seeds)
    print(comparison)
    if figure:
        comparison.figure().savefig(figure, dpi=110)
        print(f"\ndifferences  {figure}")


@app.command(help=DOCTOR)
def doctor(json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Print the facts about this machine."""
    from ftlab.diagnostics import doctor as run_doctor, facts

    print(facts() if json_ else run_doctor())


def _saved_files(output: str | None) -> str:
    """Return the paths of the main files that a run has saved."""
    if output is None:
        return "\nNothing was saved; --output DIR saves the model."
    files = {"model": "model", "metrics": "metrics.json", "curves": "curves.png"}
    from ftlab.display.table import as_text

    return "\n" + as_text((title, Path(output, name)) for title, name in files.items())


def _task_of_reviews(data: str, loaded: Any) -> str | None:
    """Return the task of the embedded reviews whose labels are the model's, if ``data`` is one of these sets."""
    from ftlab.data.load import REVIEW_LABELS, REVIEWS, load_data

    if data not in REVIEWS:
        return None
    matching = (task for task in REVIEW_LABELS if _names(load_data(data, task=task)) == loaded.task.names)
    return next(matching, None)


def _names(data: Any) -> tuple[str, ...]:
    return tuple(data["train"].features["label"].names)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 success, 1 failure, 2 wrong usage, 130 stopped by hand."""
    arguments = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a terminal that lacks a character
    from ftlab.errors import ArgumentError, DivergenceError, InputError

    try:
        app(arguments, standalone_mode=True)
    except (InputError, DivergenceError) as error:
        if "--debug" in arguments:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ArgumentError) else 1)
    except Exception as error:
        if "--debug" in arguments:
            raise
        message = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"error: unexpected {message[:300]}. Add --debug to see where it comes from.", file=sys.stderr)
        sys.exit(1)
