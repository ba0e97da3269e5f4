"""Models so small that a test can train them in a second: 2 layers, 32 wide, random weights, a few hundred words."""

from pathlib import Path

import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetModel,
    RobertaConfig,
    RobertaModel,
    ViTImageProcessorPil,
)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = """
    a about after again against all almost along also always am an and another any are around as at away back bad be
    because bed been before began begin behind being best better between big bit black blue board body book both box
    boy bread break bring broke broken brother brought build but buy by call came can car care cat chair change child
    children city class clean clear close coat cold come cook could country course cup cut dark day days did different
    dinner dirty do does dog done door down drink drive dry dull each early earth easy eat eight end enough even
    evening ever every eye face fair fall family far fast father feel few field film find fine fire first fish five
    floor fly food foot for found four fresh friend friendly from front full game garden gave gem get girl give glass
    go gold gone good got great green grew ground group grow had hair half hall hand happy hard has hat have he head
    hear heart heavy held help her here high hill him his hold home hope horse hot hotel hour house how idea if in into
    is it its just keep kept kind kitchen knew know lake land large last late laugh lead leave left less let letter
    life light like line little live long look lost lot loud love low made main make man many may me mean meat men
    might milk mind mine minute money month moon more morning most mother mountain mouth move much music must my name
    near never new next nice night nine no not nothing now of off often oil old on once one only open or other our out
    over own page paint pair paper part past pay people person picture piece place plain plan plant plate play point
    poor pretty price pull push put quick quiet quite rain ran reach read ready real red rest rich ride right river
    road room round run sad safe said salt same sand sat saw say school sea seat second see seem seen sell send seven
    shall she ship shoe shop short should show sick side simple since sing sister sit six sleep slow small snow so soft
    sold some son song soon sorry sound soup staff stand star start stay step still stone stop store story street
    strong such sugar summer sun sure sweet swim table take talk tall taste tea teach tell ten than thank that the
    their them then there these they thin thing think third this those though thought three through time tiny to today
    together told too took top town train travel tree true try turn twice two ugly under until up us use very view
    visit voice wait walk wall want warm was wash watch water way we week well went were west wet what wheel when where
    which while white who whole why wide wife wild will wind window winter wish with without woman wonder wood word
    work world worse worst would write wrong year yellow yes yet you young your . , ! ? ' - :
""".split()
VOCABULARY = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
_SIZES = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


def tiny_bert(folder: Path) -> Path:
    """Save the tiny BERT, without a head, with its tokenizer; the weights are the same each time."""
    return _save(BertModel(BertConfig(**_SIZES, max_position_embeddings=64)), folder, "[CLS] $A [SEP]")


def tiny_roberta(folder: Path) -> Path:
    """Save a RoBERTa of the same size: its positions begin after the padding token's number."""
    config = RobertaConfig(**_SIZES, max_position_embeddings=66, pad_token_id=0, type_vocab_size=1)
    return _save(RobertaModel(config), folder, "[CLS] $A [SEP]")


def tiny_gpt2(folder: Path) -> Path:
    """Save a GPT-2 of the same size; like the real one it has no padding token and adds no token at the end."""
    config = GPT2Config(vocab_size=len(VOCABULARY), n_embd=32, n_layer=2, n_head=2, n_positions=64)
    return _save(GPT2Model(config), folder, "$A", without=("pad_token", "cls_token", "sep_token"))


TEMPLATE = """{% for message in messages %}[CLS] {{ message['role'] }} {{ message['content'] }} [SEP]
{% endfor %}{% if add_generation_prompt %}[CLS] assistant {% endif %}"""
"""A chat template whose turns begin with [CLS] and end with [SEP]."""


def tiny_llama(folder: Path) -> Path:
    """Save a Llama of the same size with two query heads a key/value head, tied embeddings and a chat template."""
    sizes = {**_SIZES, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(**sizes, max_position_embeddings=64, tie_word_embeddings=True, pad_token_id=0, eos_token_id=3)
    return _save(LlamaForCausalLM(config), folder, "$A", template_of_chat=TEMPLATE)


def tiny_gpt2_lm(folder: Path) -> Path:
    """Save a GPT-2 with its language-model head, without a chat template and without a padding token."""
    config = GPT2Config(vocab_size=len(VOCABULARY), n_embd=32, n_layer=2, n_head=2, n_positions=64, eos_token_id=3)
    return _save(GPT2LMHeadModel(config), folder, "$A", without=("pad_token", "cls_token", "sep_token"))


def tiny_resnet(folder: Path) -> Path:
    """Save a ResNet for images of 16 by 16 pixels, with its image processor."""
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ResNetModel(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    ViTImageProcessorPil(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
    return Path(folder)


def _save(
    model: PreTrainedModel,
    folder: Path,
    template: str,
    without: tuple[str, ...] = (),
    template_of_chat: str | None = None,
) -> Path:
    """Save a model with weights that are the same each time, and a tokenizer of a word a token."""
    tokenizer = Tokenizer(WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    special = [(one, VOCABULARY[one]) for one in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=special)
    names = {f"{one.strip('[]').lower()}_token": one for one in SPECIAL} | {"eos_token": "[SEP]"}
    names = {key: value for key, value in names.items() if key not in without}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names)
    fast.chat_template = template_of_chat
    fast.save_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for param in model.parameters():
            if param.ndim > 1:
                param.normal_(0, 0.02, generator=generator)
    model.save_pretrained(folder)
    return Path(folder)


def small_conversations() -> DatasetDict:
    """Return 32, 8 and 8 prompts of two words, whose response is one of two phrases in turn."""
    rows = [
        {"prompt": f"{WORDS[i % 80]} {WORDS[3 * i % 70]}", "response": "good film" if i % 2 else "bad book"}
        for i in range(48)
    ]
    parts = {"train": rows[:32], "validation": rows[32:40], "test": rows[40:]}
    return DatasetDict({split: Dataset.from_list(part) for split, part in parts.items()})


def small_data() -> DatasetDict:
    """Return 40, 10 and 10 short texts of different lengths, in which one word tells the label."""
    texts = [f"{WORDS[i % 90]} {WORDS[(7 * i) % 80]} {'good' if i % 2 else 'bad'} " * (1 + i % 5) for i in range(60)]
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    parts = {"train": range(40), "validation": range(40, 50), "test": range(50, 60)}
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {"text": [texts[i] for i in rows], "label": [i % 2 for i in rows]}, features=features
            )
            for split, rows in parts.items()
        }
    )
