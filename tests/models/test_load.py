"""Every kind of model and of task trains, is measured, saved, and comes back through ``transformers.pipeline``."""

import json
import subprocess
import sys

import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import ModernBertConfig, ModernBertForMaskedLM

import ftlab
from ftlab.errors import InputError
from ftlab.models.load import load_model
from tests.tiny import small_data, tiny_bert, tiny_gpt2, tiny_resnet, tiny_roberta

TEXTS = ["bad bed", "good mother good", "a long bad road to a small house near the river"]


def small_regression():
    data = small_data()
    features = Features({"text": Value("string"), "label": Value("float32")})
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"text": rows["text"], "label": [one * 2.5 - 1 for one in rows["label"]]}, features=features
            )
            for split, rows in data.items()
        }
    )


def small_multilabel():
    """Every third text ends at a river, whatever else it is; some have no label."""
    features = Features({"text": Value("string"), "label": List(ClassLabel(names=["good", "river"]))})
    built = {}
    for split, rows in small_data().items():
        texts = [text + "river" * (i % 3 == 0) for i, text in enumerate(rows["text"])]
        labels = [[0] * ("good" in text) + [1] * ("river" in text) for text in texts]
        built[split] = Dataset.from_dict({"text": texts, "label": labels}, features=features)
    return DatasetDict(built)


