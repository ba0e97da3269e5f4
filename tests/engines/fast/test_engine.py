"""The fast engine trains and measures as the reference does."""

import sys

import pytest
import torch

import ftlab
from ftlab.data.batches import encode
from ftlab.engines.engine import choose_engine
from ftlab.errors import ArgumentError
from ftlab.evaluation import inference
from ftlab.evaluation.inference import embed, predict_logits
from ftlab.formulas.clip_norm import ClipNorm
from ftlab.losses.logits import logits_of
from ftlab.models.load import load_model
from tests.engines.fast.models import MODELS, batch, made


@pytest.mark.parametrize("kind", MODELS)
def test_fifty_updates_without_dropout_are_those_of_the_reference(kind):
    losses = {}
    for engine in ("reference", "fast-fp32"):
        net = made(kind, dropout=0.0)
        rows = [batch(net, "ragged" if number % 3 else "even", number) for number in range(5)]
        state = ftlab.begin(net, rows, [ClipNorm(1.0)], epochs=10, lr=1e-3, engine=engine)
        losses[engine] = [ftlab.step(state, rows[number % 5])["loss"] for number in range(50)]
    assert losses["fast-fp32"] == pytest.approx(losses["reference"], abs=1e-5)
    assert losses["reference"][0] > 1.2 * losses["reference"][-1]


def test_scores_of_many_rows_are_packed_and_the_same(bert, small):
    model = load_model(bert, small)
    encoded = encode(model, small["train"], 64)
    found = predict_logits(model, encoded, batch_size=16)
    expected = torch.cat([logits_of(model.net, encoded.batch([row])) for row in range(len(encoded))])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_run_with_the_reference_is_measured_with_it(bert, small, monkeypatch):
    used = []
    engine_of = inference._engine
    monkeypatch.setattr(inference, "FEW", 1)
    monkeypatch.setattr(inference, "_engine", lambda *given: used.append(engine_of(*given).name) or engine_of(*given))
    for engine, expected in (("reference", "reference"), ("auto", "fast-fp32")):
        ftlab.finetune(bert, small, epochs=1, progress=False, engine=engine)
        assert set(used) == {expected}
        used.clear()


def test_vectors_of_many_texts_are_packed_and_the_same(bert, small):
    model = load_model(bert, small)
    texts = list(small["train"]["text"])
    one_by_one = torch.cat([embed(model, [text]) for text in texts])
    torch.testing.assert_close(embed(model, texts, batch_size=16), one_by_one, rtol=1e-5, atol=1e-5)


def test_without_the_folder_everything_runs_as_the_reference(monkeypatch, bert, small):
    monkeypatch.setitem(sys.modules, "ftlab.engines.fast.engine", None)
    assert choose_engine("auto", "cpu").name == "reference"
    for forced in ("fast", "fast-fp32"):
        with pytest.raises(ArgumentError, match="engine must be installed"):
            choose_engine(forced, "cpu")
    run = ftlab.finetune(bert, small, epochs=1, progress=False)
    assert run.facts["engine"] == "reference"
