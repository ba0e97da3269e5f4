"""Classify without an update: label words scored by a language model, or nearness in an encoder's space."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ftlab.data.load import as_dataset_dict, task_of
from ftlab.errors import argument_error, check_int
from ftlab.evaluation.inference import embed
from ftlab.evaluation.metrics import Metrics, measure
from ftlab.formulas.contextual_calibration import contextual_calibration
from ftlab.models.load import Pretrained, load_model
from ftlab.parameters import eval_mode

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Texts that say nothing; what a language model prefers after them is its bias (Zhao et al. 2021, section 4)."""
SCALE = 20.0
"""What a cosine is multiplied by to make a logit, as sentence-transformers does; it changes no answer."""
BATCH = 16


def zero_shot(
    model: Any,
    data: Any,
    *,
    words: Mapping[str, str] | None = None,
    prompt: str = "Text: {text}\nLabel:",
    examples: int = 0,
    calibrate: bool = True,
    split: str = "test",
    seed: int = 0,
    resamples: int | None = None,
) -> Metrics:
    r"""Measure how well a pretrained model classifies without any update of its parameters.

    A causal language model scores each label's words after the prompt; calibrated, it divides by what it gives them
    after texts that say nothing, see :func:`ftlab.formulas.contextual_calibration.contextual_calibration`. An encoder compares each text's embedding with that of each label's words, or, with
    examples, with the mean embedding of the examples of each label (a prototype).

    .. math:: s_c = \log p(w_c \mid \mathrm{prompt}(x)) - \log \bar p(w_c \mid \mathrm{prompt}(\varnothing))
              \qquad\text{or}\qquad s_c = \cos(e(x), e_c)

    Args:
        model: What :func:`ftlab.load_model` returns for a language model or an encoder, or a name for it.
        data: What :func:`ftlab.load_data` returns, with one label a row, or a name for it.
        words: The words for each label, by label; the labels themselves if left out.
        prompt: Holds ``{text}``; a space and a label's words follow it. For language models only.
        examples: How many training rows of each label are shown, at least 0.
        calibrate: Whether to correct a language model's bias towards some labels.
        split: The split to measure on.
        seed: Which training rows serve as examples, and in which order.
        resamples: Of the bootstrap, 1000 if left out; 0 for no intervals.

    Returns:
        The same metrics as those of a fine-tuned classifier. The log loss is that of the softmax of the scores.

    Raises:
        ArgumentError: If an argument is outside its range, or the data are not of one label a row.

    Source:
        Zhao, Wallace, Feng, Klein and Singh 2021, "Calibrate Before Use", arXiv 2102.09690. Departure: none. Prototypes: Snell, Swersky and Zemel 2017, arXiv 1703.05175,
        with the cosine in place of the Euclidean distance.

    Example:
        >>> from ftlab import load_data, load_model
        >>> data = load_data("reviews", task="topic")
        >>> data["test"] = data["test"].select(range(60))
        >>> model = load_model("minilm", data)
        >>> names = zero_shot(model, data, resamples=0)["accuracy"]
        >>> prototypes = zero_shot(model, data, examples=20, resamples=0)["accuracy"]
        >>> 1 / 6 < names < prototypes
        True
    """
    check_int("zero_shot", "examples", examples, "0, or a few of each label", at_least=0)
    data = as_dataset_dict(data)
    task = task_of(data)
    if task.kind != "classification" or task.modality != "text":
        do = "Give texts with one label each"
        raise argument_error("zero_shot", "data", "have texts with one label a row", task.kind, do)
    if split not in data:
        raise argument_error("zero_shot", "split", f"be one of {', '.join(data)}", repr(split), "Choose one")
    if "{text}" not in prompt:
        do = "Write it as in 'Review: {text}\\nSentiment:'"
        raise argument_error("zero_shot", "prompt", "hold {text}", repr(prompt)[:60], do)
    named = {label: label for label in task.names} | dict(words or {})
    if set(named) != set(task.names) or not all(isinstance(word, str) and word.strip() for word in named.values()):
        must = f"have a text for labels among {', '.join(task.names)}"
        raise argument_error("zero_shot", "words", must, repr(words)[:80], "Leave out what is to keep its name")
    pretrained = model if isinstance(model, Pretrained) else load_model(model)
    shown = drawn(data["train"], len(task.names), examples, seed)
    chosen = [named[label] for label in task.names]
    texts = list(data[split]["text"])
    if pretrained.task.kind == "generation":
        scores = _by_words(pretrained, texts, chosen, prompt, shown, calibrate)
    else:
        scores = _by_nearness(pretrained, texts, chosen, shown)
    return measure(task, scores, np.asarray(data[split]["label"]), split=split, resamples=resamples)


