"""Teachers: loaded once and late, without dropout and gradients; those that do not fit are refused."""

import pytest
import torch

import ftlab
from ftlab.data.batches import encode
from ftlab.errors import ArgumentError, InputError
from ftlab.experiments import tiny_run
from ftlab.formulas.distill import distill
from ftlab.losses.distill import Distill
from ftlab.losses.logits import logits_of
from tests.losses.models import images, teacher
from tests.tiny import tiny_gpt2


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


@pytest.fixture
def other_tokenizer(folder):
    """The teacher of the folder, whose tokenizer has one word more, so that it is another tokenizer."""
    wise = ftlab.load_model(folder)
    wise.processor.add_tokens(["zyzzyva"])
    return wise


def test_a_teacher_with_another_tokenizer_answers_as_on_its_own_tokens(folder, other_tokenizer, bert, small):
    how = {"epochs": 2, "lr": 1e-3, "batch_size": 8, "progress": False}
    losses = [
        [record["loss"] for record in ftlab.finetune(str(bert), small, loss=Distill(wise, alpha=0.7), **how).history]
        for wise in (folder, other_tokenizer)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-5)


def test_it_reads_each_text_once_and_is_not_asked_again(other_tokenizer, bert, small):
    rows, passes = len(small["train"]), []
    other_tokenizer.net.register_forward_hook(lambda module, given, made: passes.append(len(made.logits)))
    run = ftlab.finetune(str(bert), small, epochs=3, loss=Distill(other_tokenizer), progress=False)
    assert sum(passes) == rows
    assert all(param.grad is None for param in other_tokenizer.net.parameters())
    assert run.facts["arguments"]["loss"].startswith("Distill(teacher=Pretrained(")


def test_a_gpt_teaches_a_bert_and_a_bert_a_gpt(tmp_path, bert, small):
    gpt, how = tiny_gpt2(tmp_path / "gpt"), {"lr": 5e-3, "batch_size": 8, "progress": False}
    texts = list(small["train"]["text"])
    for teacher_folder, student in ((gpt, bert), (bert, gpt)):
        wise = ftlab.finetune(str(teacher_folder), small, epochs=6, **how).model
        wise.processor.add_tokens(["zyzzyva"])
        run = ftlab.finetune(str(student), small, epochs=10, loss=Distill(wise, alpha=1.0), **how)
        pairs = zip(run.predict(texts), ftlab.predict(wise, texts), strict=True)
        agree = [mine["label"] == theirs["label"] for mine, theirs in pairs]
        assert sum(agree) >= 0.9 * len(texts)  # it has seen no label


def test_answers_are_to_the_rows_of_the_training_and_labels_are_checked(other_tokenizer, bert, small):
    student = ftlab.load_model(bert, small)
    loss = Distill(other_tokenizer).for_student(student, small["train"], 32)
    foreign = encode(student, ["a text that is not there"], 32).batch([0]) | {"labels": torch.tensor([0])}
    with pytest.raises(ArgumentError, match="Distill: texts must be those that the teacher has answered. Got another"):
        loss(student.net, foreign)
    other_tokenizer.net.config.id2label = {0: "good", 1: "bad", 2: "both"}
    with pytest.raises(ArgumentError, match="teacher must have as many labels as the student. Got 3 beside 2"):
        Distill(other_tokenizer).for_student(student, small["train"], 32)


def test_a_module_and_a_teacher_with_the_same_tokenizer_stay_as_they_are(folder, bert, small):
    student = ftlab.load_model(bert, small)
    for loss in (Distill(teacher()), Distill(folder)):
        assert loss.for_student(student, small["train"], 32) is loss
