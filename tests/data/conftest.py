"""Fixtures for the tests of the data: files, a tiny model, a cache of their own."""

import pytest

from ftlab.data import chunks, tokens
from ftlab.models.load import load_model


@pytest.fixture
def write(tmp_path):
    """A function that writes a file and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def model(bert, small):
    return load_model(bert, small)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A cache of its own, which ten texts are enough for."""
    monkeypatch.setattr(tokens, "MANY", 10)
    monkeypatch.setattr(chunks, "CHUNK", 7)
    monkeypatch.setenv("FTLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
