"""Fine-tune a model from beginning to end: the article's six steps, in order."""

import dataclasses
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.data.batches import Batches, Encoded, encode
from ftlab.data.load import as_dataset_dict, fingerprint, task_of
from ftlab.engines.devices import choose_device
from ftlab.engines.engine import choose_engine
from ftlab.errors import InterruptionError, argument_error, check_int, note
from ftlab.evaluation.inference import evaluate_encoded
from ftlab.losses.classification import loss_for
from ftlab.losses.distill import Distill
from ftlab.models.load import Pretrained, load_model
from ftlab.recipes.parse import check_recipe, complete
from ftlab.rule import Loss, Rule
from ftlab.training import checkpoint
from ftlab.training.loop import State, begin, finish, step as plain_step
from ftlab.training.optimizers import MakeOptimizer
from ftlab.training.run import Run
from ftlab.training.run_folder import RunFolder, check_same_run, environment_info
from ftlab.training.settings import Settings
from ftlab.training.signals import stop_requests

if TYPE_CHECKING:
    from ftlab.display.progress import Progress


def finetune(
    model: Any,
    data: Any,
    *,
    epochs: int = 3,
    lr: float = 5e-5,
    batch_size: int = 32,
    accumulate: int = 1,
    max_length: int = 128,
    seed: int | tuple[int, int] = 0,
    recipe: Sequence[Rule | str] = (),
    loss: Loss | None = None,
    optimizer: str | MakeOptimizer = "adamw",
    step: Any = None,
    engine: str = "auto",
    device: str = "auto",
    save_every: int | None = None,
    resume: bool = False,
    output: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Run:
    """Fine-tune a copy of a pretrained model on a data set.

    Args:
        model: A model from :func:`ftlab.load_model`, or a name that it accepts. It is not modified.
        data: Data from :func:`ftlab.load_data`, or a source that it accepts.
        epochs: Number of passes over the training split, at least 1.
        lr: Peak learning rate, greater than 0.
        batch_size: Number of rows per update, at least 1.
        accumulate: Number of micro-batches per update (gradient accumulation), for batches that do not fit in memory,
            from 1 to ``batch_size``. The update is that of the whole batch.
        max_length: Maximum number of tokens per text, at least 4.
        seed: One seed, or a pair: the first for the new head, dropout and the rules, the second for the order of the
            data.
        recipe: A list of rules, or of rules as text. A recipe without a schedule gets 10 % warm-up and linear decay;
            nothing else is added.
        loss: ``loss(model, batch)``, the mean over the batch; by default the usual loss for the kind of task.
        optimizer: ``"adamw"``, ``"sgd"``, ``"signsgd"``, ``"signum"``, ``"lion"``, ``"adabound"``, or a function from
            parameter groups to a torch optimizer.
        step: ``step(state, batch) -> record``, which replaces :func:`ftlab.step`.
        engine: ``"reference"``, ``"fast"``, ``"fast-fp32"`` or ``"auto"``; see :func:`ftlab.engines.engine.choose_engine`.
        device: ``"cuda"``, ``"mps"``, ``"cpu"``, or ``"auto"`` for the first of these that is available.
        save_every: Number of updates between checkpoints; requires ``output``. By default no checkpoints are written.
        resume: Whether to continue bit for bit from the newest checkpoint in ``output``.
        output: Folder for the model, metrics, history, figure and checkpoints; by default nothing is written.
        overwrite: Whether to replace another run in ``output``.
        progress: Whether to show a progress bar and, outside a notebook, a line per epoch; by default the bar appears
            only in a notebook or a terminal.

    Returns:
        The finished run: the model, its history, and its metrics on the test split (or validation, if there is no test).

    Raises:
        ArgumentError: If an argument is invalid; raised before any work starts.
        InputError: If the model, the data or the folder cannot be used; raised before any work starts.
        DivergenceError: If the loss is NaN or infinite. A model that was in ``output`` before stays there.
        InterruptionError: If the user stops the run. The message states what was saved.

    Example:
        >>> from ftlab.data.load import load_data
        >>> data = load_data("reviews")
        >>> data["train"], data["test"] = data["train"].select(range(32)), data["test"].select(range(100))
        >>> run = finetune("minilm", data, epochs=2, progress=False)
        >>> [record["step"] for record in run.history], run.metrics.n
        ([1, 2], 100)
    """
    settings = Settings(
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        accumulate=accumulate,
        max_length=max_length,
        seed=seed,
        recipe=complete(check_recipe(recipe)),
        loss=loss,
        optimizer=optimizer,
        step=step,
        engine=engine,
        device=device,
        save_every=save_every,
    )
    if (resume or save_every or overwrite) and output is None:
        name = "resume" if resume else "save_every" if save_every else "overwrite"
        raise argument_error("finetune", name, "come with output", "no output", "Add output='runs/first'")
    data = as_dataset_dict(data)
    task = task_of(data)
    model = model if isinstance(model, Pretrained) else load_model(model, data)
    if model.task != task:
        do = "Load it for this data: load_model(name, data)"
        raise argument_error("finetune", "model", f"be made for {task}", str(model.task), do)
    settings = _limit_length(settings, model)
    folder = RunFolder(output, overwrite=overwrite, resume=resume) if output is not None else None
    return _Trainer(settings, model.copy(settings.head_seed), data, folder, resume).run(progress)


class _Trainer:
    """A run in progress."""

    def __init__(
        self, settings: Settings, model: Pretrained, data: Any, output: RunFolder | None, resume: bool
    ) -> None:
        self.settings, self.model, self.data, self.output = settings, model, data, output
        device = choose_device(settings.device)
        engine = choose_engine(settings.engine, device)
        model.net.to(device)
        self.encoded: dict[str, Encoded] = {
            split: encode(model, data[split], settings.max_length, f"finetune: {split}") for split in data
        }
        self.batches = Batches(
            self.encoded["train"], settings.batch_size, seed=settings.order_seed, accumulate=settings.accumulate
        )
        if settings.batch_size > len(data["train"]):
            rows = len(data["train"])
            note(
                "finetune",
                f"batch_size {settings.batch_size} is more than the {rows} rows, so there is one update per epoch.",
            )
        self.state: State = begin(
            model,
            self.batches,
            settings.recipe,
            epochs=settings.epochs,
            lr=settings.lr,
            seed=settings.head_seed,
            loss=_loss(settings, model, data["train"]),
            optimizer=settings.optimizer,
            engine=engine,
        )
        self.history: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {
            "status": "running",
            "model": model.name,
            "arguments": {"model": model.name, **settings.to_dict()},
            "recipe": [repr(rule) for rule in settings.recipe],
            "task": dataclasses.asdict(model.task),
            "rows": {split: len(data[split]) for split in data},
            "texts_cut": {split: encoded.cut for split, encoded in self.encoded.items()},
            "data_fingerprint": fingerprint(data),
            "steps": self.state.steps,
            "steps_per_epoch": self.state.steps_per_epoch,
            "engine": engine.name,
            **environment_info(device),
            "resumed_at": None,
            "seconds": 0.0,
        }
        if output:
            self._enter_folder(output, resume)

    def run(self, show_progress: bool | None) -> Run:
        """Train, evaluate, and write the finished run to its folder."""
        started = time.perf_counter()
        with stop_requests() as stop:
            with self.state.engine.session(self.state.model):
                self._train_epochs(stop, show_progress)
            net = finish(self.state)
            self.facts["seconds"] += round(time.perf_counter() - started, 2)
            model = dataclasses.replace(self.model, net=net).limited_to(self.settings.max_length)
            run = Run(model, self.data, self.settings, self.history, self.state.evaluations, self.facts)
            split = "test" if "test" in self.data else "validation"
            if split in self.data:
                run.metrics = run.evaluate(split)
            if self.output:
                run.write(self.output)
                shutil.rmtree(self.output.checkpoints, ignore_errors=True)
        return run

    def _enter_folder(self, output: RunFolder, resume: bool) -> None:
        """Write ``run.json``; when resuming, restore the newest checkpoint first."""
        earlier = output.read_run() if resume else None
        if earlier:
            check_same_run(earlier, self.facts)
            path = checkpoint.newest(output.checkpoints)
            if path:
                checkpoint.restore(self.state, path)
                self.history = output.read_history(self.state.step)
                self.facts["resumed_at"] = self.state.step
                self.facts["seconds"] = earlier.get("seconds", 0.0)
        if resume and not self.state.step:
            note("resume", f"there is no checkpoint in {output.folder}; the run starts from the beginning.")
        if not earlier:
            output.clear()
        output.write_run(self.facts)

    def _train_epochs(self, stop: list[int], show_progress: bool | None) -> None:
        from ftlab.display.progress import Progress

        state, settings = self.state, self.settings
        rows = len(self.encoded["train"])
        first = state.step // state.steps_per_epoch
        skip = state.step % state.steps_per_epoch
        progress = Progress(rows * settings.epochs, sum(record["samples"] for record in self.history), show_progress)
        try:
            if first and not skip:  # resumed after the last step of an epoch, before its evaluation
                self._end_epoch(first - 1, progress)
            for epoch in range(first, settings.epochs):
                for batch in self.batches.epoch(epoch, skip=skip):
                    self._step(batch, progress)
                    if stop:
                        self._interrupt(progress)
                skip = 0
                self._end_epoch(epoch, progress)
        finally:
            progress.close()

    def _step(self, batch: Any, progress: "Progress") -> None:
        started = time.perf_counter()
        record = (self.settings.step or plain_step)(self.state, batch)
        self.history.append(record | {"seconds": round(time.perf_counter() - started, 4)})
        progress.update(record)
        every = self.settings.save_every
        if self.output and every and self.state.step % every == 0 and self.state.step < self.state.steps:
            self._save()

    def _save(self) -> Path:
        assert self.output
        self.output.write_history(self.history)
        return checkpoint.save(self.state, self.output.checkpoints)

    def _end_epoch(self, epoch: int, progress: "Progress") -> None:
        """Evaluate on the validation split, for the rules and for the progress display."""
        if len(self.state.evaluations) > epoch:
            return
        title = f"epoch {epoch + 1} of {self.settings.epochs}"
        if "validation" not in self.encoded:
            records = self.history[-self.state.steps_per_epoch :]
            total = sum(record["loss"] * record["samples"] for record in records)
            loss = total / max(1, sum(record["samples"] for record in records))
            progress.say(f"{title}: training loss {loss:.3f}")
            return
        model = dataclasses.replace(self.model, net=self.state.model)
        metrics = evaluate_encoded(model, self.encoded["validation"], "validation", 0, self.settings.engine)
        self.state.evaluations.append(
            {name: value for name, value in metrics.to_dict().items() if not name.endswith(("_low", "_high"))}
        )
        values = ", ".join(f"{metric} {value}" for metric, value, _ in metrics.rows())
        progress.say(f"{title}: validation {values}")

    def _interrupt(self, progress: "Progress") -> None:
        """Save a checkpoint if there is an output folder, and raise an InterruptionError."""
        progress.close()
        at = f"stopped by hand after step {self.state.step} of {self.state.steps}"
        if not self.output:
            raise InterruptionError(f"finetune: {at}. Nothing was saved, since no output was given.")
        path = self._save()
        raise InterruptionError(
            f"finetune: {at}. A whole checkpoint is in {path}; resume=True (--resume) continues the run."
        )


def _loss(settings: Settings, model: Pretrained, rows: Any) -> Loss:
    """Return the loss to train with; a teacher with another tokenizer reads the rows now."""
    loss = settings.loss or loss_for(model.task.kind)
    return loss.for_student(model, rows, settings.max_length) if isinstance(loss, Distill) else loss


def _limit_length(settings: Settings, model: Pretrained) -> Settings:
    """Return the settings with ``max_length`` limited to the longest text that the model accepts."""
    if model.task.modality == "image" or settings.max_length <= model.max_length:
        return settings
    note("finetune", f"max_length {settings.max_length} is more than {model.name} accepts; {model.max_length} is used.")
    check_int("finetune", "the model's longest text", model.max_length, "Use another model", at_least=4)
    return dataclasses.replace(settings, max_length=model.max_length)
