"""Images with labels: data sets of images, and the handwritten digits."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlab.data.split import split_rows
from ftlab.errors import input_error, note

if TYPE_CHECKING:
    from datasets import DatasetDict


def image_dataset(splits: dict[str, Any], name: str, label: str) -> "DatasetDict":
    """Return the columns ``image`` and ``label`` of each split; raise if the labels are not classes."""
    from datasets import ClassLabel, DatasetDict

    feature = splits["train"].features.get(label)
    if not isinstance(feature, ClassLabel) or len(feature.names) < 2:
        do = "Cast it with cast_column, or name another column with label="
        raise input_error(
            "load_data", f"label of {name}", "be a class label with at least two classes", str(feature), do
        )
    for split, rows in splits.items():
        check_images(rows, f"{split} of {name}")
    renamed = {label: "label"} if label != "label" else {}
    return DatasetDict(
        {split: rows.select_columns(["image", label]).rename_columns(renamed) for split, rows in splits.items()}
    )


def check_images(rows: Any, source: str) -> None:
    """Open every picture of a split, one at a time; raise for one that cannot be opened or scaled, note how many are scaled."""
    from datasets import Image
    from PIL import Image as Picture

    deep = 0
    for number, entry in enumerate(rows.cast_column("image", Image(decode=False))["image"], 1):
        where = Path(entry["path"]).name if entry.get("path") else f"row {number}"
        try:
            with Picture.open(io.BytesIO(entry["bytes"]) if entry.get("bytes") else entry["path"]) as picture:
                picture.load()
                mode = picture.mode
        except (OSError, SyntaxError, ValueError, Picture.DecompressionBombError) as error:
            reason = " ".join(str(error).split())[:100]
            do = "Mend the file or take it out"
            raise input_error("load_data", f"image {where} of {source}", "be one that opens", reason, do) from error
        if mode in ("I", "F"):
            do = "Convert it to 8 bits a channel; its range is not known here"
            raise input_error(
                "load_data", f"image {where} of {source}", "have 8 or 16 bits a channel", f"mode {mode}", do
            )
        deep += mode.startswith("I;16")
    if deep:
        note("load_data", f"{deep} of {len(rows)} images of {source} have 16 bits a channel; they are scaled to 8.")


def eight_bits(picture: Any) -> Any:
    """Return a picture with 8 bits a channel: of 16 bits, the upper 8 are kept.

    >>> from PIL import Image
    >>> import numpy as np
    >>> eight_bits(Image.fromarray(np.array([[258, 65535]], np.uint16))).getpixel((1, 0))
    255
    """
    import numpy as np
    from PIL import Image as Picture

    if not picture.mode.startswith("I;16"):
        return picture
    return Picture.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))


def digits() -> "DatasetDict":
    """Return scikit-learn's handwritten digits, split 80/10/10."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image
    from PIL import Image as Picture
    from sklearn.datasets import load_digits

    scans = load_digits()
    pictures = [Picture.fromarray((image * 15).astype("uint8")) for image in scans.images]
    labels = [int(digit) for digit in scans.target]
    parts = split_rows([str(i) for i in range(len(labels))], labels, "digits")
    features = Features({"image": Image(), "label": ClassLabel(names=[str(i) for i in range(10)])})
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"image": [pictures[i] for i in rows], "label": [labels[i] for i in rows]}, features=features
            )
            for split, rows in parts.items()
        }
    )
