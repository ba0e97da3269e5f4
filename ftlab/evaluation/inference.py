"""Use a model: run it over many rows, measure it, predict. Always in fp32, whatever it was trained in."""

from typing import Any

import torch
from torch import Tensor

from ftlab.data.batches import Encoded, encode
from ftlab.engines.engine import ENGINES, Engine, Reference, choose_engine
from ftlab.errors import argument_error, check_choice, check_int
from ftlab.evaluation.metrics import Metrics, measure
from ftlab.losses.logits import logits_of
from ftlab.models.load import Pretrained
from ftlab.parameters import eval_mode

Prediction = dict[str, Any]
FEW = 16
"""With fewer rows than that, trying whether texts can be packed would take longer than it saves."""


def predict_logits(pretrained: Pretrained, encoded: Encoded, batch_size: int = 64, *, engine: str = "auto") -> Tensor:
    """Return the scores of every row, in the order of the rows; rows of like length share a batch."""
    net = pretrained.net
    device = next(net.parameters()).device
    longest_first = encoded.lengths.argsort(kind="stable")[::-1]  # a model is tried on the longest, and once
    rows = longest_first.tolist()
    scores: list[Tensor] = []
    how = _engine(engine, device, len(encoded))
    with eval_mode(net), torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            batch = how.to_device(encoded.batch(rows[start : start + batch_size]), device)
            with how.forward(net, batch):
                scores.append(logits_of(net, batch))
    order = torch.tensor(rows).argsort()
    return torch.cat(scores).cpu()[order].clone()


def _engine(asked: str, device: torch.device, rows: int) -> Engine:
    """Return the engine for passes in fp32: the fast one if there is one, there are enough rows, and it is not ruled out."""
    check_choice("evaluate", "engine", asked, ENGINES)
    fast = rows >= FEW and asked != "reference" and choose_engine("auto", device.type).name != "reference"
    return choose_engine("fast-fp32", device.type) if fast else Reference()


def embed(pretrained: Pretrained, texts: list[str], *, max_length: int = 128, batch_size: int = 64) -> Tensor:
    """Return a vector of length 1 for each text: the mean over its tokens of the last hidden states.

    Args:
        pretrained: A text model; the head is not used.
        texts: Any number of texts, at least one.
        max_length: The most tokens that a text keeps.
        batch_size: Texts at a time.

    Returns:
        Shape (texts, hidden size), fp32, on the CPU. The product of two rows is their cosine.
    """
    encoded = encode(pretrained, texts, max_length, "embed")
    body = pretrained.net.base_model
    device = next(body.parameters()).device
    vectors: list[Tensor] = []
    engine = _engine("auto", device, len(texts))
    with eval_mode(pretrained.net), torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            batch = encoded.batch(range(start, min(start + batch_size, len(texts))))
            there = engine.to_device(batch, device)
            with engine.forward(pretrained.net, there):
                hidden = body(**there).last_hidden_state.cpu()
            mask = batch["attention_mask"].unsqueeze(-1)
            vectors.append((hidden * mask).sum(1) / mask.sum(1))
    return torch.nn.functional.normalize(torch.cat(vectors)).clone()


def evaluate(
    pretrained: Pretrained,
    rows: Any,
    *,
    split: str = "",
    max_length: int = 128,
    resamples: int | None = None,
    engine: str = "auto",
) -> Metrics:
    """Measure a model on labelled rows.

    Args:
        pretrained: Model, processor and task.
        rows: One split of what :func:`ftlab.load_data` gives, with the labels that the model knows.
        split: The split's name, to be kept with the numbers.
        max_length: The most tokens that a text keeps.
        resamples: The number of bootstrap resamples for the intervals, 1000 if left out; 0 for no intervals.
        engine: ``"reference"`` pads the texts; any other packs them where it can. Both compute in fp32.

    Raises:
        ArgumentError: If the labels are not those of the model.
    """
    from datasets import ClassLabel

    if "label" not in getattr(rows, "features", {}):
        do = "Use predict for rows without labels"
        raise argument_error("evaluate", "rows", "be a Dataset with labels", type(rows).__name__, do)
    feature = rows.features["label"]
    feature = getattr(feature, "feature", feature)
    names = tuple(feature.names) if isinstance(feature, ClassLabel) else ()
    if names != pretrained.task.names:
        do = "Evaluate on the data of the task that the model was fine-tuned for"
        raise argument_error(
            "evaluate", "labels", f"be {', '.join(pretrained.task.names)}", ", ".join(names) or "numbers", do
        )
    encoded = encode(pretrained, rows, max_length, "evaluate")
    return evaluate_encoded(pretrained, encoded, split, resamples, engine)


def evaluate_encoded(
    pretrained: Pretrained, encoded: Encoded, split: str, resamples: int | None = None, engine: str = "auto"
) -> Metrics:
    """Measure a model on rows that are tokenised already."""
    assert encoded.labels is not None
    logits = predict_logits(pretrained, encoded, engine=engine)
    logits = logits.squeeze(-1) if pretrained.task.kind == "regression" else logits
    return measure(pretrained.task, logits.numpy(), encoded.labels.numpy(), split=split, resamples=resamples)


def predict(pretrained: Pretrained, inputs: Any, *, max_length: int = 128) -> list[Prediction]:
    """Say what a model makes of texts (or images).

    Args:
        pretrained: Model, processor and task.
        inputs: A list of texts or of ``PIL`` images; an empty list gives an empty list.
        max_length: The most tokens that a text keeps.

    Returns:
        One dictionary an input, in order: ``label`` and ``score`` (its probability) with all ``probabilities`` by
        name; for several labels ``labels``, those above 0.5; for a regression ``value``.

    Raises:
        ArgumentError: If an input is not a text, or is empty.
    """
    check_int("predict", "max_length", max_length, "128 is usual", at_least=1)
    if isinstance(inputs, str) or not hasattr(inputs, "__iter__"):
        raise argument_error("predict", "inputs", "be a list", repr(inputs)[:60], "Write predict([text])")
    inputs = list(inputs)
    if not inputs:
        return []
    if pretrained.task.modality == "text":
        wrong = [i for i, one in enumerate(inputs) if not isinstance(one, str) or not one.strip()]
        if wrong:
            got = f"{inputs[wrong[0]]!r} at place {wrong[0] + 1}"
            raise argument_error("predict", "inputs", "be texts that are not empty", got, "Leave it out")
        encoded = encode(pretrained, inputs, max_length, "predict")
    else:
        from datasets import Dataset

        encoded = encode(pretrained, Dataset.from_dict({"image": inputs}), max_length, "predict")
    logits = predict_logits(pretrained, encoded).double()
    return [_prediction(pretrained, row) for row in logits]


def _prediction(pretrained: Pretrained, logits: Tensor) -> Prediction:
    names, kind = pretrained.task.names, pretrained.task.kind
    if kind == "regression":
        return {"value": logits.item()}
    outputs = logits.sigmoid() if kind == "multilabel" else logits.softmax(0)
    probabilities = dict(zip(names, outputs.tolist(), strict=True))
    if kind == "multilabel":
        return {"labels": [name for name in names if probabilities[name] > 0.5], "probabilities": probabilities}
    best = max(probabilities, key=probabilities.__getitem__)
    return {"label": best, "score": probabilities[best], "probabilities": probabilities}
