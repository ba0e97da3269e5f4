"""The folder of a run: nothing in it is lost before a new run has begun."""

import pytest

import ftlab
from ftlab.errors import ArgumentError, InputError
from ftlab.models.load import load_model


@pytest.fixture
def folder(tmp_path, bert, small):
    ftlab.finetune(load_model(bert, small), small, epochs=1, output=tmp_path / "run", progress=False)
    return tmp_path / "run"


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "wrong", [{"device": "gpu"}, {"engine": "fast", "device": "meta"}, {"recipe": ["Freeze('no.such')"]}]
)
def test_a_run_that_cannot_begin_leaves_the_one_it_would_overwrite(folder, bert, small, wrong):
    before = content(folder)
    with pytest.raises(InputError):
        ftlab.finetune(load_model(bert, small), small, output=folder, overwrite=True, progress=False, **wrong)
    assert content(folder) == before
    ftlab.finetune(load_model(bert, small), small, epochs=1, output=folder, overwrite=True, progress=False)


def test_overwriting_leaves_nothing_of_the_earlier_run(folder, bert, small):
    (folder / "history.jsonl").write_text("old\n")
    run = ftlab.finetune(load_model(bert, small), small, epochs=2, output=folder, overwrite=True, progress=False)
    assert len((folder / "history.jsonl").read_text().splitlines()) == len(run.history)


def test_a_folder_with_other_files_is_refused(tmp_path, bert, small):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArgumentError, match="come with output"):
        ftlab.finetune(load_model(bert, small), small, overwrite=True)
    with pytest.raises(InputError, match="output must be empty or hold a run"):
        ftlab.finetune(load_model(bert, small), small, output=tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
