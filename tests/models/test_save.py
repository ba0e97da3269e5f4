"""Saving a model: a folder that transformers opens, whole or not at all, and never over other files."""

import pytest
import torch
from transformers import pipeline

from ftlab.errors import DivergenceError, InputError
from ftlab.models.load import load_model
from ftlab.models.save import save_model


@pytest.fixture
def model(bert, small):
    return load_model(bert, small)


def test_the_folder_is_one_that_transformers_opens(model, tmp_path):
    save_model(model, tmp_path / "model", "# Mine\n")
    classifier = pipeline("text-classification", str(tmp_path / "model"))
    assert classifier("a good film")[0]["label"] in ("bad", "good")
    assert (tmp_path / "model/README.md").read_text() == "# Mine\n"
    again = load_model(tmp_path / "model").net.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.net.state_dict().items())


def test_a_model_is_replaced_and_nothing_of_it_is_left(model, tmp_path):
    save_model(model, tmp_path / "model", "# First\n")
    (tmp_path / "model/left.txt").write_text("old")
    save_model(model, tmp_path / "model", "# Second\n")
    assert (tmp_path / "model/README.md").read_text() == "# Second\n"
    assert not (tmp_path / "model/left.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_weights_that_are_not_finite_are_refused_and_the_model_that_was_there_stays(model, tmp_path):
    save_model(model, tmp_path / "model", "# First\n")
    with torch.no_grad():
        model.net.classifier.bias[0] = torch.nan
    with pytest.raises(DivergenceError, match="save: weights of classifier.bias must be finite. Got NaN or infinity"):
        save_model(model, tmp_path / "model", "# Second\n")
    assert (tmp_path / "model/README.md").read_text() == "# First\n"


@pytest.mark.parametrize("name", ["notes.txt", "folder/notes.txt"])
def test_other_files_are_never_overwritten(model, tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    target = file if name == "notes.txt" else file.parent
    with pytest.raises(InputError, match="save: folder must be new, empty, or hold a model. Got other files in"):
        save_model(model, target, "# Model\n")
    assert file.read_text() == "mine"
