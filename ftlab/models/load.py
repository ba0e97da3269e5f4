"""Load a pretrained model: the embedded MiniLM, a folder, or a hub id; from safetensors only, without remote code."""

import copy
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ftlab.data.hub import reachable
from ftlab.data.labels import Task
from ftlab.data.load import task_of
from ftlab.errors import argument_error, input_error, note
from ftlab.formulas._architectures import first_position
from ftlab.formulas.redraw import redraw_in
from ftlab.models.embedded import minilm
from ftlab.models.processor import load_processor, quiet, set_padding
from ftlab.models.smollm2 import smollm2_folder
from ftlab.parameters import outside_base
from ftlab.seeding import derive_seed

PROBLEM_TYPES = {
    "classification": "single_label_classification",
    "multilabel": "multi_label_classification",
    "regression": "regression",
}


@dataclass(frozen=True)
class Pretrained:
    """A model, its processor, and its task."""

    net: Any
    """The ``transformers`` model, in fp32; on the CPU after loading."""
    processor: Any
    """Its tokenizer, or its image processor."""
    name: str
    task: Task
    fresh: frozenset[str] = frozenset()
    """Names of the parameters that were not in the checkpoint, usually a new classification head."""

    def __repr__(self) -> str:
        kind = type(self.net).__name__
        size = sum(param.numel() for param in self.net.parameters()) / 1e6
        labels = f", labels {', '.join(self.task.names[:6])}" if self.task.names else ""
        new = f", {len(self.fresh)} new parameters" if self.fresh else ""
        return f"Pretrained({self.name}: {kind}, {size:.1f} M parameters, {self.task.kind}{labels}{new})"

    @property
    def max_length(self) -> int:
        """The largest number of tokens that the model accepts."""
        limit = min(getattr(self.processor, "model_max_length", None) or 10**9, 10**9)
        positions = getattr(self.net.config, "max_position_embeddings", None)
        if positions:
            limit = min(limit, positions - first_position(self.net.base_model))
        return int(limit)

    def limited_to(self, max_length: int) -> "Pretrained":
        """Return the model with a tokenizer that keeps the length of a training, so that its folder is used with that too.

        Pictures have no length, and a prompt may be longer than the rows of a training.
        """
        if self.task.modality == "image" or self.task.kind == "generation":
            return self
        tokenizer = copy.deepcopy(self.processor)
        tokenizer.model_max_length = max_length
        return replace(self, processor=tokenizer)

    def copy(self, head_seed: int | None = None) -> "Pretrained":
        """Return an independent copy; with a seed, its new parameters are re-initialised from that seed."""
        net = copy.deepcopy(self.net)
        if head_seed is not None:
            _init_new_params(net, self.fresh, head_seed)
        return replace(self, net=net)


