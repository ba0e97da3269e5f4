"""The vectors that a head takes its scores from, and the contrastive loss of a model."""

import pytest
import torch

from ftlab.errors import ArgumentError
from ftlab.experiments import tiny_run
from ftlab.formulas.contrastive import contrastive
from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.losses.contrastive import SupervisedContrastive, logits_and_vectors
from ftlab.losses.logits import logits_of
from tests.losses.models import first_step, images, padded, pictures, still, texts, without_labels


def test_the_contrastive_loss_compares_each_part_within_itself():
    loss = SupervisedContrastive(1.0)
    whole, parts = first_step(loss, change=still)[0]["loss"], first_step(loss, 2, change=still)[0]["loss"]
    net, rows = still(tiny_run.model()), tiny_run.batch(0)
    halves = [loss(net, {name: tensor[part::2] for name, tensor in rows.items()}).item() for part in range(2)]
    assert parts == pytest.approx(sum(halves) / 2, abs=1e-6)
    assert abs(whole - parts) > 0.1  # seven others to tell apart, or three


def test_the_vector_is_what_the_head_makes_its_scores_of():
    rows = padded()
    found = {name: logits_and_vectors(texts(name).eval(), rows) for name in ("bert", "roberta", "gpt2")}
    for name, (logits, vectors) in found.items():
        net = texts(name).eval()
        assert torch.equal(logits, logits_of(net, rows))
        hidden = net.base_model(**without_labels(rows))
        if name == "bert":
            expected = hidden.pooler_output
        elif name == "roberta":
            expected = hidden.last_hidden_state[:, 0]
        else:
            expected = hidden.last_hidden_state[
                torch.arange(6), torch.tensor([6, 6, 4, 4, 4, 4])
            ]  # the last real token
        assert torch.equal(vectors, expected)


def test_images_have_vectors_too():
    rows = pictures()
    for name in ("vit", "resnet"):
        net = images(name).eval()
        hidden = net.base_model(pixel_values=rows["pixel_values"])
        expected = hidden.last_hidden_state[:, 0] if name == "vit" else hidden.pooler_output.flatten(1)
        assert torch.equal(logits_and_vectors(net, rows)[1], expected)


def test_the_contrastive_loss_of_a_model_is_the_formula_of_its_scores_and_vectors():
    net, rows = texts("bert").eval(), padded()
    logits, vectors = logits_and_vectors(net, rows)
    expected = 0.75 * cross_entropy(logits, rows["labels"]) + 0.25 * contrastive(vectors, rows["labels"], 0.1)
    assert torch.equal(SupervisedContrastive(0.25, 0.1)(net, rows), expected)


def test_cosines_are_not_rounded_to_bf16():
    net, rows = texts("bert").eval(), padded()
    with torch.autocast("cpu", torch.bfloat16):
        _, vectors = logits_and_vectors(net, rows)
        found = SupervisedContrastive(1.0, 0.1)(net, rows)
    assert torch.equal(found, contrastive(vectors, rows["labels"], 0.1))


def test_a_model_without_a_head_is_refused():
    with pytest.raises(
        ArgumentError, match="^SupervisedContrastive: model must have a head. Got Linear. Its last part"
    ):
        SupervisedContrastive()(torch.nn.Linear(2, 2), {"input": torch.zeros(2, 2), "labels": torch.tensor([0, 1])})

    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.score = torch.nn.Linear(4, 2)

        def forward(self, x):
            return self.score(x).mean(1)

    with pytest.raises(ArgumentError, match="model must take its scores from one token. Got none that has them"):
        SupervisedContrastive()(Mean(), {"x": torch.arange(24.0).view(2, 3, 4), "labels": torch.tensor([0, 1])})
