"""Small models, batches and trainings for the tests of the losses."""

import pytest
import torch
from transformers import (
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
from ftlab.experiments import tiny_run
from ftlab.losses.adversarial import FreeLB, Smart
from ftlab.losses.classification import Focal, RDrop
from ftlab.losses.contrastive import SupervisedContrastive
from ftlab.losses.distill import Distill

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
