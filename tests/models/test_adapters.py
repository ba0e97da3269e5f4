"""LoRA kept as an adapter: what peft opens gives the logits of the run's merged model; all else is refused."""

import json
from dataclasses import dataclass

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import ftlab
from ftlab.errors import ArgumentError, InputError, InterruptionError
from ftlab.formulas.ema import EMA
from ftlab.formulas.freeze import Freeze
from ftlab.formulas.lora import LoRA
from ftlab.formulas.mixout import Mixout
from ftlab.formulas.redraw import Redraw
from ftlab.formulas.reinit import Reinit
from ftlab.formulas.remove_layers import RemoveLayers
from ftlab.models.adapters import save_adapter
from ftlab.parameters import select
from ftlab.rule import Prepare
from ftlab.training import finetune
from tests.tiny import small_conversations, tiny_gpt2, tiny_llama, tiny_roberta

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

HOW = {"epochs": 2, "lr": 5e-2, "batch_size": 8, "progress": False}


@pytest.fixture
def tuned(small, bert):
    """A function that fine-tunes the tiny BERT by a recipe."""
    return lambda *recipe, **how: ftlab.finetune(ftlab.load_model(bert, small), small, recipe=recipe, **HOW, **how)


@dataclass(frozen=True)
class Nudge(Prepare):
    """Changes some parameters before anything is trained."""

    pattern: str

    def prepare(self, model, now):
        params = dict(model.named_parameters())
        for name in select(params, self.pattern):
            params[name].data.add_(0.5)
        return model


def inputs(run):
    rows = run.model.processor(list(run.data["test"]["text"]), padding=True, return_tensors="pt")
    return {name: rows[name] for name in ("input_ids", "attention_mask")}


def opened(base, folder, **options):
    """What a user of peft has: the checkpoint, and the adapter on top of it."""
    return PeftModel.from_pretrained(AutoModelForSequenceClassification.from_pretrained(base, **options), folder).eval()


@torch.no_grad()
def same_logits(run, base, folder, **options):
    rows = inputs(run)
    merged = AutoModelForSequenceClassification.from_pretrained(run.save(folder.parent / "merged")).eval()(**rows)
    adapted = opened(base, folder, **options)
    torch.testing.assert_close(adapted(**rows).logits, merged.logits, rtol=0, atol=1e-5)
    for name, param in adapted.named_parameters():
        if "lora_B" in name:
            param.zero_()
    assert (adapted(**rows).logits - merged.logits).abs().max() > 1e-3  # the factors, and not the head alone


