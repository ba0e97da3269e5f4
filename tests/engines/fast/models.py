"""Small models and batches for the tests of the fast engine."""

import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from ftlab.data.conversations import IGNORE
from ftlab.engines.fast.packed_batch import PackedBatch
from ftlab.losses.logits import logits_of

SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


MODELS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES)),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES, pad_token_id=1)),
    "electra": lambda: ElectraForSequenceClassification(ElectraConfig(**SIZES, embedding_size=8)),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(vocab_size=60, dim=16, n_layers=3, n_heads=2, hidden_dim=32, max_position_embeddings=40)
    ),
    "gpt2": lambda: GPT2ForSequenceClassification(
        GPT2Config(
            vocab_size=60,
            n_embd=16,
            n_layer=3,
            n_head=2,
            n_positions=40,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
        )
    ),
    "llama": lambda: LlamaForSequenceClassification(LlamaConfig(**SIZES, **SPECIAL, num_key_value_heads=1)),
}
LANGUAGE_MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, **SPECIAL, num_key_value_heads=1, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, **SPECIAL, num_key_value_heads=2)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=60, n_embd=16, n_layer=3, n_head=2, n_positions=40, bos_token_id=2, eos_token_id=3)
    ),
}


LENGTHS = {
    "ragged": (5, 9, 3, 9, 1, 7),
    "even": (6, 6, 6, 6, 6, 6),
    "full": (8, 8, 8, 8, 8, 8),
    "steps": (8, 16, 8, 16, 16, 8),
}


def made(kind, *, dropout=0.1):
    return _made(MODELS[kind], dropout)


def made_language_model(kind, *, dropout=0.0):
    return _made(LANGUAGE_MODELS[kind], dropout)


def _made(build, dropout):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build()
        with torch.no_grad():
            for param in net.parameters():
                param.add_(torch.randn_like(param), alpha=0.2)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    return net


def batch(net, lengths="ragged", number=0):
    chance = torch.Generator().manual_seed(number)
    wanted = torch.tensor(LENGTHS[lengths])
    mask = (torch.arange(int(wanted.max())) < wanted[:, None]).long()
    ids = torch.randint(4, 60, mask.shape, generator=chance)
    ids[mask == 0] = net.config.pad_token_id or 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids[:, 0] % 2}


def next_token_batch(alike, number=0):
    """Texts that begin with ``alike`` common tokens; the targets are some tokens at their ends."""
    chance = torch.Generator().manual_seed(number)
    lengths = torch.tensor((9, 14, 7, 12))
    mask = (torch.arange(16) < lengths[:, None]).long()
    ids = torch.randint(4, 60, mask.shape, generator=chance)
    ids[:, :alike] = ids[0, :alike]
    ids = ids.masked_fill(mask == 0, 0)
    labels = ids.masked_fill((mask == 0) | (torch.arange(16) < torch.tensor((2, 8, 5, 1))[:, None]), IGNORE)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def padded_further(net, rows, columns):
    fill = {"input_ids": net.config.pad_token_id or 0, "attention_mask": 0}
    return rows | {name: nn.functional.pad(rows[name], (0, columns), value=one) for name, one in fill.items()}


def scores_and_gradients(net, rows):
    net.zero_grad()
    scores = logits_of(net, rows)
    scores.square().sum().backward()
    return scores.detach(), {
        name: param.grad.clone() for name, param in net.named_parameters() if param.grad is not None
    }


def assert_equal(found, expected, tolerance=1e-5):
    (scores, grads), (others, wanted) = found, expected
    torch.testing.assert_close(scores, others, rtol=tolerance, atol=tolerance)
    greatest = max(float(one.abs().max()) for one in wanted.values())
    for name, grad in wanted.items():
        torch.testing.assert_close(grads[name], grad, rtol=0, atol=tolerance * greatest, msg=name)


def packed_batch_with(*lengths):
    return PackedBatch((torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long())


ROWS = ((20, 5), (20, 19), (20, 20), (16, 16), (16, 8, 8), (60, 3, 1), (60, 58, 40), (1,), (3, 40, 17, 16, 9, 2))


def other_models():
    """Models that must not be packed: positions relative to each other inside the layer, and a window of attention."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        relative = DebertaV2Config(**SIZES, relative_attention=True, pos_att_type="p2c|c2p", pad_token_id=0)
        window = ModernBertConfig(
            **SIZES, pad_token_id=0, local_attention=4, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
        )
        return [DebertaV2ForSequenceClassification(relative), ModernBertForSequenceClassification(window)]


def frozen_below(net, trained):
    """Freeze all parameters but those whose names hold one of the words."""
    for name, param in net.named_parameters():
        param.requires_grad_(any(word in name for word in trained))
    return net