def in_fresh_process(folder, inputs, kind="text-classification", options="top_k=None"):
    """Open a folder with ``transformers.pipeline`` in a process that never imports ftlab."""
    code = f"""
import json, sys
from transformers import pipeline
print(json.dumps(pipeline({kind!r}, {str(folder)!r})({inputs}, {options})))
assert not any(name.startswith("ftlab") for name in sys.modules)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("make", [tiny_bert, tiny_roberta, tiny_gpt2])
def test_text_models_train_and_come_back_the_same(make, tmp_path):
    data = small_data()
    model = load_model(make(tmp_path / "base"), data)
    run = ftlab.finetune(model, data, epochs=12, lr=3e-3, batch_size=8, output=tmp_path / "run")
    assert run.metrics["accuracy"] >= 0.9
    expected = run.predict(TEXTS)
    for found, own in zip(in_fresh_process(tmp_path / "run/model", TEXTS), expected, strict=True):
        assert {one["label"]: one["score"] for one in found} == pytest.approx(own["probabilities"], abs=1e-5)
    again = load_model(tmp_path / "run")
    assert [one["score"] for one in ftlab.predict(again, TEXTS)] == pytest.approx([one["score"] for one in expected])
    assert again.task == model.task
    assert ftlab.evaluate(again, data["test"], resamples=0).values == pytest.approx(run.metrics.values)


def test_a_resnet_learns_digits_and_comes_back_the_same(tmp_path):
    data = ftlab.load_data("digits")
    model = load_model(tiny_resnet(tmp_path / "base"), data)
    run = ftlab.finetune(model, data, epochs=4, lr=1e-2, output=tmp_path / "run")
    assert run.metrics["accuracy"] > 0.85
    images = [data["test"][i]["image"] for i in range(3)]
    paths = []
    for number, image in enumerate(images):
        paths.append(str(tmp_path / f"{number}.png"))
        image.save(paths[-1])
    found = in_fresh_process(tmp_path / "run/model", paths, "image-classification", "top_k=10")
    for scores, own in zip(found, run.predict(images), strict=True):
        assert {one["label"]: one["score"] for one in scores} == pytest.approx(own["probabilities"], abs=1e-5)


def test_regression_trains_and_comes_back_the_same(bert, tmp_path):
    data = small_regression()
    run = ftlab.finetune(str(bert), data, epochs=15, lr=3e-3, batch_size=8, output=tmp_path / "run")
    assert run.metrics["pearson"] > 0.9
    assert json.loads((tmp_path / "run/metrics.json").read_text())["mse"] < 0.5
    found = in_fresh_process(tmp_path / "run/model", TEXTS, options="function_to_apply='none'")
    assert [one["score"] for one in found] == pytest.approx([one["value"] for one in run.predict(TEXTS)], abs=1e-5)
    assert load_model(tmp_path / "run").task.kind == "regression"


def test_several_labels_at_once_train_and_come_back_the_same(bert, tmp_path):
    data = small_multilabel()
    run = ftlab.finetune(str(bert), data, epochs=20, lr=3e-3, batch_size=8, output=tmp_path / "run")
    assert run.history[-1]["loss"] < 0.6 * run.history[0]["loss"]
    assert {"accuracy", "f1", "f1_micro", "auc_roc", "loss"} == run.metrics.values.keys()
    for found, own in zip(in_fresh_process(tmp_path / "run/model", TEXTS), run.predict(TEXTS), strict=True):
        assert {one["label"]: one["score"] for one in found} == pytest.approx(own["probabilities"], abs=1e-5)
    assert load_model(tmp_path / "run").task == run.model.task


@pytest.mark.parametrize("make", [tiny_bert, tiny_roberta, tiny_gpt2])
def test_predictions_do_not_depend_on_what_else_is_in_the_batch(make, tmp_path):
    data = small_data()
    model = load_model(make(tmp_path), data)
    texts = list(data["train"]["text"])
    together = [one["score"] for one in ftlab.predict(model, texts)]
    alone = [ftlab.predict(model, [text])[0]["score"] for text in texts]
    assert together == pytest.approx(alone, abs=1e-6)


def test_the_longest_text_of_a_roberta_counts_from_after_its_padding(tmp_path):
    model = load_model(tiny_roberta(tmp_path), small_data())
    model.processor.model_max_length = 10**30
    assert model.max_length == 65  # 66 positions, the first taken by the padding token, number 0
    assert ftlab.predict(model, ["word " * 200], max_length=65)


def test_the_body_is_loaded_in_fp32_and_only_the_head_is_new(bert):
    model = load_model(bert, small_data())
    assert {param.dtype for param in model.net.parameters()} == {torch.float32}
    assert model.fresh == {"classifier.weight", "classifier.bias"}
    again = load_model(bert, small_data())
    assert torch.equal(again.net.classifier.weight, model.net.classifier.weight)
    assert model.net.classifier.weight.std().item() == pytest.approx(0.02, rel=0.4)
    assert not model.net.classifier.bias.any()


def test_a_head_for_other_labels_gives_way_only_when_asked(bert, tmp_path):
    ftlab.finetune(str(bert), small_data(), epochs=1, output=tmp_path / "run")
    other = small_data()
    for split in other:
        other[split] = other[split].cast_column("label", ClassLabel(names=["night", "day"]))
    with pytest.raises(InputError, match=r"model's labels must be night, day. Got a head for bad, good"):
        load_model(tmp_path / "run", other)
    assert load_model(tmp_path / "run", other, new_head=True).fresh == {"classifier.weight", "classifier.bias"}
    assert load_model(tmp_path / "run", small_data()).fresh == frozenset()


def test_a_hub_id_is_found_in_a_filled_cache_with_no_network(bert, tmp_path):
    """The hub's cache is a tree of snapshots; a run in a fresh process finds the model there by its id."""
    commit = "0" * 40
    snapshot = tmp_path / "hub/models--someone--tiny/snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(bert, target_is_directory=True)
    (tmp_path / "hub/models--someone--tiny/refs").mkdir()
    (tmp_path / "hub/models--someone--tiny/refs/main").write_text(commit)
    code = """
import ftlab
from tests.tiny import small_data
print(ftlab.load_model("someone/tiny", small_data()))
"""
    import os

    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ended.stdout.startswith("Pretrained(someone/tiny: BertForSequenceClassification"), ended.stderr
    assert "classification, labels bad, good, 2 new parameters" in ended.stdout


def test_of_a_head_that_was_not_trained_for_labels_only_the_missing_part_is_new(tmp_path, small):
    config = ModernBertConfig(
        vocab_size=522, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        pad_token_id=0, bos_token_id=1, eos_token_id=3, cls_token_id=1, sep_token_id=3,
    )  # fmt: skip
    tiny_bert(tmp_path)  # for its tokenizer
    pretrained = ModernBertForMaskedLM(config)
    pretrained.save_pretrained(tmp_path)
    for new_head in (False, True):
        model = load_model(tmp_path, small, new_head=new_head)
        assert model.fresh == {"classifier.weight", "classifier.bias"}
        assert torch.equal(model.net.head.dense.weight, pretrained.head.dense.weight)


def test_an_adapter_is_called_an_adapter(tmp_path, bert, small):
    run = ftlab.finetune(str(bert), small, epochs=1, recipe=["LoRA(rank=2)"], progress=False)
    run.save_adapter(tmp_path / "adapter")
    with pytest.raises(InputError, match="folder must hold a whole model. Got an adapter in .* Open it with peft"):
        load_model(tmp_path / "adapter", small)