def load_model(name: str | Path, data: Any = None, *, new_head: bool = False) -> Pretrained:
    """Load a pretrained model for a data set: with a head for its labels, or as it is for generation.

    ===================  =======================================================================================
    ``name``             what is loaded
    ===================  =======================================================================================
    ``"minilm"``         all-MiniLM-L6-v2 (BERT, 6 layers, 22.7 M parameters), from the package that embeds it
    ``"smollm2"``        SmolLM2-135M-Instruct (Llama, 30 layers), from a package that holds it in four bits
    a folder             of ``transformers``, or one that ``finetune`` left
    a hub id             such as ``"bert-base-uncased"``
    ===================  =======================================================================================

    Args:
        name: As in the table.
        data: The result of :func:`ftlab.load_data`, which defines the task and the labels; left out, the checkpoint does.
        new_head: Whether a classification head in the checkpoint may be replaced by a new one.

    Raises:
        InputError: If the model cannot be found, read, or used for this task.

    Example:
        >>> from ftlab.data.load import load_data
        >>> load_model("minilm", load_data("reviews"))
        Pretrained(minilm: BertForSequenceClassification, 22.7 M parameters, classification, labels negative, positive, 2 new parameters)
    """
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    if not isinstance(name, str | os.PathLike) or not str(name):
        raise argument_error("load_model", "name", "be a name or a path", repr(name), "The embedded model is 'minilm'")
    source = _find(str(name))
    task = task_of(data) if data is not None else None
    config = _config(source)
    if (task and task.kind == "generation") or (task is None and _is_language_model(config)):
        return _language_model(source, config, str(name))
    modality = task.modality if task else "text" if hasattr(config, "vocab_size") else "image"
    before = dict(getattr(config, "id2label", None) or {})
    if task:
        _describe(config, task)
    kind = AutoModelForImageClassification if modality == "image" else AutoModelForSequenceClassification
    net, info = _weights(kind, source, config)
    fresh = _fresh(net, info, before, task, str(name), new_head)
    processor = load_processor(source, modality)
    if modality == "text":
        set_padding(net, processor, source)
    task = task or Task(_kind_of(net.config), tuple(net.config.id2label[i] for i in sorted(before)), modality)
    if task.kind == "regression":
        task = replace(task, names=())
    _init_new_params(net, fresh, 0)
    return Pretrained(net.eval(), processor, str(name), task, fresh)


def _weights(kind: Any, source: str, config: Any) -> tuple[Any, dict[str, Any]]:
    """Load a network of a kind in fp32; return it with the report on missing and mismatched parameters."""
    with quiet():
        try:
            net, info = kind.from_pretrained(
                source,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=not reachable() or os.path.isdir(source),
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except Exception as error:  # from transformers, safetensors or the file system: the model cannot be loaded
            raise _unreadable(source, error) from error
    return net, info


def _is_language_model(config: Any) -> bool:
    """Return whether a checkpoint was saved with a head for the next token."""
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in config.architectures or ())


def _language_model(source: str, config: Any, name: str) -> Pretrained:
    """Load a causal language model with its tokenizer.

    Raises:
        InputError: If the checkpoint has no trained head for the next token.
    """
    from transformers import AutoModelForCausalLM

    net, info = _weights(AutoModelForCausalLM, source, config)
    missing = set(info["missing_keys"]) & {key for key, _ in net.named_parameters()}
    if missing or not _is_language_model(config):
        got = f"{name} without {min(missing)}" if missing else f"{name}, which was not saved as one"
        do = "Use a model of the GPT type, such as 'smollm2'"
        raise input_error("load_model", "model", "be a causal language model for generation", got, do)
    tokenizer = load_processor(source, "text")
    set_padding(net, tokenizer, source)
    return Pretrained(net.eval(), tokenizer, name, Task("generation"))


def _find(name: str) -> str:
    """Return the folder or the hub id for a name."""
    if name == "minilm":
        return minilm()
    if name == "smollm2":
        return str(smollm2_folder())
    path = Path(name)
    if os.path.isdir(path):
        folder = path if (path / "config.json").is_file() else path / "model"
        if (path / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
            got = f"an adapter in {path}"
            do = "Open it with peft, as its README.md says, or save the merged model with run.save(folder)"
            raise input_error("load_model", "folder", "hold a whole model", got, do)
        if not (folder / "config.json").is_file():
            do = "Give a folder that transformers or ftlab saved"
            raise input_error("load_model", "folder", "hold config.json", f"none in {path}", do)
        if not any(folder.glob("model*.safetensors*")):
            held = "pickled weights only" if any(folder.glob("*.bin")) else "no weights"
            do = "Save it again with save_pretrained; pickled weights can run code and are never opened"
            raise input_error("load_model", "folder", "hold model.safetensors", f"{held} in {folder}", do)
        return str(folder)
    if os.path.exists(path) or name.count("/") > 1 or name.startswith((".", "/", "~")) or not name.strip():
        do = "Give 'minilm', a model folder or a hub id"
        raise input_error("load_model", "name", "be a folder that exists, or a hub id", repr(name)[:120], do)
    return name


def _config(source: str) -> Any:
    from transformers import AutoConfig

    local = not reachable() or os.path.isdir(source)
    with quiet():
        try:
            return AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=local)
        except Exception as error:
            raise _unreadable(source, error) from error


