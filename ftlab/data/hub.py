"""Load data from the hub, after a quick check that it is reachable. Its own client would retry for half a minute."""

import functools
import os
import socket
from typing import Any
from urllib.parse import urlparse

from ftlab.errors import input_error


@functools.cache
def reachable(seconds: float = 3.0) -> bool:
    """Return whether the hub accepts a connection within ``seconds``; behind a proxy, assume that it does."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    address = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=seconds).close()
    except OSError:
        return False
    return True


def data_from_hub(*name: str, **options: str) -> Any:
    """Load a data set by its hub id, or a folder of images."""
    from datasets import load_dataset

    requested = repr(":".join(name))[:120]
    do = "The embedded sets are reviews, tricky_reviews and digits; a hub id needs a network, a file its full path"
    must = "be a file, a folder, an embedded name or a hub id that can be reached"
    if not options and not reachable():
        raise input_error("load_data", "source", must, requested, do)
    try:
        return load_dataset(*name, **options)
    except Exception as error:  # the hub raises many kinds of errors; each means that there are no data
        got = f"{requested} ({next(iter(str(error).splitlines()), type(error).__name__)[:120]})"
        raise input_error("load_data", "source", must, got, do) from error
