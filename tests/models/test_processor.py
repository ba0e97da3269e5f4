"""Tokenizers and image processors: what is missing is named, and padding is possible."""

import pytest
import torch
from transformers import AutoTokenizer

import ftlab
from ftlab.errors import InputError
from ftlab.models.load import load_model
from tests.tiny import tiny_bert, tiny_gpt2, tiny_resnet


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


def test_added_tokens_get_rows_of_their_own_and_another_models_tokenizer_is_refused(tmp_path, small, caplog):
    folder = tiny_bert(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = len(tokenizer)
    tokenizer.add_tokens(["pd-l1", "her2"])
    tokenizer.save_pretrained(folder)
    model = ftlab.load_model(folder, small)
    assert model.net.get_input_embeddings().num_embeddings == model.net.config.vocab_size == before + 2
    assert "2 tokens were added to the tokenizer" in caplog.text
    again = ftlab.load_model(folder, small).net.get_input_embeddings().weight
    assert torch.equal(model.net.get_input_embeddings().weight, again)
    run = ftlab.finetune(model, small, epochs=1, progress=False)
    run.save(tmp_path / "saved")
    (again,), (mine,) = ftlab.predict(ftlab.load_model(tmp_path / "saved"), ["her2"]), run.predict(["her2"])
    assert again["score"] == pytest.approx(mine["score"], abs=1e-6)