def _unreadable(source: str, error: Exception) -> Exception:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:160]
    if os.path.isdir(source):
        do = "The folder may be damaged, of another kind, or of a newer transformers"
        return input_error("load_model", "model folder", "be one that transformers can open", f"{source}: {reason}", do)
    offline = "" if reachable() else " (the hub cannot be reached from here)"
    do = f"Embedded is 'minilm'; a folder needs its path, a hub id a network or a filled cache{offline}"
    got = repr(source)[:120]
    if any(word in reason for word in ("safetensors", "pytorch_model", "code")):  # it was found, but not opened
        do = "Only safetensors are opened, since pickled weights can run code, and no code of a model's own is run"
        return input_error("load_model", "name", "be a model that can be opened", f"{got}: {reason}", do)
    return input_error("load_model", "name", "be a model that can be found", got, do)


def _describe(config: Any, task: Task) -> None:
    config.num_labels = len(task.names) or 1
    config.problem_type = PROBLEM_TYPES[task.kind]
    if task.names:
        config.id2label = dict(enumerate(task.names))
        config.label2id = {name: number for number, name in enumerate(task.names)}


def _kind_of(config: Any) -> str:
    for kind, problem_type in PROBLEM_TYPES.items():
        if config.problem_type == problem_type:
            return kind
    return "regression" if config.num_labels == 1 else "classification"


def _fresh(
    net: Any, info: dict[str, Any], before: dict[int, str], task: Task | None, name: str, new_head: bool
) -> frozenset[str]:
    """Return the names of the parameters to initialise; raise if the checkpoint does not fit the task."""
    names = [key for key, _ in net.named_parameters()]
    head = set(outside_base(net, names))
    mismatched = {key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]}
    missing = (set(info["missing_keys"]) | mismatched) & set(names)
    body = missing - head
    if len(body) > len(set(names) - head) / 2 or mismatched - head:
        got = f"{len(body)} of {len(names)} parameters missing or of another shape, such as {min(body)}"
        do = "The folder holds another kind of model than its config.json says"
        raise input_error("load_model", f"weights of {name}", "be those of the config", got, do)
    if task is None:
        if missing:
            do = "Give the data: load_model(name, data)"
            raise input_error("load_model", f"{name} without data", "have a trained head", f"no {min(missing)}", do)
        return frozenset()
    if head & (missing - mismatched) or not head:  # a head of which a part is missing was not trained for any labels
        return frozenset(missing)
    labels = tuple(before[i] for i in sorted(before))
    same = labels == task.names or (task.kind == "regression" and len(labels) == 1)
    generic = all(label == f"LABEL_{i}" for i, label in enumerate(labels)) and len(labels) == len(task.names)
    if generic and not same:
        note("load_model", f"the head of {name} has nameless labels; they are taken to be {', '.join(task.names)}.")
    if new_head and not same:
        return frozenset(missing | head)
    if not (same or generic) or mismatched:
        got = f"a head for {', '.join(labels[:6])} in {name}"
        do = "Draw a new one with new_head=True (--new-head)"
        raise input_error("load_model", "model's labels", f"be {', '.join(task.names[:6]) or 'one number'}", got, do)
    return frozenset(missing)


def _init_new_params(net: nn.Module, names: frozenset[str], seed: int) -> None:
    """Initialise parameters that are not in the checkpoint."""
    std = getattr(net.config, "initializer_range", 0.02)
    generator = torch.Generator().manual_seed(derive_seed(seed))
    redraw_in(net, names, std if isinstance(std, float) else 0.02, generator)
