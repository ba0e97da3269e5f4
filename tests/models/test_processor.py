"""Tokenizers and image processors: what is missing is named, and padding is possible."""

import pytest

import ftlab
from ftlab.errors import InputError
from ftlab.models.load import load_model
from tests.tiny import tiny_gpt2, tiny_resnet


def test_a_package_that_an_image_processor_lacks_is_named(tmp_path, monkeypatch):
    def lacking(*_, **__):
        raise ImportError("\nAutoImageProcessor requires the Torchvision library but it was not found. More.\n")

    monkeypatch.setattr("transformers.AutoImageProcessor.from_pretrained", lacking)
    with pytest.raises(
        InputError, match=r"have the package that its image processor needs. Got .*Torchvision.*Install"
    ):
        load_model(tiny_resnet(tmp_path / "base"), ftlab.load_data("digits"))


def test_a_gpt_is_padded_on_the_right_with_its_end_token(tmp_path, small):
    model = load_model(tiny_gpt2(tmp_path), small)
    assert model.processor.padding_side == "right"
    assert model.processor.pad_token == model.processor.eos_token
    assert model.net.config.pad_token_id == model.processor.pad_token_id
