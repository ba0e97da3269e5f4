"""Perturbed embeddings: the same pass at a perturbation of zero, for each kind of model, and what SMART and FreeLB do."""

import pytest
import torch

import ftlab
from ftlab.errors import ArgumentError
from ftlab.experiments import tiny_run
from ftlab.formulas.smart import smart
from ftlab.losses import adversarial
from ftlab.losses.adversarial import FreeLB, PerturbedModel, Smart
from ftlab.losses.classification import CrossEntropy
from ftlab.losses.logits import logits_of
from tests.losses.models import first_step, images, padded, pictures, still, texts, without_labels


def test_smoothness_of_two_parts_is_the_mean_of_theirs_and_each_part_has_noise_of_its_own(monkeypatch):
    seen = []

    def spy(scores, clean, noise, radius, step):
        seen.append(noise)
        return clean.sum() * 0 + len(seen)

    monkeypatch.setattr(adversarial, "smart", spy)
    record, _ = first_step(Smart(1.0), 2, change=still)
    plain, _ = first_step(CrossEntropy(), change=still)
    assert record["loss"] - plain["loss"] == pytest.approx(1.5, abs=1e-6)
    assert seen[0].shape == seen[1].shape == (4, 7, 16)
    assert not torch.equal(*seen)
    assert seen[0].std().item() == pytest.approx(1e-3, rel=0.2)


def test_the_smoothness_is_measured_in_fp32_under_every_engine():
    (slow, grads), (fast, others) = first_step(Smart(), change=still), first_step(Smart(), engine="fast", change=still)
    assert slow == fast
    assert tiny_run.same(grads, others)


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "vit"])
def test_embeddings_moved_by_nothing_give_the_same_scores_bit_for_bit_and_the_same_dropout(name):
    net, rows = (images(name), pictures()) if name == "vit" else (texts(name), padded())
    torch.manual_seed(4)
    plain = logits_of(net, rows)
    after = torch.rand(1)
    torch.manual_seed(4)
    moved = PerturbedModel("Smart", net, rows)
    assert torch.equal(moved(moved.zero_delta), plain)
    assert torch.equal(torch.rand(1), after)  # chance goes on as after any pass
    assert torch.equal(moved(moved.zero_delta), plain)
    assert not torch.equal(moved(moved.zero_delta + 0.1 * torch.randn_like(moved.zero_delta)), plain)
    if name != "vit":  # its configuration has no dropout
        assert not torch.equal(logits_of(net, rows), plain)


def test_an_embedding_that_draws_draws_the_same_as_in_a_plain_pass():
    net, rows = texts("bert"), padded()
    net.get_input_embeddings().register_forward_hook(lambda part, given, made: made + torch.rand_like(made))
    torch.manual_seed(4)
    plain = logits_of(net, rows)
    torch.manual_seed(4)
    moved = PerturbedModel("FreeLB", net, rows)
    assert torch.equal(moved(moved.zero_delta), plain)
    assert torch.equal(moved(moved.zero_delta), plain)


def test_a_gpt_finds_its_last_token_which_it_cannot_when_it_is_given_embeddings(caplog):
    net, rows = texts("gpt2").eval(), padded()
    moved = PerturbedModel("Smart", net, rows)
    plain = logits_of(net, rows)
    embedded = net.get_input_embeddings()(rows["input_ids"])
    blind = net(inputs_embeds=embedded, attention_mask=rows["attention_mask"]).logits
    assert torch.equal(moved(moved.zero_delta), plain)
    torch.testing.assert_close(blind[:2], plain[:2], rtol=1e-5, atol=1e-6)
    assert (blind[2:] - plain[2:]).abs().amax(1).min() > 1e-3  # the scores of padding


def test_padding_is_not_moved_at_random_and_a_text_has_the_same_length_of_move_on_average(monkeypatch):
    starts = []
    monkeypatch.setattr(adversarial, "free_lb", lambda loss, start, rate, steps: starts.append(start) or loss(start))
    torch.manual_seed(0)
    for _ in range(100):
        FreeLB(2, magnitude=0.5)(texts("bert"), padded())
        assert torch.equal(starts[-1][2:, 5:], torch.zeros(4, 2, 16))
        assert starts[-1].abs().flatten(1).amax(1).le(0.5 / torch.tensor([112, 112, 80, 80, 80, 80.0]).sqrt()).all()
    lengths = torch.stack(starts).flatten(2).square().sum(2).mean(0)
    torch.testing.assert_close(lengths, torch.full((6,), 0.25 / 3), rtol=0.05, atol=0)
    FreeLB(2)(images("vit"), pictures())
    assert torch.equal(starts[-1], torch.zeros(6, 16, 16))
    FreeLB(2, magnitude=0.5)(images("vit"), pictures())
    assert (starts[-1] != 0).all()


def test_even_the_smoothness_of_the_radius_of_the_authors_scripts_is_no_rounding_in_fp32():
    rows = padded()
    single, double = still(texts("bert")), still(texts("bert")).double()
    both = []
    for net in (single, double):
        moved = PerturbedModel("Smart", net, rows)
        noise = 1e-5 * torch.randn(6, 7, 16, generator=torch.Generator().manual_seed(0))
        scores = lambda delta, net=net, moved=moved: _scores(net, moved, delta)  # noqa: E731
        kind = next(net.parameters()).dtype
        both.append(smart(scores, scores(moved.zero_delta), noise.to(kind), 1e-5, 1e-3).item())
    assert both[0] == pytest.approx(both[1], rel=0.05)


def test_the_usual_radius_is_seen_beside_the_loss_of_the_embedded_model_and_that_of_the_authors_scripts_is_not():
    data = ftlab.load_data("reviews")
    net = ftlab.load_model("minilm", data).net.eval()
    generator = torch.Generator().manual_seed(0)
    rows = {"input_ids": torch.randint(2000, 3000, (4, 8), generator=generator), "labels": torch.tensor([0, 1, 0, 1])}
    entropy = CrossEntropy()(net, rows).item()
    parts = []
    for radius in (1e-5, 1e-2):
        torch.manual_seed(0)
        parts.append(Smart(1.0, radius)(net, rows).item() - entropy)
    assert abs(parts[0]) < 1e-6
    assert parts[1] > 1e-5


def _scores(net, moved, delta):
    hook = net.get_input_embeddings().register_forward_hook(lambda _, given, made: made + delta)
    try:
        return net(**without_labels(moved.batch)).logits
    finally:
        hook.remove()


def test_models_whose_embeddings_cannot_be_moved_are_refused():
    for loss in (Smart(), FreeLB()):
        where = type(loss).__name__
        with pytest.raises(
            ArgumentError, match=f"^{where}: model must have input embeddings. Got ResNetForImage.* RDrop"
        ):
            loss(images("resnet"), pictures())
        with pytest.raises(ArgumentError, match=f"^{where}: model must embed its input once. Got 2 times"):
            loss(Twice(), padded())
        with pytest.raises(ArgumentError, match=f"^{where}: model must embed its input as one tensor. Got tuple"):
            loss(Twice(pair=True), padded())


class Twice(torch.nn.Module):
    """A model that embeds its input twice, or not as one tensor."""

    def __init__(self, pair=False):
        super().__init__()
        self.words, self.head = torch.nn.Embedding(50, 4), torch.nn.Linear(4, 3)
        if pair:
            self.words.register_forward_hook(lambda _, given, made: (made, made))

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask):
        return self.head((self.words(input_ids) + self.words(input_ids)).mean(1))
