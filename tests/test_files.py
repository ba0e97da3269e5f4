"""Files and folders are written whole or not at all, and a full disk is reported in words."""

import errno
import os
import stat

import pytest

from ftlab.errors import InputError
from ftlab.files import new_folder, write_text


def content(folder):
    """Return the files of a folder, hidden ones too, with their text."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def no_space(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_text_takes_the_place_of_the_earlier_one_and_leaves_no_draft(tmp_path):
    for text in ("first", "zweite Fassung: größer"):
        write_text(tmp_path / "a.json", text)
        assert content(tmp_path) == {"a.json": text}


def test_a_text_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    write_text(tmp_path / "a.json", "first")
    monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(InputError, match=r"^save: disk must have room for a.json. Got \d+ MB free. Free some space"):
        write_text(tmp_path / "a.json", "second")
    assert content(tmp_path) == {"a.json": "first"}


def test_an_error_that_is_no_full_disk_is_raised_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "nowhere/a.json", "text")


def test_a_folder_takes_the_place_of_the_earlier_one_and_leaves_no_draft(tmp_path):
    for name in ("first", "second"):
        with new_folder(tmp_path / "deep/run") as draft:
            assert draft != tmp_path / "deep/run"
            (draft / name).write_text(name)
        assert content(tmp_path) == {f"deep/run/{name}": name}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_that_is_not_finished_leaves_the_earlier_one(tmp_path, error):
    with new_folder(tmp_path / "run") as draft:
        (draft / "a").write_text("first")

    def fail():
        with new_folder(tmp_path / "run") as draft:
            (draft / "a").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert content(tmp_path) == {"run/a": "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_take_its_name_leaves_the_earlier_one(tmp_path, monkeypatch):
    with new_folder(tmp_path / "run") as draft:
        (draft / "a").write_text("first")
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda old, new: no_space() if "draft" in str(old) else rename(old, new))
    with pytest.raises(InputError, match="disk must have room for run"), new_folder(tmp_path / "run") as draft:
        (draft / "a").write_text("second")
    assert content(tmp_path) == {"run/a": "first"}


def test_files_are_readable_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        with new_folder(tmp_path / "run") as draft:
            (draft / "a").write_text("text")
            (draft / "a").chmod(0o600)  # as safetensors leaves it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run/a").stat().st_mode) == 0o644
