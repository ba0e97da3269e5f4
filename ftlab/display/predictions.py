"""A prediction as a line of text."""

from typing import Any


def as_line(text: str, prediction: dict[str, Any]) -> str:
    """Return a prediction and its text as one line, separated by tabs; an empty line for a blank text.

    >>> as_line("a gem", {"label": "positive", "score": 0.98765})
    'positive\\t0.988\\ta gem'
    """
    if not prediction:
        return ""
    if "label" in prediction:
        return f"{prediction['label']}\t{prediction['score']:.3f}\t{text}"
    if "response" in prediction:
        return f"{' '.join(prediction['response'].split())}\t{text}"
    values = f"{prediction['value']:.3f}" if "value" in prediction else "|".join(prediction["labels"])
    return f"{values}\t{text}"
