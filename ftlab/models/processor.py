"""Load the tokenizer or image processor of a model, and make a tokenizer ready for batches."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ftlab.data.hub import reachable
from ftlab.errors import input_error


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
            do = f"Save the {what} beside the weights with save_pretrained"
            raise input_error("load_model", "model", f"come with its {what}", f"none in {source}", do) from error
    return processor


def set_padding(net: Any, tokenizer: Any, source: str) -> None:
    """Give a GPT-type tokenizer a padding token, and check that every token has a row in the embedding."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        do = "Set one and save the tokenizer"
        raise input_error("load_model", "tokenizer", "have a padding, end or unknown token", f"none in {source}", do)
    tokenizer.padding_side = "right"
    net.config.pad_token_id = tokenizer.pad_token_id
    rows = net.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        do = "The tokenizer belongs to another model"
        raise input_error("load_model", "tokenizer", f"have at most {rows} tokens", str(len(tokenizer)), do)


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
