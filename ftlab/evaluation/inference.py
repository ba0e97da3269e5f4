"""Evaluate a model and predict with it, always in fp32, whatever precision it was trained in."""

from typing import Any

import torch
from torch import Tensor

from ftlab.data.batches import Encoded, encode
from ftlab.engines.engine import ENGINES, Engine, Reference, choose_engine
from ftlab.errors import argument_error, check_choice, check_int
from ftlab.evaluation.generation import evaluate_generation, generate, language_metrics, token_sums
from ftlab.evaluation.metrics import Metrics, measure
from ftlab.losses.logits import logits_of
from ftlab.models.load import Pretrained
from ftlab.parameters import eval_mode

Prediction = dict[str, Any]
"""The keys depend on the kind of task, see :func:`predict`."""
FEW = 16
"""Below this number of rows, checking whether texts can be packed costs more time than packing saves."""


def predict_logits(pretrained: Pretrained, encoded: Encoded, batch_size: int = 64, *, engine: str = "auto") -> Tensor:
    """Return the logits of all rows, in the order of the rows. Rows of similar length share a batch."""
    net = pretrained.net
    device = next(net.parameters()).device
    # Longest first: the fast engine checks a model once on its longest texts, not again on each longer batch.
    rows = encoded.lengths.argsort(kind="stable")[::-1].tolist()
    logits: list[Tensor] = []
    chosen = _engine(engine, device, len(encoded))
    with eval_mode(net), torch.inference_mode():
        for start in range(0, len(rows), batch_size):
            batch = chosen.to_device(encoded.batch(rows[start : start + batch_size]), device)
            with chosen.forward(net, batch):
                logits.append(logits_of(net, batch))
    order = torch.tensor(rows).argsort()
    return torch.cat(logits).cpu()[order].clone()


def _engine(name: str, device: torch.device, rows: int) -> Engine:
    """Return the fast engine in fp32 if it is installed, allowed and worth it for so many rows; else the reference."""
    check_choice("evaluate", "engine", name, ENGINES)
    fast = rows >= FEW and name != "reference" and choose_engine("auto", device.type).name != "reference"
    return choose_engine("fast-fp32", device.type) if fast else Reference()


def embed(pretrained: Pretrained, texts: list[str], *, max_length: int = 128, batch_size: int = 64) -> Tensor:
    """Return a unit vector for each text: its last hidden states, averaged over the tokens and normalised.

    Args:
        pretrained: A text model; its head is not used.
        texts: At least one text.
        max_length: Maximum number of tokens per text.
        batch_size: Number of texts per forward pass.

    Returns:
        Shape (texts, hidden size), fp32, on the CPU. The dot product of two rows is their cosine similarity.
    """
    encoded = encode(pretrained, texts, max_length, "embed")
    body = pretrained.net.base_model
    device = next(body.parameters()).device
    vectors: list[Tensor] = []
    engine = _engine("auto", device, len(texts))
    with eval_mode(pretrained.net), torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            batch = encoded.batch(range(start, min(start + batch_size, len(texts))))
            on_device = engine.to_device(batch, device)
            with engine.forward(pretrained.net, on_device):
                hidden = body(**on_device).last_hidden_state.cpu()
            mask = batch["attention_mask"].unsqueeze(-1)
            vectors.append((hidden * mask).sum(1) / mask.sum(1))
    return torch.nn.functional.normalize(torch.cat(vectors)).clone()