@pytest.mark.parametrize(
    "rule",
    [
        LoRA(rank=2),
        LoRA(rank=3, alpha=1.5, dropout=0.1, targets=("query", "intermediate.dense")),
        LoRA(rank=1, targets="dense"),
    ],
)
def test_peft_opens_what_a_bert_has_learned(tuned, bert, tmp_path, rule):
    run = tuned(rule)
    assert run.save_adapter(tmp_path / "adapter") == tmp_path / "adapter"
    same_logits(run, bert, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (rule.rank, rule.alpha, rule.dropout)
    assert config["modules_to_save"] == ["classifier"]
    assert config["base_model_name_or_path"] == str(bert)
    size = sum(tensor.numel() for tensor in load_file(tmp_path / "adapter/adapter_model.safetensors").values())
    assert size < 0.5 * sum(param.numel() for param in run.model.net.parameters())


def test_the_factors_are_those_that_were_trained(tuned, tmp_path):
    run = tuned(LoRA(rank=2, targets="key"))
    run.save_adapter(tmp_path / "adapter")
    saved = load_file(tmp_path / "adapter/adapter_model.safetensors")
    for name, factors in run.model.net.lora_factors.items():
        for letter, factor in zip("AB", factors, strict=True):
            assert torch.equal(saved[f"base_model.model.{name}.lora_{letter}.weight"], factor)
    assert len(saved) == 2 * 2 + 2  # A and B of two layers, weight and bias of the head


@pytest.mark.parametrize(("make", "modules"), [(tiny_roberta, ["classifier"]), (tiny_gpt2, ["score"])])
def test_other_kinds_of_models(small, tmp_path, make, modules):
    base = make(tmp_path / "base")
    run = ftlab.finetune(ftlab.load_model(base, small), small, recipe=[LoRA(rank=2)], max_length=64, **HOW)
    run.save_adapter(tmp_path / "adapter")
    options = {"pad_token_id": 3} if make is tiny_gpt2 else {}
    same_logits(run, base, tmp_path / "adapter", **options)
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["modules_to_save"] == modules
    said = (tmp_path / "adapter/README.md").read_text()
    assert ("pad_token_id=3" in said) == (make is tiny_gpt2)
    assert "library_name: peft" in said


def test_a_gpt2_with_linear_modules_of_another_shape(small, tmp_path):
    base = tiny_gpt2(tmp_path / "base")
    rule = LoRA(rank=2, targets=("c_proj", "c_fc"))  # one of them is square
    run = ftlab.finetune(ftlab.load_model(base, small), small, recipe=[rule], max_length=64, **HOW)
    run.save_adapter(tmp_path / "adapter")
    same_logits(run, base, tmp_path / "adapter", pad_token_id=3)


def test_what_was_new_in_the_body_is_in_it(small, bert, tmp_path):
    """A checkpoint without a pooler, as one of masked language modelling: the pooler is drawn, and trained."""
    whole = AutoModelForSequenceClassification.from_pretrained(bert)
    kept = {name: one for name, one in whole.bert.state_dict().items() if "pooler" not in name}
    base = tmp_path / "base"
    ftlab.load_model(bert, small).processor.save_pretrained(base)
    whole.bert.save_pretrained(base, state_dict=kept)
    model = ftlab.load_model(base, small)
    assert "bert.pooler.dense.weight" in model.fresh
    run = ftlab.finetune(model, small, recipe=[LoRA(rank=2)], **HOW)
    run.save_adapter(tmp_path / "adapter")
    same_logits(run, base, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["modules_to_save"] == ["bert.pooler.dense", "classifier"]


def test_a_resumed_run_gives_the_adapter_of_one_that_was_not_stopped(tuned, bert, tmp_path, monkeypatch):
    recipe, real = [LoRA(rank=2)], finetune.plain_step

    def stopped(state, batch):
        if state.step == 4:
            raise InterruptionError("the plug was pulled")
        return real(state, batch)

    tuned(*recipe).save_adapter(tmp_path / "whole")
    monkeypatch.setattr(finetune, "plain_step", stopped)
    with pytest.raises(InterruptionError, match="the plug was pulled"):
        tuned(*recipe, output=tmp_path / "run", save_every=3)
    monkeypatch.setattr(finetune, "plain_step", real)
    run = tuned(*recipe, output=tmp_path / "run", save_every=3, resume=True)
    assert run.facts["resumed_at"] == 3
    run.save_adapter(tmp_path / "adapter")
    same_logits(run, bert, tmp_path / "adapter")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "adapter" / name).read_bytes()


@pytest.mark.parametrize(
    "recipe",
    [
        [LoRA(rank=2), EMA(0.5)],
        [Freeze("*.embeddings.*"), LoRA(rank=2)],
        [Redraw("*pooler*"), LoRA(rank=2)],
        [Mixout(0.5, "*.query.*"), LoRA(rank=2)],
        [Nudge("*.LayerNorm.bias"), LoRA(rank=2)],
    ],
)
def test_other_rules_beside_it(tuned, bert, tmp_path, recipe):
    run = tuned(*recipe)
    run.save_adapter(tmp_path / "adapter")
    same_logits(run, bert, tmp_path / "adapter")


@pytest.mark.parametrize("headed", [False, True])
def test_more_labels_than_two_are_said_in_the_card(tuned, bert, tmp_path, headed):
    base = tuned().save(tmp_path / "two labels") if headed else bert
    data = {"text": ["a good day", "a bad day", "an old day"] * 10, "label": ["good", "bad", "old"] * 10}
    (tmp_path / "data.json").write_text(
        "\n".join(json.dumps(dict(zip(data, row, strict=True))) for row in zip(*data.values(), strict=True))
    )
    data = ftlab.load_data(tmp_path / "data.json")
    run = ftlab.finetune(ftlab.load_model(base, data, new_head=True), data, recipe=[LoRA(rank=2)], **HOW)
    run.save_adapter(tmp_path / "adapter")
    options = {"num_labels": 3, "ignore_mismatched_sizes": True}
    said = f"from_pretrained({str(base)!r}, num_labels=3, ignore_mismatched_sizes=True)"
    assert said in (tmp_path / "adapter/README.md").read_text()
    found = opened(base, tmp_path / "adapter", **options)
    rows = run.model.processor(["a good day"], return_tensors="pt")
    rows = {name: rows[name] for name in ("input_ids", "attention_mask")}
    torch.testing.assert_close(found(**rows).logits, run.model.net.eval()(**rows).logits, rtol=0, atol=1e-5)


def test_it_leaves_the_runs_model_and_the_chance_of_torch_alone(tuned, tmp_path):
    run = tuned(LoRA(rank=2))
    before, chance = {n: t.clone() for n, t in run.model.net.state_dict().items()}, torch.get_rng_state()
    save_adapter(run.model, run.settings.recipe, tmp_path / "adapter", "")
    assert torch.equal(chance, torch.get_rng_state())
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.net.state_dict().items())
    run.save_adapter(tmp_path / "adapter")  # an adapter gives way to its successor
    names = {"README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == names


@pytest.mark.parametrize("recipe", [[], [LoRA(rank=2, targets="query"), LoRA(rank=2, targets="value")]])
def test_a_run_without_lora_or_with_two_is_refused(tuned, tmp_path, recipe):
    match = f"^save_adapter: recipe must hold one LoRA. Got {len(recipe)}. Put LoRA\\(\\) into the recipe once"
    with pytest.raises(ArgumentError, match=match):
        tuned(*recipe).save_adapter(tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize(
    ("recipe", "got"),
    [
        ([Reinit(0.15), LoRA(rank=2)], r"Got bert.encoder.layer.0.attention.self.query.weight, which is not the ch"),
        ([Nudge("*.query.bias"), LoRA(rank=2)], "Got other changes in a module that LoRA trains"),
        ([RemoveLayers(1), LoRA(rank=2)], "Got tensors of other names or shapes"),
    ],
)
def test_what_an_adapter_cannot_hold_is_refused(tuned, tmp_path, recipe, got):
    with pytest.raises(InputError, match=f"^save_adapter: model must be the checkpoint with LoRA's changes. {got}"):
        tuned(*recipe).save_adapter(tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()


def test_a_second_run_on_the_first_ones_model_is_not_the_checkpoints(tuned, small, tmp_path):
    again = ftlab.finetune(tuned(LoRA(rank=2)).model, small, recipe=[LoRA(rank=2)], **HOW)
    with pytest.raises(InputError, match="model must be the checkpoint with LoRA's changes"):
        again.save_adapter(tmp_path / "adapter")


def test_a_second_run_on_other_modules_keeps_those_of_the_first_whole(tuned, small, bert, tmp_path):
    first = tuned(LoRA(rank=2, targets="query"))
    again = ftlab.finetune(first.model, small, recipe=[LoRA(rank=3, targets="value")], **HOW)
    again.save_adapter(tmp_path / "adapter")
    same_logits(again, bert, tmp_path / "adapter")
    modules = json.loads((tmp_path / "adapter/adapter_config.json").read_text())["modules_to_save"]
    assert [name.rpartition(".")[2] for name in modules] == ["query", "query", "classifier"]


def test_a_checkpoint_that_is_gone_and_a_folder_of_other_files_are_refused(small, tmp_path):
    base = tiny_roberta(tmp_path / "base")
    run = ftlab.finetune(ftlab.load_model(base, small), small, recipe=[LoRA(rank=2)], **HOW)
    with pytest.raises(
        InputError, match="save_adapter: folder must be new, empty, or hold an adapter. Got other files"
    ):
        run.save_adapter(base)
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="save_adapter: checkpoint must be one that can be loaded again"):
        run.save_adapter(tmp_path / "adapter")


def test_an_adapter_of_a_language_model_gives_its_text(tmp_path):
    base = tiny_llama(tmp_path / "base")
    data = small_conversations()
    run = ftlab.finetune(ftlab.load_model(base, data), data, recipe=[LoRA(rank=2)], **HOW)
    folder = run.save_adapter(tmp_path / "adapter")
    assert json.loads((folder / "adapter_config.json").read_text())["task_type"] == "CAUSAL_LM"
    ids = run.model.processor("good film", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        merged, plain = run.model.net.eval()(ids).logits, AutoModelForCausalLM.from_pretrained(base).eval()(ids).logits
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()(ids).logits
    torch.testing.assert_close(adapted, merged, rtol=0, atol=1e-5)
    assert (plain - merged).abs().max() > 1e-3
    assert not any("lm_head" in name or "embed" in name for name in load_file(folder / "adapter_model.safetensors"))
