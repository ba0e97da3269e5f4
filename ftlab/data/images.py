"""Images with labels: data sets of images, and the handwritten digits."""

from typing import TYPE_CHECKING, Any

from ftlab.data.split import split_rows
from ftlab.errors import input_error

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
    renamed = {label: "label"} if label != "label" else {}
    return DatasetDict(
        {split: rows.select_columns(["image", label]).rename_columns(renamed) for split, rows in splits.items()}
    )


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
