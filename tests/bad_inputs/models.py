"""Models that are refused: missing, damaged, or made for other labels."""

import json

import ftlab
from ftlab import ArgumentError, InputError
from tests.bad_inputs.bench import bad, labelled

# Models


@bad(InputError, "name must be a model that can be found. Got 'maxilm'")
def _unknown_model(bench):
    ftlab.finetune("maxilm", bench.data)


@bad(InputError, "name must be a folder that exists, or a hub id. Got './nowhere'")
def _missing_model_folder(bench):
    ftlab.finetune("./nowhere", bench.data)


@bad(ArgumentError, "name must be a name or a path. Got 7")
def _model_that_is_a_number(bench):
    ftlab.finetune(7, bench.data)


@bad(InputError, "folder must hold config.json")
def _model_without_config(bench):
    folder = bench.model_folder()
    (folder / "config.json").unlink()
    ftlab.finetune(folder, bench.data)


@bad(InputError, "hold model.safetensors. Got no weights in")
def _model_without_weights(bench):
    folder = bench.model_folder()
    (folder / "model.safetensors").unlink()
    ftlab.finetune(folder, bench.data)


@bad(InputError, "hold model.safetensors. Got pickled weights only in")
def _model_with_pickled_weights(bench):
    folder = bench.model_folder()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    ftlab.finetune(folder, bench.data)


@bad(InputError, "model folder must be one that transformers can open")
def _model_with_truncated_weights(bench):
    weights = bench.model_folder() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    ftlab.finetune(weights.parent, bench.data)


@bad(InputError, "model folder must be one that transformers can open")
def _model_with_broken_config(bench):
    folder = bench.model_folder()
    (folder / "config.json").write_text("{")
    ftlab.finetune(folder, bench.data)


@bad(InputError, "must be those of the config")
def _model_of_another_architecture(bench):
    config = bench.model_folder() / "config.json"
    other = {"model_type": "distilbert", "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2}
    config.write_text(json.dumps(json.loads(config.read_text()) | other))
    ftlab.finetune(config.parent, bench.data)


@bad(InputError, "model must come with its tokenizer")
def _model_without_tokenizer(bench):
    folder = bench.model_folder()
    for path in folder.glob("*token*"):
        path.unlink()
    ftlab.finetune(folder, bench.data)


@bad(InputError, "tokenizer must have at most")
def _tokenizer_larger_than_the_embedding(bench):
    file = bench.model_folder() / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {"zeugma": len(vocabulary), "syzygy": len(vocabulary) + 1}
    file.write_text(json.dumps(content))
    ftlab.finetune(file.parent, bench.data)


@bad(InputError, "must be those of the config")
def _model_of_another_width(bench):
    config = bench.model_folder() / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"intermediate_size": 128}))
    ftlab.finetune(config.parent, bench.data)


@bad(InputError, "model's labels must be no, yes. Got a head for blue, red")
def _head_for_two_other_labels(bench):
    coloured = ftlab.load_model(bench.bert, ftlab.load_data(labelled(["red", "blue"])))
    folder = bench.model_folder()
    coloured.net.save_pretrained(folder)
    ftlab.finetune(folder, bench.data)


@bad(InputError, "model's labels must be no, yes. Got a head for blue, green, red")
def _head_for_other_labels(bench):
    coloured = ftlab.load_model(bench.bert, ftlab.load_data(labelled(["red", "green", "blue"])))
    folder = bench.model_folder()
    coloured.net.save_pretrained(folder)
    ftlab.finetune(folder, bench.data)


@bad(ArgumentError, "model must be made for Task(kind='classification', names=('blue', 'red')")
def _model_made_for_other_labels(bench):
    bench.finetune(labelled(["red", "blue"]))


@bad(InputError, "without data must have a trained head")
def _model_without_head_and_data(bench):
    ftlab.load_model(bench.bert)
