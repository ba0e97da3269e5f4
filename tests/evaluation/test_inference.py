"""Using a model leaves it as it was."""

import pytest

from ftlab.evaluation.inference import embed, evaluate, predict
from ftlab.models.load import load_model


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
