"""Save a model as an ordinary ``transformers`` folder."""

from pathlib import Path

from ftlab.errors import DivergenceError, format_error, input_error
from ftlab.files import new_folder
from ftlab.models.load import Pretrained
from ftlab.models.processor import quiet


def save_model(pretrained: Pretrained, folder: Path, card: str) -> None:
    """Write weights, config, tokenizer and model card to a folder; all of them, or nothing.

    Args:
        pretrained: The model to save.
        folder: A new or empty folder, or one that holds a model, which is replaced.
        card: The text of ``README.md``.

    Raises:
        DivergenceError: If a weight is NaN or infinite; nothing is written.
        InputError: If the folder holds other files.
    """
    for name, tensor in pretrained.net.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            do = "The training diverged; lower lr or add ClipNorm(1.0)"
            raise DivergenceError(format_error("save", f"weights of {name}", "be finite", "NaN or infinity", do))
    if folder.exists() and not (folder / "config.json").exists() and (folder.is_file() or any(folder.iterdir())):
        raise input_error(
            "save", "folder", "be new, empty, or hold a model", f"other files in {folder}", "Choose another"
        )
    with quiet(), new_folder(folder) as draft:
        pretrained.net.save_pretrained(draft)
        pretrained.processor.save_pretrained(draft)
        (draft / "README.md").write_text(card, encoding="utf-8")