def drawn(rows: Any, classes: int, count: int, seed: int) -> list[tuple[str, int]]:
    """Draw ``count`` rows of each label, in a random order."""
    if not count:
        return []
    labels = np.asarray(rows["label"])
    least = int(np.bincount(labels, minlength=classes).min())
    if count > least:
        do = "Take fewer"
        raise argument_error("zero_shot", "examples", f"be at most {least}, the rarest label's rows", str(count), do)
    chance = np.random.default_rng(seed)
    chosen = [row for label in range(classes) for row in chance.permutation(np.flatnonzero(labels == label))[:count]]
    return [(rows[int(row)]["text"], int(labels[row])) for row in chance.permutation(chosen)]


def _by_words(
    pretrained: Pretrained,
    texts: list[str],
    words: list[str],
    prompt: str,
    shown: list[tuple[str, int]],
    calibrate: bool,
) -> NDArray[Any]:
    context = "".join(f"{prompt.format(text=text)} {words[label]}\n\n" for text, label in shown)
    scores = word_log_probs(pretrained, context, [prompt.format(text=text) for text in texts], words)
    if calibrate:
        empty = word_log_probs(pretrained, context, [prompt.format(text=text) for text in CONTENT_FREE], words)
        scores = contextual_calibration(scores, empty)
    return scores.numpy()


def word_log_probs(pretrained: Pretrained, context: str, prompts: Sequence[str], words: Sequence[str]) -> Tensor:
    """Return the log probability of each label's words after each prompt.

    Args:
        pretrained: A causal language model.
        context: What stands before every prompt; it is computed once. May be empty.
        prompts: Texts.
        words: The words of each label; a space is put before them.

    Returns:
        Shape (prompts, words): the sum over the words' tokens, in double precision.
    """
    tokenizer, net = pretrained.processor, pretrained.net

    def ids(text: str) -> list[int]:
        tokens: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return tokens

    endings = [ids(f" {word}") for word in words]
    starts = [ids(prompt) for prompt in prompts]
    one_token = all(len(ending) == 1 for ending in endings)
    rows = [(start, []) for start in starts] if one_token else [(start, end) for start in starts for end in endings]
    shown = ids(context) if context else []
    longest = len(shown) + max(len(start) + len(end) for start, end in rows)
    if longest > pretrained.max_length:
        must = f"fit into the {pretrained.max_length} tokens of the model, with examples and label words"
        raise argument_error("zero_shot", "prompts", must, f"one of {longest}", "Show fewer examples, or cut the texts")
    found = torch.zeros(len(rows), len(words) if one_token else 1, dtype=torch.float64)
    first = [ending[0] for ending in endings]
    order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]) + len(rows[row][1]))
    with eval_mode(net), torch.inference_mode():
        past = net(torch.tensor([shown], device=net.device), use_cache=True).past_key_values if shown else None
        for at in range(0, len(order), BATCH):
            chosen = order[at : at + BATCH]
            logits = _logits(pretrained, past, [rows[row][0] + rows[row][1] for row in chosen])
            for line, row in enumerate(chosen):
                start, end = rows[row]
                last = len(start) - 1
                log_probs = logits[line, last : last + max(1, len(end))].double().log_softmax(-1).cpu()
                if one_token:
                    found[row] = log_probs[0, first]
                else:
                    found[row, 0] = log_probs[range(len(end)), end].sum()
    return found if one_token else found.view(len(prompts), len(words))


def _logits(pretrained: Pretrained, past: Any, rows: list[list[int]]) -> Tensor:
    """Return the logits of every next token, shape (rows, longest row, vocabulary)."""
    net, pad = pretrained.net, pretrained.processor.pad_token_id
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=net.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=net.device)
    more = {}
    if past is not None:
        cache = copy.deepcopy(past)
        cache.batch_repeat_interleave(len(rows))
        more = {"past_key_values": cache}
        mask = torch.cat([mask.new_ones(len(rows), past.get_seq_length()), mask], 1)
    logits: Tensor = net(ids, attention_mask=mask, use_cache=past is not None, **more).logits
    return logits


def _by_nearness(
    pretrained: Pretrained, texts: list[str], words: list[str], shown: list[tuple[str, int]]
) -> NDArray[Any]:
    if shown:
        vectors, labels = embed(pretrained, [text for text, _ in shown]), torch.tensor([label for _, label in shown])
        means = torch.stack([vectors[labels == label].mean(0) for label in range(len(words))])
    else:
        means = embed(pretrained, words)
    scores = embed(pretrained, texts) @ torch.nn.functional.normalize(means).T
    return (SCALE * scores).numpy()
