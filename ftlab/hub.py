"""Tell whether the model hub can be reached, quickly, where its own client would try for half a minute."""

import functools
import os
import socket
from urllib.parse import urlparse


@functools.cache
def reachable(seconds: float = 3.0) -> bool:
    """Return whether a connection to the hub opens; behind a proxy, where this cannot be told, assume that it does."""
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
