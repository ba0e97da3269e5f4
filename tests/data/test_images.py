"""Images with labels: the digits, and images in memory."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Picture

from ftlab.data.images import eight_bits
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


def folder_of(root):
    for split in ("train", "test"):
        for label in ("left", "top"):
            (root / split / label).mkdir(parents=True)
            for i in range(3):
                Picture.new("RGB", (8, 8), (i, 0, 0)).save(root / split / label / f"{i}.png")
    return root


@pytest.mark.parametrize("content", [b"not an image", b"", None], ids=["text", "empty", "cut off"])
def test_a_picture_that_cannot_be_opened_is_refused_by_its_name(tmp_path, content):
    file = folder_of(tmp_path) / "train/left/2.png"
    noise = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    Picture.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:900] if content is None else content)
    with pytest.raises(InputError, match="image 2.png of train of .* must be one that opens. Got .* Mend the file or"):
        load_data(tmp_path)
    Picture.new("RGB", (8, 8)).save(file)
    assert len(load_data(tmp_path)["train"]) == 6


def test_pictures_of_16_bits_are_scaled_and_counted(tmp_path, caplog):
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    deep = Picture.fromarray(values)
    deep.save(folder_of(tmp_path) / "test/top/1.png")
    load_data(tmp_path)
    assert "1 of 6 images of test of" in caplog.text
    assert "have 16 bits a channel; they are scaled to 8." in caplog.text
    assert np.array_equal(np.asarray(eight_bits(deep)), values // 256)
    assert eight_bits(Picture.new("RGB", (2, 2))).mode == "RGB"


def test_a_picture_of_unknown_range_is_refused(tmp_path):
    Picture.fromarray(np.full((8, 8), 0.5, np.float32)).save(folder_of(tmp_path) / "test/top/1.tiff")
    with pytest.raises(
        InputError, match="image 1.tiff of test of .* must have 8 or 16 bits a channel. Got mode F. Conv"
    ):
        load_data(tmp_path)
