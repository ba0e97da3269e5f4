"""Conversations as token ids: the tokenizer's chat template around every turn, and only responses as targets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ftlab.data.chunks import chunks
from ftlab.data.conversation_rows import form_of
from ftlab.errors import input_error, note

IGNORE = -100
"""The label of a token that is no target; torch's cross-entropy leaves it out as well."""
Message = dict[str, str]
Row = tuple[list[int], list[bool]]
"""The ids of a row, and which of them are targets."""


def messages_of(row: Mapping[str, Any]) -> list[Message]:
    """Return a row's messages.

    >>> messages_of({"prompt": "Hello?", "response": "Yes."})[1]
    {'role': 'assistant', 'content': 'Yes.'}
    """
    if "messages" in row:
        return [{"role": message["role"], "content": message["content"]} for message in row["messages"]]
    return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["response"]}]


def segments(tokenizer: Any, messages: Sequence[Message]) -> list[tuple[str, bool]]:
    """Cut a conversation into texts that are tokenised each on its own, with whether it is a target.

    A target is a response with the token that ends it. What comes before a response is exactly the text from which
    generation starts, so training and generation see the same tokens.

    Args:
        tokenizer: Of ``transformers``. With a chat template, the template writes the turns; without one, a single
            prompt and its response stand one after the other, and the end token follows.
        messages: As :func:`messages_of` returns them.

    Raises:
        InputError: If the tokenizer has no end token, if there are several turns but no template, or if the template
            does not write a conversation turn by turn.
    """
    if tokenizer.eos_token is None:
        do = "Set eos_token and save the tokenizer"
        raise input_error("encode", "tokenizer", "have an end token, or no response would ever end", "none", do)
    if not getattr(tokenizer, "chat_template", None):
        if len(messages) != 2:
            do = "Use prompt and response columns, or an instruction-tuned model"
            raise input_error("encode", "tokenizer", "have a chat template for messages", "none", do)
        return [(messages[0]["content"], False), (messages[1]["content"] + tokenizer.eos_token, True)]
    cut, parts = 0, list[tuple[str, bool]]()
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before = start_of(tokenizer, messages[:index])
        through = _rendered(tokenizer, messages[: index + 1])
        if not through.startswith(before) or cut > len(before):
            do = "Its template drops or rewrites earlier turns; use another tokenizer, or prompt and response columns"
            raise input_error("encode", "chat template", "write a conversation turn by turn", "one that does not", do)
        end = _end_of_turn(tokenizer, through, len(before))
        parts += [(through[cut : len(before)], False), (through[len(before) : end], True)]
        cut = end
    return parts


def start_of(tokenizer: Any, messages: Sequence[Message]) -> str:
    """Return the text from which a response to these messages is generated."""
    if not getattr(tokenizer, "chat_template", None):
        return messages[-1]["content"]
    return _rendered(tokenizer, messages, add_generation_prompt=True)


def _rendered(tokenizer: Any, messages: Sequence[Message], **options: Any) -> str:
    from jinja2.exceptions import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
    except TemplateError as error:  # such as a template that has no system message
        do = "Leave out what the model's template does not know, such as a system message"
        raise input_error("encode", "messages", "fit the tokenizer's chat template", str(error)[:80], do) from error
    return text


def _end_of_turn(tokenizer: Any, text: str, start: int) -> int:
    """Return where the response that begins at ``start`` ends, behind its first special token."""
    special = {tokenizer.eos_token, *tokenizer.all_special_tokens}
    special |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    ends = [at + len(token) for token in special if (at := text.find(token, start)) >= 0]
    if not ends:
        do = "Use a template that closes each turn, so that the model learns to stop"
        raise input_error("encode", "chat template", "end a response with a special token", repr(text[-40:]), do)
    return min(ends)


def check_special(tokenizer: Any, messages: Iterable[Message]) -> None:
    """Refuse contents that hold one of the tokenizer's special tokens, which would open or close a turn."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    for message in messages:
        found = next((token for token in special if token in message["content"]), None)
        if found:
            do = "Take it out of the text; it would open or close a turn"
            raise input_error("encode", "content", "hold none of the tokenizer's special tokens", repr(found), do)


def encode_rows(tokenizer: Any, rows: Any, max_length: int, where: str) -> tuple[list[Row], int]:
    """Tokenise the rows of a data set for generation.

    Args:
        tokenizer: Of ``transformers``.
        rows: A ``datasets.Dataset`` of one of the :data:`FORMS`.
        max_length: The most tokens that a row keeps; what is longer loses its end.
        where: The caller, for notes and errors.

    Returns:
        Ids and targets of each row, and how many rows were cut.

    Raises:
        InputError: If a row is cut before its first target, or cannot be written with the tokenizer's template.
    """
    form = form_of(rows.column_names)
    assert form is not None
    encoded: list[Row] = []
    cut = 0
    for ids, targets in _all_rows(tokenizer, rows, form):
        if len(ids) > max_length:
            cut += 1
            ids, targets = ids[:max_length], targets[:max_length]
        if not any(targets[1:]):  # the first token is predicted by none
            must = f"leave room for its response within {max_length} tokens"
            do = "Shorten the prompt, raise max_length, or take the row out"
            raise input_error(where, f"row {len(encoded) + 1}", must, f"a prompt of {max_length} or more", do)
        encoded.append((ids, targets))
    if cut:
        note(where, f"{cut} of {len(encoded)} rows ({cut / len(encoded):.1%}) are cut to {max_length} tokens.")
    return encoded, cut


def _all_rows(tokenizer: Any, rows: Any, form: tuple[str, ...]) -> Iterator[Row]:
    """Yield ids and targets row by row; a chunk's texts are tokenised in one call."""
    for chunk in chunks(list(zip(*(rows[column] for column in form), strict=True))):
        if form == ("text",):
            for ids in _ids(tokenizer, [text for (text,) in chunk]):
                ids.append(tokenizer.eos_token_id)
                yield ids, [True] * len(ids)
            continue
        conversations = [messages_of(dict(zip(form, values, strict=True))) for values in chunk]
        for messages in conversations:
            check_special(tokenizer, messages)
        parts = [segments(tokenizer, messages) for messages in conversations]
        ids_of_part = iter(_ids(tokenizer, [text for conversation in parts for text, _ in conversation]))
        for conversation in parts:
            ids, targets = list[int](), list[bool]()
            for _, target in conversation:
                part = next(ids_of_part)
                ids += part
                targets += [target] * len(part)
            yield ids, targets


def _ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
