"""Using a model leaves it as it was."""

import io

import numpy as np
import pytest
from PIL import Image as Picture, ImageDraw
from transformers import pipeline

import ftlab
from ftlab.errors import ArgumentError
from ftlab.evaluation.inference import embed, evaluate, predict
from ftlab.models.load import load_model
from ftlab.models.save import save_model
from tests.tiny import tiny_resnet


@pytest.mark.parametrize(
    "use",
    [
        lambda model, rows: embed(model, rows["text"][:3]),
        lambda model, rows: evaluate(model, rows, resamples=0),
        lambda model, rows: predict(model, rows["text"][:3]),
    ],
    ids=["embed", "evaluate", "predict"],
)
def test_each_part_of_a_model_keeps_its_mode(bert, small, use):
    model = load_model(bert, small)
    model.net.train()
    model.net.base_model.embeddings.eval()  # a part that its owner keeps without dropout
    before = [part.training for part in model.net.modules()]
    assert len(set(before)) == 2
    use(model, small["test"])
    assert [part.training for part in model.net.modules()] == before


def test_a_failure_gives_the_mode_back_too(bert, small, monkeypatch):
    model = load_model(bert, small)
    model.net.train()

    def fails(*_):
        raise RuntimeError("in the middle")

    monkeypatch.setattr("ftlab.evaluation.inference.logits_of", fails)
    with pytest.raises(RuntimeError, match="in the middle"):
        predict(model, ["a text"])
    assert all(part.training for part in model.net.modules())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return load_model(tiny_resnet(tmp_path_factory.mktemp("resnet")), ftlab.load_data("digits"))


def test_a_picture_is_judged_as_it_is_in_memory_and_upright(pictures, tmp_path):
    chance = np.random.default_rng(0)
    Picture.fromarray(chance.integers(0, 255, (24, 32, 3)).astype("uint8")).save(tmp_path / "a.png")
    opened = Picture.open(tmp_path / "a.png")
    opened.load()
    ImageDraw.Draw(opened).rectangle((0, 0, 32, 12), fill=(255, 0, 0))
    painted, copied, file = (
        predict(pictures, [one])[0] for one in (opened, opened.copy(), Picture.open(tmp_path / "a.png"))
    )
    assert painted == copied != file
    exif = Picture.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    Picture.open(tmp_path / "a.png").save(tmp_path / "a.jpg", exif=exif, quality=95)
    upload = Picture.open(io.BytesIO((tmp_path / "a.jpg").read_bytes()))
    turned = predict(pictures, [upload])
    assert turned == predict(pictures, [Picture.open(tmp_path / "a.jpg")])
    save_model(pictures, tmp_path / "model", "")
    theirs = {
        one["label"]: one["score"]
        for one in pipeline("image-classification", str(tmp_path / "model"), top_k=10)(upload)
    }
    assert theirs == pytest.approx(turned[0]["probabilities"], abs=1e-5)


@pytest.mark.parametrize("wrong", ["a.png", np.zeros((8, 8, 3), np.uint8), Picture.new("F", (8, 8))])
def test_what_is_no_picture_is_refused_with_its_place(pictures, wrong):
    with pytest.raises(
        ArgumentError, match="inputs must be PIL images with 8 or 16 bits a channel. Got .* at position 2. Open"
    ):
        predict(pictures, [Picture.new("RGB", (8, 8)), wrong])


def test_a_saved_run_is_used_with_the_length_of_its_training(bert, small, tmp_path):
    texts = [f"{'good ' if i % 2 else 'bad '}{'bad good ' * 12}" for i in range(8)]
    run = ftlab.finetune(str(bert), small, epochs=2, lr=5e-3, max_length=6, output=tmp_path / "run", progress=False)
    again = load_model(tmp_path / "run")
    assert again.max_length == run.model.max_length == 6
    assert evaluate(again, small["test"], resamples=0)["loss"] == pytest.approx(run.metrics["loss"], abs=1e-5)
    mine, theirs = run.predict(texts), predict(again, texts)
    assert [one["score"] for one in mine] == pytest.approx([one["score"] for one in theirs], abs=1e-5)
    piped = pipeline("text-classification", str(tmp_path / "run/model"))(texts, truncation=True)
    assert [one["score"] for one in piped] == pytest.approx([one["score"] for one in mine], abs=1e-5)
    assert predict(again, texts, max_length=20) != theirs  # another length can still be asked for
