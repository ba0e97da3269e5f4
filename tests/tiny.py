"""A BERT so small that a test can train it in a second: 2 layers, 32 wide, random weights, a few hundred words."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

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


def tiny_bert(folder: Path) -> Path:
    """Save the tiny BERT, without a head, with its tokenizer; the weights are the same each time."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL, *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(one, vocabulary[one]) for one in ("[CLS]", "[SEP]")],
    )
    names = {f"{one.strip('[]').lower()}_token": one for one in SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return Path(folder)
