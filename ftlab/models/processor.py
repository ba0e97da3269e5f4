"""Load the tokenizer or image processor of a model, and make a tokenizer ready for batches."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ftlab.data.hub import reachable
from ftlab.errors import input_error, note


def load_processor(source: str, modality: str) -> Any:
    """Return the tokenizer or the image processor that was saved with a model."""
    from transformers import AutoImageProcessor, AutoTokenizer

    kind, what = (AutoTokenizer, "tokenizer") if modality == "text" else (AutoImageProcessor, "image processor")
    local = not reachable() or os.path.isdir(source)
    with quiet():
        try:
            processor = kind.from_pretrained(source, trust_remote_code=False, local_files_only=local)
            if modality == "text" and len(processor) <= len(processor.all_special_ids):
                raise ValueError("an empty tokenizer, which transformers returns if the files are missing")
        except ImportError as error:
            reason = " ".join(str(error).split()).partition(". ")[0]
            do = "Install that package beside this torch (for Torchvision: pip install torchvision)"
            raise input_error("load_model", "model", f"have the package that its {what} needs", reason, do) from error
        except Exception as error:
            raise _unusable(what, source, error) from error
    return processor


def _unusable(what: str, source: str, error: Exception) -> Exception:
    """Return the error for a processor that cannot be loaded: a package is missing, or the processor itself."""
    reason = " ".join(str(error).split())
    missing = next((name for name in ("sentencepiece", "tiktoken") if name in reason.lower()), None)
    if missing and importlib.util.find_spec(missing) is None:
        do = f"pip install {missing}"
        return input_error("load_model", "model", f"have the package that its {what} needs", f"no {missing}", do)
    do = f"Save the {what} beside the weights with save_pretrained"
    return input_error("load_model", "model", f"come with its {what}", f"none in {source} ({reason[:120]})", do)


def set_padding(net: Any, tokenizer: Any, source: str) -> None:
    """Give a GPT-type tokenizer a padding token, and every token a row in the embedding."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        do = "Set one and save the tokenizer"
        raise input_error("load_model", "tokenizer", "have a padding, end or unknown token", f"none in {source}", do)
    tokenizer.padding_side = "right"
    net.config.pad_token_id = tokenizer.pad_token_id
    rows = net.get_input_embeddings().num_embeddings
    if tokenizer.vocab_size > rows:
        do = "The tokenizer belongs to another model"
        raise input_error("load_model", "tokenizer", f"have at most {rows} tokens", str(tokenizer.vocab_size), do)
    if len(tokenizer) > rows:
        with torch.random.fork_rng([]), quiet():
            torch.manual_seed(0)
            net.resize_token_embeddings(len(tokenizer))
        added = len(tokenizer) - rows
        note(
            "load_model", f"{added} tokens were added to the tokenizer, so the embedding has grown by {added} new rows."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the load report and the progress bars of transformers; this module checks what it loads."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
