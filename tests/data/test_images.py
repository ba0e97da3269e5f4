"""Images with labels: the digits, and images in memory."""

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Picture

from ftlab.data.labels import Task
from ftlab.data.load import fingerprint, load_data, task_of
from ftlab.errors import InputError


def test_digits_are_1797_images_of_ten_classes():
    data = load_data("digits")
    assert sum(map(len, data.values())) == 1797
    assert task_of(data) == Task("classification", tuple("0123456789"), "image")
    assert data["train"][0]["image"].size == (8, 8)
    assert fingerprint(data) == fingerprint(load_data("digits"))


def images(feature, labels):
    features = Features({"image": Image(), "class": feature})
    pictures = [Picture.new("RGB", (4, 4), (i, 0, 0)) for i in range(len(labels))]
    return DatasetDict({"train": Dataset.from_dict({"image": pictures, "class": labels}, features=features)})


def test_a_named_column_of_classes_becomes_the_label():
    data = load_data(images(ClassLabel(names=["cat", "dog"]), [0, 1, 1]), label="class")
    assert task_of(data) == Task("classification", ("cat", "dog"), "image")
    assert data["train"]["label"][:] == [0, 1, 1]


@pytest.mark.parametrize("feature", [Value("int64"), ClassLabel(names=["cat"])])
def test_labels_that_are_not_two_classes_are_refused(feature):
    with pytest.raises(InputError, match="label of the data given must be a class label with at least two classes"):
        load_data(images(feature, [0, 0, 0]), label="class")
