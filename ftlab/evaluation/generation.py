"""Generate responses, and measure a language model: loss a token, perplexity, token accuracy, exact match."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ftlab.data.batches import Encoded, encode
from ftlab.data.conversation_rows import form_of
from ftlab.data.conversations import IGNORE, Message, check_special, messages_of, start_of
from ftlab.engines.engine import Engine, Reference
from ftlab.errors import argument_error, check_int, check_number
from ftlab.evaluation.metrics import RESAMPLES, Metrics
from ftlab.losses.next_token import target_logits
from ftlab.models.load import Pretrained
from ftlab.parameters import eval_mode
from ftlab.seeding import derive_seed

BATCH = 8
"""Rows whose loss is measured at once."""
PROMPTS = 32
"""Prompts that are continued at once: each new token reads all weights, for one prompt as for many."""
Array = NDArray[Any]


def generate(
    pretrained: Pretrained,
    prompts: Sequence[str | Sequence[Message]],
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """Return a model's response to each prompt.

    Args:
        pretrained: A causal language model with its tokenizer.
        prompts: Texts, or lists of messages that end with the user's. The tokenizer's chat template, where it has one,
            is put around them.
        max_new_tokens: The most tokens of a response, at least 1; a response ends earlier at the model's own limit.
        temperature: 0 takes the most probable token every time (greedy). Above 0, tokens are drawn from the
            distribution with logits divided by it.
        seed: Of the draws. Each prompt has draws of its own, so its response does not depend on its neighbours.

    Returns:
        The responses in order, without special tokens, ``""`` for an empty response.

    Raises:
        ArgumentError: If an argument is outside its range, or a prompt is empty or as long as the model's limit.
    """
    check_int("predict", "max_new_tokens", max_new_tokens, "64 is usual", at_least=1)
    check_number("predict", "temperature", temperature, "0 is greedy, 1 the model's own distribution", at_least=0)
    tokenizer, net = pretrained.processor, pretrained.net
    conversations = [_conversation(prompt, index) for index, prompt in enumerate(prompts, 1)]
    for messages in conversations:
        check_special(tokenizer, messages)
    starts = [start_of(tokenizer, messages) for messages in conversations]
    ids = tokenizer(starts, add_special_tokens=False)["input_ids"] if starts else []
    limit = pretrained.max_length
    for index, row in enumerate(ids, 1):
        if not 0 < len(row) < limit:
            must = f"have at least one token and fewer than the model's limit of {limit}"
            raise argument_error("predict", f"prompt {index}", must, f"{len(row)} tokens", "Shorten it")
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    responses = [""] * len(ids)
    size = PROMPTS if temperature == 0 else 1
    with eval_mode(net), torch.inference_mode():
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            new = min(max_new_tokens, limit - max(len(ids[row]) for row in rows))
            made = _continued(pretrained, [ids[row] for row in rows], new, temperature, (seed, rows[0]))
            for row, text in zip(rows, tokenizer.batch_decode(made, skip_special_tokens=True), strict=True):
                responses[row] = text.strip()
    return responses


def _conversation(prompt: Any, number: int) -> list[Message]:
    if isinstance(prompt, str) and prompt.strip():
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, Sequence) and not isinstance(prompt, str) and prompt:
        messages = messages_of({"messages": prompt}) if all(isinstance(one, dict) for one in prompt) else []
        if messages and messages[-1]["role"] == "user":
            return messages
    do = "Give texts, or lists of messages that end with the user's"
    raise argument_error("predict", f"prompt {number}", "be a text that is not empty", repr(prompt)[:60], do)


def _continued(
    pretrained: Pretrained, ids: list[list[int]], new: int, temperature: float, seed: tuple[int, int]
) -> list[list[int]]:
    """Return the tokens that follow each row of ids; the rows are padded on the left."""
    tokenizer, net = pretrained.processor, pretrained.net
    width = max(map(len, ids))
    padded = torch.tensor([[tokenizer.pad_token_id] * (width - len(row)) + row for row in ids], device=net.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=net.device)
    draws = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    with torch.random.fork_rng([net.device] if net.device.type == "cuda" else []):
        torch.manual_seed(derive_seed(*seed))
        made = net.generate(
            padded,
            attention_mask=mask,
            max_new_tokens=new,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=_ends(pretrained),
            **({"do_sample": False} | draws),
        )
    rows: list[list[int]] = made[:, width:].tolist()
    return rows


def _ends(pretrained: Pretrained) -> list[int]:
    """Return the tokens that end a response: the tokenizer's, and those that the model's own settings name."""
    named = pretrained.net.generation_config.eos_token_id
    ends = {pretrained.processor.eos_token_id, *(named if isinstance(named, list) else [named])}
    return sorted(end for end in ends if end is not None)


def evaluate_generation(
    pretrained: Pretrained,
    rows: Any,
    split: str = "",
    max_length: int = 128,
    resamples: int | None = None,
    *,
    exact_match: bool = False,
    engine: Engine | None = None,
) -> Metrics:
    """Measure a language model on rows for generation. See :func:`ftlab.evaluate`.

    Exact match compares the last response of each row with the greedy one, both without white space around them.

    Raises:
        ArgumentError: If the rows have no form for generation, or exact match is asked for bare texts.
    """
    form = form_of(getattr(rows, "column_names", ()))
    if form is None or (exact_match and form == ("text",)):
        must = "have the columns prompt and response, or messages" + ("" if exact_match else ", or text")
        got = ", ".join(getattr(rows, "column_names", [type(rows).__name__]))
        raise argument_error("evaluate", "rows", must, got, "Make them with ftlab.load_data")
    matches = None
    if exact_match:
        conversations = [messages_of(row) for row in rows]
        longest = max(len(ids) for ids in _ids_of_responses(pretrained, conversations))
        responses = generate(pretrained, [messages[:-1] for messages in conversations], max_new_tokens=longest + 2)
        matches = [
            response == messages[-1]["content"].strip()
            for response, messages in zip(responses, conversations, strict=True)
        ]
    encoded = encode(pretrained, rows, max_length, "evaluate")
    return language_metrics(token_sums(pretrained, encoded, engine), matches=matches, split=split, resamples=resamples)


def _ids_of_responses(pretrained: Pretrained, conversations: Sequence[Sequence[Message]]) -> list[list[int]]:
    texts = [messages[-1]["content"] for messages in conversations]
    ids: list[list[int]] = pretrained.processor(texts, add_special_tokens=False)["input_ids"]
    return ids


def token_sums(pretrained: Pretrained, encoded: Encoded, engine: Engine | None = None) -> Array:
    """Return for each row the summed loss of its targets, the number of targets, and how many are predicted right.

    Args:
        pretrained: A causal language model.
        encoded: Rows for generation.
        engine: Left out, the reference.

    Returns:
        Shape (rows, 3), in double precision.
    """
    net, engine = pretrained.net, engine or Reference()
    sums = np.zeros((len(encoded), 3))
    order = np.argsort(encoded.lengths, kind="stable")[::-1].tolist()
    with eval_mode(net), torch.inference_mode():
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = engine.to_device(encoded.batch(rows), net.device)
            with engine.forward(net, batch):
                logits, targets = target_logits(net, batch)
            losses = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double()
            hits = (logits.argmax(-1) == targets).double()
            row_of = (batch["labels"][:, 1:] != IGNORE).nonzero()[:, 0].cpu()
            for column, values in enumerate((losses, torch.ones_like(losses), hits)):
                total = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, row_of, values.cpu())
                sums[rows, column] = total.numpy()
    return sums


def language_metrics(
    sums: Array, *, matches: Sequence[bool] | None = None, split: str = "", resamples: int | None = None, seed: int = 0
) -> Metrics:
    r"""Return loss a token, perplexity and token accuracy, and exact match where it was asked for.

    .. math:: \bar\ell = \frac{\sum_i \ell_i}{\sum_i n_i}, \qquad \mathrm{perplexity} = e^{\bar\ell}

    Intervals are percentile bootstrap intervals over rows, since the tokens of a row are not independent.

    Args:
        sums: As :func:`token_sums` returns them.
        matches: Whether each row's greedy response is exactly the true one.
        split: The split's name, kept with the numbers.
        resamples: 1000 if left out; 0 for no intervals.
        seed: Of the bootstrap.

    Example:
        >>> found = language_metrics(np.array([[2.0, 1, 1], [0.0, 3, 3]]), resamples=0)
        >>> round(found["loss"], 3), round(found["perplexity"], 3), found["token_accuracy"]
        (0.5, 1.649, 1.0)
    """
    columns = sums if matches is None else np.column_stack([sums, np.asarray(matches, dtype=float)])

    def values(rows: Array) -> dict[str, float]:
        loss, count, hits = rows[:, :3].sum(0)
        mean = loss / count
        found = {"loss": mean, "perplexity": math.exp(min(mean, 700.0)), "token_accuracy": hits / count}
        return {"exact_match": rows[:, 3].mean(), **found} if matches is not None else found

    chance = np.random.default_rng(seed)
    drawn = [
        values(columns[chance.integers(0, len(columns), len(columns))])
        for _ in range(RESAMPLES if resamples is None else resamples)
    ]
    whole = {name: float(value) for name, value in values(columns).items()}
    intervals = {
        name: (float(low), float(high))
        for name in whole
        if drawn
        for low, high in [np.percentile([one[name] for one in drawn], (2.5, 97.5))]
    }
    return Metrics(whole, intervals, {}, len(columns), split)