def evaluate(
    pretrained: Pretrained,
    rows: Any,
    *,
    split: str = "",
    max_length: int | None = None,
    resamples: int | None = None,
    engine: str = "auto",
    exact_match: bool = False,
) -> Metrics:
    """Evaluate a model on labelled rows, or a language model on rows with responses.

    Args:
        pretrained: The model, as returned by :func:`ftlab.load_model` or ``run.model``.
        rows: A split of data from :func:`ftlab.load_data`, with the labels of the model.
        split: The name of the split, which is stored with the metrics.
        max_length: Maximum number of tokens per text; by default that of the model's training, or what it accepts.
        resamples: Number of bootstrap resamples for the 95 % intervals; 1000 by default, 0 for no intervals.
        engine: ``"reference"`` pads the texts; any other name packs them where possible. Both compute in fp32.
        exact_match: For generation: whether to generate a greedy response to each row and to compare it with the true
            one. It takes longer than the other metrics together.

    Returns:
        The metrics for the kind of task, each with its interval.

    Raises:
        ArgumentError: If the rows have no labels, or other labels than the model.

    Example:
        >>> from ftlab import load_data, load_model
        >>> data = load_data("reviews")
        >>> model = load_model("minilm", data)  # its classification head is new and untrained
        >>> evaluate(model, data["test"].select(range(20)), split="test", resamples=0).n
        20
    """
    from datasets import ClassLabel

    max_length = pretrained.max_length if max_length is None else max_length
    if pretrained.task.kind == "generation":
        chosen = _engine(engine, pretrained.net.device, len(rows))
        return evaluate_generation(
            pretrained, rows, split, max_length, resamples, exact_match=exact_match, engine=chosen
        )
    if exact_match:
        do = "Other tasks have accuracy"
        raise argument_error("evaluate", "exact_match", "be False unless the task is generation", "True", do)
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
    """Evaluate a model on rows that :func:`ftlab.data.batches.encode` returned."""
    if pretrained.task.kind == "generation":
        sums = token_sums(pretrained, encoded, _engine(engine, pretrained.net.device, len(encoded)))
        return language_metrics(sums, split=split, resamples=resamples)
    assert encoded.labels is not None
    logits = predict_logits(pretrained, encoded, engine=engine)
    logits = logits.squeeze(-1) if pretrained.task.kind == "regression" else logits
    return measure(pretrained.task, logits.numpy(), encoded.labels.numpy(), split=split, resamples=resamples)


def predict(
    pretrained: Pretrained,
    inputs: Any,
    *,
    max_length: int | None = None,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[Prediction]:
    """Predict the labels of texts or images, or generate responses to prompts.

    Args:
        pretrained: The model, as returned by :func:`ftlab.load_model` or ``run.model``.
        inputs: A list of texts or of ``PIL`` images, or of prompts; it may be empty. A prompt is a text, or a list of
            messages that ends with the user's.
        max_length: Maximum number of tokens per text, at least 1; by default that of the model's training, or what it
            accepts. Prompts are never cut.
        max_new_tokens: For generation: maximum number of tokens per response, at least 1.
        temperature: For generation: 0 is greedy; see :func:`ftlab.evaluation.generation.generate`.
        seed: For generation: of the draws if ``temperature`` is above 0.

    Returns:
        One dictionary per input, in order. For classification: ``label``, its probability ``score``, and the
        ``probabilities`` of all labels by name. For multilabel: ``labels``, those with a probability above 0.5, and
        ``probabilities``. For a regression: ``value``. For generation: ``response``.

    Raises:
        ArgumentError: If ``inputs`` is not a list, or a text is empty or not a string.

    Example:
        >>> from ftlab import load_data, load_model
        >>> model = load_model("minilm", load_data("reviews"))  # its classification head is new and untrained
        >>> [prediction] = predict(model, ["A quiet gem."])
        >>> sorted(prediction), sorted(prediction["probabilities"])
        (['label', 'probabilities', 'score'], ['negative', 'positive'])
    """
    max_length = pretrained.max_length if max_length is None else max_length
    check_int("predict", "max_length", max_length, "128 is usual", at_least=1)
    if isinstance(inputs, str) or not hasattr(inputs, "__iter__"):
        raise argument_error("predict", "inputs", "be a list", repr(inputs)[:60], "Write predict([text])")
    inputs = list(inputs)
    if not inputs:
        return []
    if pretrained.task.kind == "generation":
        responses = generate(pretrained, inputs, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        return [{"response": response} for response in responses]
    if pretrained.task.modality == "text":
        wrong = [index for index, text in enumerate(inputs) if not isinstance(text, str) or not text.strip()]
        if wrong:
            got = f"{inputs[wrong[0]]!r} at position {wrong[0] + 1}"
            raise argument_error("predict", "inputs", "be texts that are not empty", got, "Remove it")
        encoded = encode(pretrained, inputs, max_length, "predict")
    else:
        encoded = encode(pretrained, _pictures(inputs), max_length, "predict")
    logits = predict_logits(pretrained, encoded).double()
    return [_prediction(pretrained, row) for row in logits]


def _pictures(inputs: list[Any]) -> list[Any]:
    """Return pictures as they are in memory, turned upright as their EXIF orientation says; raise if one is no picture."""
    from PIL import Image, ImageOps

    for place, one in enumerate(inputs, 1):
        if not isinstance(one, Image.Image) or one.mode in ("I", "F"):
            got = f"mode {one.mode}" if isinstance(one, Image.Image) else repr(one)[:60]
            do = "Open a file with PIL.Image.open, or make one of an array with PIL.Image.fromarray"
            must = "be PIL images with 8 or 16 bits a channel"
            raise argument_error("predict", "inputs", must, f"{got} at position {place}", do)
    return [ImageOps.exif_transpose(one) for one in inputs]


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
