"""A finished run: its model, history and metrics, and how they are shown and saved."""

import json
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from ftlab.errors import argument_error
from ftlab.evaluation.inference import Prediction, evaluate, predict
from ftlab.evaluation.metrics import Metrics
from ftlab.files import write_text
from ftlab.models.adapters import save_adapter
from ftlab.models.load import Pretrained
from ftlab.models.save import save_model
from ftlab.recipes.explain import explain
from ftlab.training.run_folder import RunFolder
from ftlab.training.settings import Settings


@dataclass
class Run:
    """A finished fine-tuning run."""

    model: Pretrained
    """The model after the last step."""
    data: Any
    """The data set, with all its splits."""
    settings: Settings
    history: list[dict[str, Any]]
    """A record per step: step, epoch, loss, penalty, lr, samples, seconds."""
    evaluations: list[dict[str, Any]]
    """Metrics on the validation split after each epoch."""
    facts: dict[str, Any]
    """The content of ``run.json``."""
    metrics: Metrics | None = None
    """Metrics on the test split, or on validation if there is no test split."""
    _metrics: dict[tuple[str, int | None], Metrics] = field(default_factory=dict)

    def evaluate(self, split: str = "test", *, resamples: int | None = None) -> Metrics:
        """Evaluate the model on a split; each metric has a 95 % interval. See :func:`ftlab.evaluate`."""
        if split not in self.data:
            raise argument_error("evaluate", "split", f"be one of {', '.join(self.data)}", repr(split), "Choose one")
        if (split, resamples) not in self._metrics:
            length, engine = self.settings.max_length, self.settings.engine
            self._metrics[split, resamples] = evaluate(
                self.model, self.data[split], split=split, max_length=length, resamples=resamples, engine=engine
            )
        return self._metrics[split, resamples]

    def predict(
        self, inputs: Any, *, max_new_tokens: int = 64, temperature: float = 0.0, seed: int = 0
    ) -> list[Prediction]:
        """Predict the labels of texts or images, or generate responses to prompts. See :func:`ftlab.predict`."""
        generation = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
        return predict(self.model, inputs, max_length=self.settings.max_length, **generation)  # type: ignore[arg-type]

    def save(self, folder: str | Path) -> Path:
        """Write the model and a model card as an ordinary ``transformers`` folder; all of it, or nothing."""
        path = Path(folder)
        save_model(self.model, path, self.card())
        return path

    def save_adapter(self, folder: str | Path) -> Path:
        """Write the trained LoRA matrices as a folder that ``peft`` opens. See :func:`ftlab.models.adapters.save_adapter`."""
        return save_adapter(self.model, self.settings.recipe, Path(folder), self.card())

    def curves(self) -> Any:
        """Return a figure of the loss, the learning rate and the validation metric."""
        from ftlab.display.plots import curves

        return curves(self.history, self.evaluations, self.facts["steps_per_epoch"])

    def plan(self) -> str:
        """Return the recipe in words and as an equation. See :func:`ftlab.explain`."""
        return explain(self.settings.recipe, self.settings.optimizer)

    def write(self, output: RunFolder) -> None:
        """Write the finished run to its folder, with the status "finished" last."""
        save_model(self.model, output.model, self.card())
        output.write_history(self.history)
        metrics = self.metrics.to_dict() if self.metrics else {}
        write_text(output.folder / "metrics.json", json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
        figure = output.folder / ".curves.png"
        self.curves().savefig(figure, dpi=110)
        figure.replace(output.folder / "curves.png")
        output.write_run(self.facts | {"status": "finished"})

    def card(self) -> str:
        """Return the model card: the model, its training and its metrics."""
        facts, task = self.facts, self.model.task
        kind = "image" if task.modality == "image" else "text"
        pipeline = "text-generation" if task.kind == "generation" else f"{kind}-classification"
        base = (
            f"base_model: {self.model.name}\n" if "/" in self.model.name and not Path(self.model.name).exists() else ""
        )
        rows = self.metrics.rows() if self.metrics else []
        table = "".join(f"| {title} | {value} | {interval} |\n" for title, value, interval in rows)
        where = f"{self.metrics.split}, n = {self.metrics.n}" if self.metrics else "not measured"
        arguments = "".join(f"- {name}: `{value}`\n" for name, value in facts["arguments"].items())
        return (
            f"---\nlibrary_name: transformers\npipeline_tag: {pipeline}\n{base}---\n\n"
            f"# {Path(self.model.name).name}, fine-tuned\n\n"
            f"A {task.kind} model" + (f" for {', '.join(task.names)}" if task.names else "") + ".\n"
            f"It was fine-tuned with ftlab {facts['versions']['ftlab']} from `{self.model.name}` on "
            f"{facts['rows']['train']} examples.\n\n"
            f"| {where} | value | 95 % interval |\n| --- | --- | --- |\n{table}\n"
            f"## How\n\n{arguments}\n```\n{self.plan()}\n```\n\n"
            "## Limits\n\nIt was measured on the split named above and on nothing else.\n"
        )

    def summary(self) -> str:
        """Return the metrics, and the number of updates, time, device and engine, as text."""
        facts = self.facts
        training = (
            f"{facts['steps']} updates in {facts['seconds']:.0f} s on {facts['device']}, engine {facts['engine']}"
        )
        return f"{self.metrics}\n\n{training}" if self.metrics else training

    def __repr__(self) -> str:
        return f"{self.summary()}\n\n{self.plan()}"

    def _repr_html_(self) -> str:
        from ftlab.display.plots import as_img, in_words

        table = self.metrics._repr_html_() if self.metrics else ""
        figure = as_img(self.curves(), in_words(self.history, self.evaluations))
        return f"{table}{figure}<details><summary>The plan</summary><pre>{escape(self.plan())}</pre></details>"
