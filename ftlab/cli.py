"""The command line. Each command calls the function of the same name; heavy imports wait until one is chosen."""

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

DataOption = Annotated[str, typer.Option(help="reviews, tricky_reviews, digits, a file, a folder, or a hub id.")]
TextOption = Annotated[str | None, typer.Option(help="The column with the texts.  [default: text]")]
LabelOption = Annotated[str | None, typer.Option(help="The column with the labels.  [default: label]")]
TaskOption = Annotated[
    str | None,
    typer.Option(help="classification, multilabel or regression; of reviews: sentiment, topic or phenomenon."),
]
RuleOption = Annotated[list[str] | None, typer.Option(help='A rule, such as "ClipNorm(1.0)"; may stand many times.')]
OptimizerOption = Annotated[str, typer.Option(help="adamw, sgd, signsgd, signum, lion or adabound.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
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
PREDICT = """Say what a fine-tuned model makes of texts; - reads lines from standard input.

\b
Example:
  ftlab predict runs/first "a quiet little gem" "it broke on day two"
"""
EXPLAIN = """Explain a recipe, in words and as an equation.

\b
Example:
  ftlab explain --rule "Decay(0.9, per='epoch')" --rule "ClipNorm(1.0)"
"""
COMPARE = """Compare recipes over paired seeds: each arm is held against the first of the file.

\b
Example of recipes.toml:
  [plain]
  [clipped]
  recipe = ["ClipNorm(1.0)"]
\b
Example:
  ftlab compare recipes.toml --seeds 10 --figure differences.png
"""
DOCTOR = """Say what this machine brings to fine-tuning, and what is embedded.

\b
Example:
  ftlab doctor
"""


@app.command(help=FINETUNE)
def finetune(
    data: DataOption = "reviews",
    model: Annotated[str, typer.Option(help="minilm, a folder of transformers, or a hub id.")] = "minilm",
    text: TextOption = None,
    label: LabelOption = None,
    task: TaskOption = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training rows.")] = 3,
    lr: Annotated[float, typer.Option(help="The learning rate at its peak.")] = 5e-5,
    batch_size: Annotated[int, typer.Option(help="Rows per update.")] = 32,
    accumulate: Annotated[
        int,
        typer.Option(help="Micro-batches per update (gradient accumulation), for batches that do not fit in memory."),
    ] = 1,
    max_length: Annotated[int, typer.Option(help="The most tokens that a text keeps.")] = 128,
    seed: Annotated[int, typer.Option(help="Of the new head and of the data's order.")] = 0,
    rule: RuleOption = None,
    optimizer: OptimizerOption = "adamw",
    engine: Annotated[str, typer.Option(help="auto, reference (fp32), fast (bf16) or fast-fp32.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cuda, mps or cpu.")] = "auto",
    new_head: Annotated[bool, typer.Option("--new-head", help="Replace the head of a fine-tuned model.")] = False,
    output: Annotated[str | None, typer.Option(help="A folder for model, metrics, history and curves.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="The folder may hold another run.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    save_every: Annotated[int | None, typer.Option(help="Write a checkpoint every so many updates.")] = None,
    debug: DebugOption = False,
) -> None:
    """Fine-tune, print the table, say where the model is."""
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
    print(_left(output))


@app.command(help=EVALUATE)
def evaluate(
    model: Annotated[str, typer.Argument(help="A folder that finetune left, or any fine-tuned model.")],
    data: DataOption = "reviews",
    text: TextOption = None,
    label: LabelOption = None,
    task: TaskOption = None,
    split: Annotated[
        str | None, typer.Option(help="A split of the data.  [default: a file: all of it; else test]")
    ] = None,
    max_length: Annotated[int, typer.Option(help="The most tokens that a text keeps.")] = 128,
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
    metrics = run_evaluate(loaded, rows, split=name, max_length=max_length)
    if json_:
        print(json.dumps(metrics.to_dict(), ensure_ascii=False))
        return
    print(metrics)
    if metrics.confusion is not None:
        print(f"\ntrue classes in rows, predicted ones in columns:\n{metrics.confusion.to_string()}")


@app.command(help=PREDICT)
def predict(
    model: Annotated[str, typer.Argument(help="A folder that finetune left, or any fine-tuned model.")],
    texts: Annotated[list[str], typer.Argument(help="Texts; - reads lines from standard input.")],
    max_length: Annotated[int, typer.Option(help="The most tokens that a text keeps.")] = 128,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Print a line for each text."""
    from ftlab.evaluation.inference import predict as run_predict
    from ftlab.models.load import load_model

    lines: list[str] = []
    for text in texts:
        lines += [line for line in sys.stdin.read().splitlines() if line.strip()] if text == "-" else [text]
    for text, one in zip(lines, run_predict(load_model(model), lines, max_length=max_length), strict=True):
        if json_:
            print(json.dumps({"text": text, **one}, ensure_ascii=False))
        elif "label" in one:
            print(f"{one['label']}\t{one['score']:.3f}\t{text}")
        else:
            print(f"{one['value']:.3f}\t{text}" if "value" in one else f"{'|'.join(one['labels'])}\t{text}")


@app.command(help=EXPLAIN)
def explain(rule: RuleOption = None, optimizer: OptimizerOption = "adamw", debug: DebugOption = False) -> None:
    """Print the plan."""
    from ftlab.recipes.explain import explain as run_explain

    print(run_explain(rule or [], optimizer))


@app.command(help=COMPARE)
def compare(
    recipes: Annotated[str, typer.Argument(help="A TOML file with a table an arm: recipe, lr, epochs, ...")],
    seeds: Annotated[int, typer.Option(help="How many, at least 2.")] = 10,
    data: DataOption = "reviews",
    model: Annotated[str, typer.Option(help="minilm, a folder of transformers, or a hub id.")] = "minilm",
    text: TextOption = None,
    label: LabelOption = None,
    task: TaskOption = None,
    figure: Annotated[str | None, typer.Option(help="Draw the differences into this file.")] = None,
    debug: DebugOption = False,
) -> None:
    """Print the table of arms."""
    from ftlab.data.load import load_data
    from ftlab.display.plots import check_figure
    from ftlab.experiments.compare import compare as run_compare

    if figure:
        check_figure("compare", figure)
    found = run_compare(recipes, load_data(data, text=text, label=label, task=task), model, seeds=seeds)
    print(found)
    if figure:
        found.figure().savefig(figure, dpi=110)
        print(f"\ndifferences  {figure}")


@app.command(help=DOCTOR)
def doctor(json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Print what there is."""
    from ftlab.diagnostics import doctor as run_doctor, facts

    print(facts() if json_ else run_doctor())


def _left(output: str | None) -> str:
    """Say what a run has left on disk."""
    if output is None:
        return "\nNothing was saved; --output DIR keeps the model."
    kept = {"model": "model", "metrics": "metrics.json", "curves": "curves.png"}
    from ftlab.display.table import as_text

    return "\n" + as_text((what, Path(output, name)) for what, name in kept.items())


def _task_of_reviews(data: str, loaded: Any) -> str | None:
    """Return the label of the embedded reviews that a model knows."""
    from ftlab.data.load import REVIEW_LABELS, REVIEWS, load_data

    if data not in REVIEWS:
        return None
    fitting = (one for one in REVIEW_LABELS if _names(load_data(data, task=one)) == loaded.task.names)
    return next(fitting, None)


def _names(data: Any) -> tuple[str, ...]:
    return tuple(data["train"].features["label"].names)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: exit code 0 on success, 2 for wrong usage, 1 for failure, 130 when stopped by hand."""
    arguments = sys.argv[1:] if arguments is None else arguments
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
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
        what = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"error: unexpected {what[:300]}. Add --debug to see where it comes from.", file=sys.stderr)
        sys.exit(1)
