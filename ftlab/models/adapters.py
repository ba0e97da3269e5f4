"""Save a LoRA run as an adapter: a folder that ``peft`` opens on top of the checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ftlab.data.hub import reachable
from ftlab.errors import argument_error, input_error
from ftlab.files import new_folder
from ftlab.formulas.lora import LoRA, lora
from ftlab.models.load import Pretrained
from ftlab.models.processor import quiet
from ftlab.parameters import Tensors, is_conv1d
from ftlab.rule import Rule

INSIDE = "base_model.model"
"""The prefix that ``peft`` gives to the names of an adapter's tensors."""


def save_adapter(model: Pretrained, recipe: Sequence[Rule], folder: Path, card: str) -> Path:
    """Write the adapter that turns the checkpoint into a LoRA run's model, in ``peft``'s format; whole, or not at all.

    The folder holds the factors, and the other modules that differ from the checkpoint: the head, and new modules of the
    body. The checkpoint is loaded again and compared, to verify that the adapter gives the run's model.

    Args:
        model: The run's model, merged.
        recipe: The run's rules, exactly one of them LoRA.
        folder: A new or empty folder, or one with an adapter, which is replaced.
        card: The model card.

    Returns:
        The folder, for ``peft.PeftModel.from_pretrained(base, folder)``. The card says how to load ``base``.

    Raises:
        ArgumentError: If the recipe does not hold exactly one LoRA.
        InputError: If the checkpoint cannot be loaded again, another rule has changed parameters that an adapter cannot
            hold, or the folder holds other files.
    """
    rules = [rule for rule in recipe if isinstance(rule, LoRA)]
    if len(rules) != 1:
        do = "Put LoRA() into the recipe once; run.save(folder) writes any other model"
        raise argument_error("save_adapter", "recipe", "hold one LoRA", str(len(rules)), do)
    if (
        folder.exists()
        and not (folder / "adapter_config.json").exists()
        and (folder.is_file() or any(folder.iterdir()))
    ):
        got = f"other files in {folder}"
        raise input_error("save_adapter", "folder", "be new, empty, or hold an adapter", got, "Choose another")
    net, factors = model.net, vars(model.net)["lora_factors"]
    options = _options(net)
    base = _checkpoint(net, options)
    tensors = {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()}
    modules = _other_modules(net, base, tensors, _merged(base, tensors, factors, rules[0].alpha))
    config = rules[0].config(base, list(factors))
    config.target_modules, config.modules_to_save, config.inference_mode = sorted(factors), modules, True
    config.base_model_name_or_path = net.name_or_path
    task = "CAUSAL_LM" if model.task.kind == "generation" else "SEQ_CLS"
    config.task_type = task if model.task.modality == "text" else None
    kept = {name: tensors[name] for name in tensors if name.startswith(tuple(f"{module}." for module in modules))}
    for name, (a, b) in factors.items():
        kept |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
    with quiet(), new_folder(folder) as draft:
        _save(kept, draft / "adapter_model.safetensors")
        config.save_pretrained(draft)
        model.processor.save_pretrained(draft)
        (draft / "README.md").write_text(_with_use(card, net, options), encoding="utf-8")
    return folder


def _options(net: Any) -> dict[str, Any]:
    """Return the options that load the checkpoint with a head of the run's size."""
    from transformers import AutoConfig

    with quiet():
        try:
            own = AutoConfig.from_pretrained(net.name_or_path, trust_remote_code=False, local_files_only=_local())
        except Exception as error:
            raise _cannot_reload(net.name_or_path, error) from error
    wanted = {name: getattr(net.config, name, None) for name in ("num_labels", "pad_token_id")}
    options = {name: value for name, value in wanted.items() if getattr(own, name, None) != value}
    return options | ({"ignore_mismatched_sizes": True} if "num_labels" in options else {})


def _checkpoint(net: Any, options: dict[str, Any]) -> Any:
    """Load the checkpoint again that the run began with."""
    how = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False, "local_files_only": _local()}
    with quiet(), torch.random.fork_rng([]):
        try:
            return type(net).from_pretrained(net.name_or_path, **options, **how)
        except Exception as error:
            raise _cannot_reload(net.name_or_path, error) from error


def _local() -> bool:
    return not reachable()


def _cannot_reload(source: str, error: Exception) -> Exception:
    reason = " ".join(str(error).split())[:120]
    do = "An adapter needs its base checkpoint. Restore it, or save the merged model with run.save(folder)"
    return input_error("save_adapter", "checkpoint", "be one that can be loaded again", f"{source!r}: {reason}", do)


def _merged(base: Any, tensors: Tensors, factors: dict[str, tuple[Tensor, Tensor]], alpha: float) -> set[str]:
    """Return the names of the merged matrices; raise unless each is the checkpoint's plus the product of its factors."""
    before = base.state_dict()
    if {name: tensor.shape for name, tensor in before.items()} != {
        name: tensor.shape for name, tensor in tensors.items()
    }:
        raise _changed("tensors of other names or shapes")
    for name, (a, b) in factors.items():
        weight, merged = before[f"{name}.weight"], tensors[f"{name}.weight"]
        if is_conv1d(base.get_submodule(name)):
            weight, merged = weight.T, merged.T
        if not torch.allclose(merged, lora(weight, a.cpu(), b.cpu(), alpha), rtol=1e-5, atol=1e-6):
            raise _changed(f"{name}.weight, which is not the checkpoint's with the product added")
    return {f"{name}.weight" for name in factors}


def _other_modules(net: Any, base: Any, tensors: Tensors, merged: set[str]) -> list[str]:
    """Return the outermost modules, other than merged matrices, that differ from the checkpoint; of the head, its top ones."""
    before = base.state_dict()
    changed = [name for name in tensors if name not in merged and not torch.equal(tensors[name], before[name])]
    inside = f"{net.base_model_prefix}."
    modules = {name.rpartition(".")[0] if name.startswith(inside) else name.partition(".")[0] for name in changed}
    outer = sorted(module for module in modules if not any(module.startswith(f"{other}.") for other in modules))
    if any(name.startswith(f"{module}.") for name in merged for module in outer):
        raise _changed("other changes in a module that LoRA trains")
    return outer


def _changed(how: str) -> Exception:
    do = "Leave out the other rules that change the model, or use run.save(folder)"
    return input_error("save_adapter", "model", "be the checkpoint with LoRA's changes", how, do)


def _save(tensors: Tensors, path: Path) -> None:
    from safetensors.torch import save_file

    named = {f"{INSIDE}.{name}": tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    save_file(named, path, metadata={"format": "pt"})


def _with_use(card: str, net: Any, options: dict[str, Any]) -> str:
    """Return the card of an adapter: the run's card, and the code that opens the adapter."""
    arguments = "".join(f", {name}={value!r}" for name, value in options.items())
    kind = type(net).__name__
    return card.replace("library_name: transformers", "library_name: peft", 1) + (
        f"\n## Use\n\n```python\nfrom peft import PeftModel\nfrom transformers import {kind}\n\n"
        f"base = {kind}.from_pretrained({net.name_or_path!r}{arguments})\n"
        'model = PeftModel.from_pretrained(base, "this folder")\n```\n'
    )
