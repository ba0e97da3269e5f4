"""The losses inside training: whole and in parts, in bf16, resumed; their teachers, heads and embeddings."""

import tempfile
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    ViTConfig,
    ViTForImageClassification,
)

import ftlab
from ftlab.engines.engine import choose_engine
from ftlab.errors import ArgumentError, InputError
from ftlab.experiments import tiny_run
from ftlab.formulas.contrastive import contrastive
from ftlab.formulas.cross_entropy import cross_entropy
from ftlab.formulas.distill import distill
from ftlab.formulas.smart import smart
from ftlab.losses import adversarial
from ftlab.losses.adversarial import FreeLB, PerturbedModel, Smart
from ftlab.losses.classification import CrossEntropy, Focal, RDrop
from ftlab.losses.contrastive import SupervisedContrastive, logits_and_vectors
from ftlab.losses.distill import Distill
from ftlab.losses.logits import logits_of
from ftlab.training import checkpoint
from tests.tiny import tiny_gpt2

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def teacher(classes=2, words=50):
    """A BERT of one layer with weights of its own, the same each time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        config = BertConfig(vocab_size=words, num_labels=classes, **{**SIZES, "num_hidden_layers": 1})
        return BertForSequenceClassification(config)


LOSSES = {
    "focal": Focal(2.0),
    "r_drop": RDrop(1.0),
    "distill": Distill(teacher()),
    "contrastive": SupervisedContrastive(),
    "smart": Smart(1.0, radius=1e-2),
    "free_lb": FreeLB(2, magnitude=0.1),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def still(net):
    """Switch dropout off for good."""
    for part in net.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return net


def begun(loss, *, engine="reference", change=lambda net: net):
    net = change(tiny_run.model())
    batches = [tiny_run.batch(number) for number in range(2)]
    state = ftlab.begin(net, batches, epochs=3, lr=1e-2, loss=loss)
    state.engine = choose_engine(engine, "cpu", emulated=True)
    return state


def first_step(loss, parts=1, **how):
    state = begun(loss, **how)
    whole = tiny_run.batch(0)
    pieces = [{name: tensor[part::parts] for name, tensor in whole.items()} for part in range(parts)]
    return ftlab.step(state, pieces), tiny_run.gradients(state)


@pytest.mark.parametrize(
    "loss",
    [CrossEntropy(), Focal(2.0), RDrop(1.0), Distill(teacher()), FreeLB(3), Smart(0.0)],
    ids=lambda loss: type(loss).__name__,
)
def test_two_parts_are_the_whole_batch_for_a_loss_that_is_a_mean(loss):
    (whole, grads), (parts, others) = first_step(loss, change=still), first_step(loss, 2, change=still)
    assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-6)
    for name, grad in grads.items():
        torch.testing.assert_close(others[name], grad, rtol=1e-4, atol=1e-6)


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


def test_the_contrastive_loss_compares_each_part_within_itself():
    loss = SupervisedContrastive(1.0)
    whole, parts = first_step(loss, change=still)[0]["loss"], first_step(loss, 2, change=still)[0]["loss"]
    net, rows = still(tiny_run.model()), tiny_run.batch(0)
    halves = [loss(net, {name: tensor[part::2] for name, tensor in rows.items()}).item() for part in range(2)]
    assert parts == pytest.approx(sum(halves) / 2, abs=1e-6)
    assert abs(whole - parts) > 0.1  # seven others to tell apart, or three


@pytest.mark.parametrize("kind", [CrossEntropy, Focal])
def test_class_weights_that_cannot_be_meant_are_refused(kind):
    where = kind.__name__
    with pytest.raises(
        ArgumentError, match=f"^{where}: weight must be a number at least 0. Got -1.0. Give a number for"
    ):
        kind(weight=(1.0, -1.0))
    with pytest.raises(ArgumentError, match=f"^{where}: weight must be a tuple, one number a class. Got Tensor. Write"):
        kind(weight=torch.ones(2))
    with pytest.raises(ArgumentError, match=r"weight must have one number per class, shape \(2,\). Got shape \(3,\)"):
        kind(weight=(1.0, 1.0, 1.0))(tiny_run.model(), tiny_run.batch(0))


@every_loss
def test_the_fast_engine_gives_nearly_the_same_loss_and_a_gradient_for_every_parameter(loss):
    (slow, grads), (fast, others) = first_step(loss, change=still), first_step(loss, engine="fast", change=still)
    assert fast["loss"] == pytest.approx(slow["loss"], abs=0.02)
    assert grads.keys() == others.keys() == begun(loss).params.keys()
    one, other = (torch.cat([grad.flatten() for grad in some.values()]) for some in (grads, others))
    assert torch.cosine_similarity(one, other, dim=0) > 0.98


def test_the_smoothness_is_measured_in_fp32_under_every_engine():
    (slow, grads), (fast, others) = first_step(Smart(), change=still), first_step(Smart(), engine="fast", change=still)
    assert slow == fast
    assert tiny_run.same(grads, others)


@every_loss
def test_stopped_saved_and_resumed_training_ends_with_the_same_weights_bit_for_bit(loss):
    whole = begun(loss)
    tiny_run.go_on(whole, 6)
    first = begun(loss)
    tiny_run.go_on(first, 3)
    with tempfile.TemporaryDirectory() as folder:
        saved = checkpoint.save(first, Path(folder))
        second = begun(loss)
        checkpoint.restore(second, saved)
    tiny_run.go_on(second, 6)
    assert tiny_run.same(tiny_run.weights(second), tiny_run.weights(whole))
    assert not tiny_run.same(tiny_run.weights(whole), tiny_run.weights(begun(loss)))


@every_loss
def test_a_loss_leaves_no_hook_no_gradient_and_no_trace_in_the_model(loss):
    net, rows = tiny_run.model().train(), tiny_run.batch(0)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    value = loss(net, rows)
    assert value.ndim == 0
    assert value.requires_grad
    assert tiny_run.same(before, net.state_dict())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
    assert all(param.grad is None for param in net.parameters())
    assert net.training


@every_loss
def test_a_loss_can_be_measured_without_gradients_and_works_with_a_frozen_embedding(loss):
    net = still(tiny_run.model())
    torch.manual_seed(0)
    expected = loss(net, tiny_run.batch(0))
    for param in net.get_input_embeddings().parameters():
        param.requires_grad_(False)
    torch.manual_seed(0)
    with torch.no_grad():
        assert torch.equal(loss(net, tiny_run.batch(0)), expected)
    torch.manual_seed(0)
    loss(net, tiny_run.batch(0)).backward()
    assert net.get_input_embeddings().weight.grad is None
    assert net.classifier.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "loss",
    [Focal(0.0), SupervisedContrastive(0.0), Smart(0.0), FreeLB(1), FreeLB(3, 0.0), Distill(teacher(), alpha=0.0)],
)
def test_the_neutral_form_is_cross_entropy_bit_for_bit_dropout_and_all(loss):
    (ours, grads), (plain, others) = first_step(loss), first_step(CrossEntropy())
    near = isinstance(loss, FreeLB) and loss.steps > 1  # the mean of three equal losses is rounded
    assert ours["loss"] == (pytest.approx(plain["loss"], rel=1e-6) if near else plain["loss"])
    for name, grad in others.items():
        torch.testing.assert_close(grads[name], grad, rtol=1e-4 if near else 0, atol=1e-7 if near else 0)


def test_r_drop_has_two_different_dropouts_and_each_part_its_own():
    net, rows = tiny_run.model().train(), tiny_run.batch(0)
    values = []
    for alpha in (0.0, 1.0):
        torch.manual_seed(0)
        values.append(RDrop(alpha)(net, rows).item())
    assert values[1] > values[0] + 1e-6
    assert RDrop(0.0)(net, rows).item() != values[0]  # the next part of a batch draws on
    net.eval()
    assert torch.equal(RDrop(5.0)(net, rows), CrossEntropy()(net, rows))


# teachers


@pytest.fixture(scope="module")
def folder(tmp_path_factory, bert):
    """A folder with a fine-tuned teacher for the labels of the small data."""
    from tests.tiny import small_data

    index = tmp_path_factory.mktemp("teacher") / "run"
    ftlab.finetune(str(bert), small_data(), epochs=1, lr=1e-3, output=index, progress=False)
    return index


def test_a_teacher_in_a_folder_is_loaded_once_and_late_and_moves_no_dropout(folder, bert, small, monkeypatch):
    loaded = []
    load = ftlab.load_model
    monkeypatch.setattr(
        "ftlab.losses.distill.load_model", lambda name: loaded.append((name, torch.rand(9))[0]) or load(name)
    )
    loss = Distill(folder, alpha=0.5)
    assert loaded == []
    assert repr(loss) == f"Distill(teacher={str(folder)!r}, temperature=2.0, alpha=0.5)"
    net = load(str(bert), small).net.train()
    rows = tiny_run.batch(0)
    values = []
    for _ in range(2):
        torch.manual_seed(3)
        values.append(loss(net, rows))
    assert torch.equal(*values)  # the first call, which loads it, has the same dropout as the second
    assert loaded == [str(folder)]
    assert loss == Distill(str(folder), alpha=0.5) != Distill(str(folder), alpha=0.6)
    assert hash(loss) == hash(Distill(str(folder), alpha=0.5))


def test_a_run_with_a_teacher_is_the_formula_and_is_recorded(folder, bert, small):
    run = ftlab.finetune(str(bert), small, epochs=1, loss=Distill(folder), progress=False)
    assert run.facts["arguments"]["loss"] == f"Distill(teacher={str(folder)!r}, temperature=2.0, alpha=0.5)"
    net, wise, rows = tiny_run.model(), teacher().eval(), tiny_run.batch(0)
    expected = distill(logits_of(net, rows), logits_of(wise, rows), rows["labels"], 3.0, 0.7)
    assert torch.equal(Distill(wise, 3.0, 0.7)(net, rows), expected)


def test_the_teacher_has_no_dropout_and_gets_no_gradient():
    wise, net, rows = teacher().train(), tiny_run.model().eval(), tiny_run.batch(0)
    wise.register_forward_hook(lambda part, given, made: graphs.append(torch.is_grad_enabled()))
    graphs = []
    loss = Distill(wise)
    assert repr(loss) == "Distill(teacher=BertForSequenceClassification, temperature=2.0, alpha=0.5)"
    value = loss(net, rows)
    value.backward()
    assert torch.equal(loss(net, rows), value)
    assert not wise.training
    assert graphs == [False, False]
    assert all(param.grad is None for param in wise.parameters())


def test_a_loaded_teacher_may_be_given(folder):
    wise = ftlab.load_model(folder)
    assert Distill(wise)(wise.copy().net, tiny_run.batch(0)).item() > 0
    assert repr(Distill(wise)).startswith("Distill(teacher=Pretrained(")


def test_a_teacher_that_does_not_fit_is_refused(folder):
    net, rows = tiny_run.model(), tiny_run.batch(0)
    with pytest.raises(
        ArgumentError, match="^Distill: teacher must be a folder, a name or a model. Got 3. Say Distill"
    ):
        Distill(3)
    with pytest.raises(
        ArgumentError, match="teacher must have as many labels as the student. Got 3 beside 2. Fine-tune"
    ):
        Distill(teacher(3))(net, rows)
    with pytest.raises(
        ArgumentError, match="must share the student's tokenizer. Got a vocabulary of 60 tokens beside 50"
    ):
        Distill(teacher(words=60))(net, rows)
    with pytest.raises(ArgumentError, match="teacher must be another model than the student. Got the student itself"):
        Distill(net)(net, rows)
    turned = teacher()
    turned.config.id2label = {0: "LABEL_1", 1: "LABEL_0"}
    with pytest.raises(
        ArgumentError, match="the student's labels in their order. Got LABEL_1, LABEL_0 beside LABEL_0, LABEL_1"
    ):
        Distill(turned)(net, rows)
    with pytest.raises(ArgumentError, match="teacher must take the student's input_ids. Got pixel_values"):
        Distill(images("resnet"))(net, rows)
    with pytest.raises(InputError, match="load_model: name must be"):
        Distill(str(folder / "nothing"))(net, rows)


# heads and embeddings


def texts(name):
    """A model of a kind with three classes, the same each time."""
    kinds = {
        "bert": (BertForSequenceClassification, BertConfig(vocab_size=50, num_labels=3, **SIZES)),
        "roberta": (
            RobertaForSequenceClassification,
            RobertaConfig(vocab_size=50, num_labels=3, pad_token_id=0, bos_token_id=1, eos_token_id=2, **SIZES),
        ),
        "gpt2": (
            GPT2ForSequenceClassification,
            GPT2Config(
                vocab_size=50,
                num_labels=3,
                n_embd=16,
                n_layer=2,
                n_head=2,
                n_positions=16,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
            ),
        ),
    }
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        kind, config = kinds[name]
        return kind(config).train()


def images(name):
    kinds = {
        "vit": (ViTForImageClassification, ViTConfig(image_size=16, patch_size=4, num_labels=3, **SIZES)),
        "resnet": (
            ResNetForImageClassification,
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=3),
        ),
    }
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        kind, config = kinds[name]
        return kind(config).train()


def padded():
    """Six texts, of which four are shorter."""
    ids = torch.randint(3, 50, (6, 7), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    ids[2:, 5:] = mask[2:, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1, 2, 0, 1, 2])}


def pictures():
    pixels = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return {"pixel_values": pixels, "labels": torch.tensor([0, 1, 2, 0, 1, 2])}


def without_labels(rows):
    return {name: tensor for name, tensor in rows.items() if name != "labels"}


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


@pytest.mark.parametrize("loss", [Smart(), FreeLB(), SupervisedContrastive(), RDrop(), Focal()], ids=repr)
def test_a_gpt_can_be_fine_tuned_with_every_loss(loss, tmp_path_factory, small):
    folder = tmp_path_factory.mktemp("models") / "gpt2"
    run = ftlab.finetune(str(tiny_gpt2(folder)), small, epochs=1, accumulate=2, loss=loss, progress=False)
    assert run.facts["arguments"]["loss"] == repr(loss)
    assert all(param.isfinite().all() for param in run.model.net.parameters())
    assert isinstance(run.model.net, AutoModelForSequenceClassification._model_mapping[GPT2Config])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@every_loss
def test_on_a_gpu_the_loss_is_that_of_the_processor(loss):
    rows = tiny_run.batch(0)
    values = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        net = still(tiny_run.model()).to(device)
        value = loss(net, {name: tensor.to(device) for name, tensor in rows.items()})
        value.backward()
        values.append(value.item())
    assert values[0] == pytest.approx(values[1], abs=1e-2 if isinstance(loss, Smart | FreeLB) else 1e-4)
