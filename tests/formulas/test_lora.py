"""LoRA: by hand, against peft itself, the identity at the start, and an ordinary model at the end."""

import copy

import pytest
import torch
from torch import nn
from transformers import (
    AlbertConfig,
    AutoModelForSequenceClassification,
    DistilBertConfig,
    GPT2Config,
    GPT2ForSequenceClassification,
    ModernBertConfig,
    MPNetConfig,
)

from ftlab.errors import ArgumentError
from ftlab.experiments.tiny_run import batch, begun, freeze, go_on, model
from ftlab.formulas.lora import LoRA, lora
from ftlab.losses.logits import logits_of
from ftlab.models.load import Pretrained
from ftlab.recipes.parse import parse
from ftlab.rule import Now
from ftlab.training.loop import begin, finish, step


def test_a_product_by_hand():
    # 6 / 2 * [[1, 0], [1, 2]] @ [[1, 2], [0, 1]] = 3 * [[1, 2], [1, 4]]
    a, b = torch.tensor([[1.0, 2.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    assert torch.equal(lora(torch.ones(2, 2), a, b, 6.0), torch.tensor([[4.0, 7.0], [4.0, 13.0]]))


def test_b_of_0_is_the_identity_and_the_change_has_the_rank_of_the_factors():
    chance = torch.Generator().manual_seed(0)
    weight, a, b = (torch.randn(shape, generator=chance) for shape in ((6, 5), (2, 5), (6, 2)))
    kept = weight.clone()
    assert torch.equal(lora(weight, a, torch.zeros(6, 2), 8.0), weight)
    assert torch.linalg.matrix_rank(lora(weight, a, b, 8.0) - weight) == 2
    assert torch.equal(weight, kept)


def test_gradcheck():
    chance = torch.Generator().manual_seed(0)
    given = [torch.randn(s, generator=chance, dtype=torch.double, requires_grad=True) for s in ((3, 4), (2, 4), (3, 2))]
    assert torch.autograd.gradcheck(lambda *one: lora(*one, 3.0), given)


def test_the_merged_matrices_are_the_formula_of_pefts_factors():
    state = begun([LoRA(rank=2, alpha=6.0)])
    go_on(state, 3)
    factors = {name: tensor.clone() for name, tensor in state.model.state_dict().items() if "lora_" in name}
    assert len(factors) == 8  # A and B of query and value in two layers
    before, after = model().state_dict(), finish(state).state_dict()
    for name in [name for name in factors if "lora_A" in name]:
        own = name.replace(".lora_A.default", "")
        expected = lora(before[own], factors[name], factors[name.replace("lora_A", "lora_B")], 6.0)
        torch.testing.assert_close(after[own], expected)
        assert not torch.equal(after[own], before[own])


def test_only_factors_and_head_are_trained_and_all_else_stays_bit_for_bit():
    state = begun([LoRA(rank=4)])
    assert {name.split(".")[0] for name in state.params if "lora_" not in name} == {"classifier"}
    # 2 layers, query and value: each A has 4 × 16 entries, each B 16 × 4
    assert sum(param.numel() for name, param in state.params.items() if "lora_" in name) == 2 * 2 * (4 * 16 + 16 * 4)
    go_on(state, 3)
    before, after = model().state_dict(), finish(state).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert all("query.weight" in name or "value.weight" in name or name.startswith("classifier") for name in changed)
    assert len(changed) == 6


def test_it_begins_as_the_loaded_model_and_ends_with_the_logits_of_the_last_step():
    state, plain = begun([LoRA(rank=4)]), model()
    assert torch.equal(logits_of(state.model.eval(), batch(0)), logits_of(plain, batch(0)))
    go_on(state, 3)
    unmerged = logits_of(state.model.eval(), batch(0))
    torch.testing.assert_close(logits_of(finish(state).eval(), batch(0)), unmerged, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it
def test_it_draws_the_same_factors_as_peft_counts_and_leaves_the_chance_of_torch_alone():
    from peft import LoraConfig, get_peft_model

    ours, before = LoRA(rank=3).prepare(model(), Now(seed=5)), torch.random.get_rng_state()
    again = LoRA(rank=3).prepare(model(), Now(seed=5))
    assert torch.equal(before, torch.random.get_rng_state())
    pairs = zip(ours.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    theirs = get_peft_model(copy.deepcopy(model()), LoraConfig(r=3, task_type="SEQ_CLS"))
    counted = sum(param.numel() for param in theirs.parameters() if param.requires_grad)
    assert sum(param.numel() for param in ours.parameters() if param.requires_grad) == counted


def test_what_was_frozen_before_is_frozen_after():
    state = begun([LoRA()], change=lambda net: _hold(freeze(net)))
    go_on(state, 1)
    left = {name for name, param in finish(state).named_parameters() if not param.requires_grad}
    assert left == {"bert.embeddings.word_embeddings.weight", "classifier.bias"}


def test_what_is_new_in_the_body_is_trained_too():
    """A pooler that was not in the checkpoint would else stay as it was drawn."""
    fresh = frozenset({"bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"})
    state = begin(Pretrained(model(), None, "tiny", None, fresh), [batch(0)], [LoRA(rank=2)])
    assert {name for name in state.params if "lora_" not in name} == fresh
    assert all(param.requires_grad for param in finish(state).parameters())


def test_a_gpt2_whose_matrices_lie_the_other_way_is_merged_without_a_warning():
    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16}
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        net = GPT2ForSequenceClassification(GPT2Config(**sizes, bos_token_id=1, eos_token_id=1, pad_token_id=0))
    names = list(net.state_dict())
    before = net.transformer.h[0].attn.c_attn.weight.detach().clone()
    state = begin(net, [batch(0)], [LoRA(rank=2)], epochs=3, lr=1e-2)
    for _ in range(3):
        step(state, batch(0))
    inside = net.transformer.h[0].attn.c_attn
    factors = inside.lora_A.default.weight.detach(), inside.lora_B.default.weight.detach()
    unmerged = logits_of(net.eval(), batch(0))
    merged = finish(state).eval()
    torch.testing.assert_close(logits_of(merged, batch(0)), unmerged, atol=1e-5, rtol=0)
    torch.testing.assert_close(merged.transformer.h[0].attn.c_attn.weight, lora(before.T, *factors, 8.0).T)
    assert list(merged.state_dict()) == names
    assert not hasattr(merged.base_model, "peft_config")


def test_a_plain_module_has_no_head():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    rows = {"input": torch.ones(2, 3), "labels": torch.tensor([0, 1])}
    state = begin(net, [rows], [LoRA(rank=1, targets=("0",))], lr=1e-2)
    assert list(state.params) == ["0.lora_A.default.weight", "0.lora_B.default.weight"]
    step(state, rows)
    assert list(finish(state).state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert not hasattr(net, "peft_config")
    with pytest.raises(ArgumentError, match="LoRA: targets must be given for a model of type ''"):
        LoRA().prepare(nn.Sequential(nn.Linear(2, 2)), Now())


def test_two_of_the_same_size_are_not_drawn_alike():
    first, second = (LoRA(targets=("query",)).prepare(model(), Now(index=index)).state_dict() for index in (0, 1))
    name = "bert.encoder.layer.0.attention.self.query.lora_A.default.weight"
    assert not torch.equal(first[name], second[name])


@pytest.mark.parametrize(
    ("targets", "count"),
    [(("intermediate.dense",), 2), ("query", 2), ("dense", 7), (("query", "layer.1.attention.self.value"), 3)],
)
def test_other_targets_are_the_ends_of_names_inside_the_base_model(targets, count):
    state = begun([LoRA(rank=2, targets=targets)])
    assert sum("lora_A" in name for name in state.params) == count


@pytest.mark.parametrize("targets", ["nowhere", ("query", "nowhere"), "LayerNorm", "word_embeddings", "uery", "layer"])
def test_targets_that_are_no_linear_modules_are_refused_each_of_them(targets):
    net = model()
    with pytest.raises(
        ArgumentError, match="LoRA: targets must be linear modules of the model. Got .*Name modules inside"
    ):
        LoRA(targets=targets).prepare(net, Now())
    assert list(net.state_dict()) == list(model().state_dict())  # nothing has been put in


def test_a_target_is_a_whole_part_of_a_name_and_linear_wherever_it_stands():
    state = begin(nn.Sequential(*[nn.Linear(2, 2) for _ in range(11)]), [0], [LoRA(rank=1, targets="0")])
    assert list(state.params) == ["0.lora_A.default.weight", "0.lora_B.default.weight"]  # and not those of 10
    net = nn.ModuleDict({"a": nn.ModuleDict({"out": nn.Linear(2, 2)}), "b": nn.ModuleDict({"out": nn.LayerNorm(2)})})
    with pytest.raises(ArgumentError, match="targets must be linear modules of the model. Got out"):
        LoRA(targets="out").prepare(net, Now())


def test_the_inputs_of_the_factors_alone_are_dropped():
    state = begun([LoRA(rank=2, dropout=0.25)])
    inside = state.model.bert.encoder.layer[0].attention.self.query
    assert inside.lora_dropout["default"].p == 0.25
    with torch.no_grad():
        inside.lora_B["default"].weight.fill_(1.0)
    rows = torch.ones(1000, 16)
    added = inside.train()(rows) - inside.base_layer(rows)
    assert added.std(0).min() > 0
    plain = inside.eval()(rows) - inside.base_layer(rows)
    torch.testing.assert_close(added.mean(0), plain[0], rtol=0, atol=0.5)


def test_two_of_them_on_different_modules_are_trained_merged_and_let_go_and_on_the_same_ones_refused():
    state = begun([LoRA(rank=2, targets="query"), LoRA(rank=4, alpha=2.0, targets="value")])
    assert sum("lora_" in name for name in state.params) == 8
    go_on(state, 3)
    unmerged = logits_of(state.model.eval(), batch(0))
    merged = finish(state).eval()
    torch.testing.assert_close(logits_of(merged, batch(0)), unmerged, atol=1e-5, rtol=0)
    assert all(param.requires_grad for param in merged.parameters())
    with pytest.raises(ArgumentError, match="targets must be linear modules.*each in one LoRA only"):
        begun([LoRA(targets="query"), LoRA(targets=("query", "value"))])


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_four_real_steps_equal_those_of_a_model_that_peft_made():
    """The same factors, trained by a hand-written loop with peft's own model, give the same matrices."""
    from peft import LoraConfig, get_peft_model

    ours = begun([LoRA(rank=2, alpha=6.0)], change=without_dropout)
    theirs = get_peft_model(without_dropout(model()), LoraConfig(r=2, lora_alpha=6.0, task_type="SEQ_CLS"))
    start = {f"base_model.model.{name}": param.detach() for name, param in ours.params.items()}
    with torch.no_grad():
        for name, param in theirs.named_parameters():
            if param.requires_grad:
                param.copy_(start[name.replace("modules_to_save.default.", "")])
    trained = [param for param in theirs.parameters() if param.requires_grad]
    decay = [0.01 if param.ndim > 1 else 0.0 for param in trained]
    groups = [{"params": [param], "weight_decay": one} for param, one in zip(trained, decay, strict=True)]
    optimizer = torch.optim.AdamW(groups, lr=1e-2)
    for number in range(4):
        rows = batch(number % 2)
        optimizer.zero_grad()
        logits = theirs.train()(rows["input_ids"], rows["attention_mask"]).logits
        nn.functional.cross_entropy(logits, rows["labels"]).backward()
        optimizer.step()
    go_on(ours, 4)
    expected = theirs.merge_and_unload().state_dict()
    found = finish(ours).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_the_factors_are_left_on_the_model_those_of_an_earlier_run_not():
    state = begun([LoRA(rank=2, targets="query")])
    go_on(state, 1)
    factors = {name: tensor.clone() for name, tensor in state.model.state_dict().items() if "lora_" in name}
    net = finish(state)
    assert {one.partition(".lora_")[0] for one in factors} == set(net.lora_factors)
    for name, pair in net.lora_factors.items():
        assert all(
            torch.equal(one, factors[f"{name}.lora_{letter}.default.weight"])
            for letter, one in zip("AB", pair, strict=True)
        )
    again = finish(begin(net, [batch(0)], [LoRA(rank=2, targets="value")]))
    assert all(name.endswith("value") for name in again.lora_factors)


def test_rule_tells_its_modules_and_its_rate():
    assert LoRA(rank=4).equation == "W = W₀ + 2·B·A,  rank 4"
    assert "an update of rank 8 to the modules query, value" in LoRA(targets=("query", "value")).description
    assert "the modules query, and the head" in LoRA(targets="query").description
    assert "4e-4 to 5e-4" in LoRA().cautions([])[0]
    for rule in (LoRA(targets="query"), LoRA(2, 4.0, 0.5, ("query", "key"))):
        assert parse(repr(rule)) == rule


def without_dropout(net):
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return net


def _hold(net):
    net.classifier.bias.requires_grad_(False)
    return net


MUTANTS = (
    ("return weight + alpha / rank * (b @ a)", "return weight + alpha * (b @ a)"),
    ("return weight + alpha / rank * (b @ a)", "return weight - alpha / rank * (b @ a)"),
    ("lora_alpha=self.alpha", "lora_alpha=self.rank"),
    ("                module.merge()\n", ""),
    ('requires_grad_("lora_" in name or', 'requires_grad_("lora_A" in name or'),
    ("or id(param) in trained)", "or id(param) not in trained)"),
    ("                freeze_params([param])\n", "                pass\n"),
    ("not in name and id(param) not in head:", "not in name:"),
    ("for name in (*outside, *new)}", "for name in outside}"),
    ("fan_in_fan_out=transposed", "fan_in_fan_out=not transposed"),
    ("if len(linear) < len(matching) or not all(", "if not all("),
    ("for name in linear) for end in ends)", "for name in linear) for end in ends[:1])"),
    ('f".{name}".endswith(tuple(ends))', "name.endswith(tuple(end[1:] for end in ends))"),
    ("        unfreeze_params(model)\n", ""),
    ("lora_dropout=self.dropout", "lora_dropout=0.0"),
    ('        vars(model).pop("lora_factors", None)  # of an earlier run\n', ""),
    ("torch.manual_seed(now.generator.initial_seed())", "torch.manual_seed(now.seed)"),
    ('vars(body).pop("peft_config")', 'vars(body).get("peft_config")'),
)


SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
}
OTHERS = {
    "distilbert": DistilBertConfig(
        vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=16
    ),
    "albert": AlbertConfig(vocab_size=50, embedding_size=8, **SMALL),
    "mpnet": MPNetConfig(vocab_size=50, **SMALL),
    "modernbert": ModernBertConfig(
        vocab_size=50, **SMALL, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_usual_targets_of_models_that_peft_does_not_know_are_their_query_and_value(kind):
    net = AutoModelForSequenceClassification.from_config(OTHERS[kind])
    state = begin(net, [0], [LoRA(rank=2)])
    factors = [name for name in state.params if "lora_" in name]
    assert factors
    assert all(
        name.split(".lora_")[0].endswith(("q_lin", "v_lin", "query", "value", ".q", ".v", "Wqkv")) for name in factors
    )
