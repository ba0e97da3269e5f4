"""Whether the hub can be reached is decided quickly, and what it cannot give is refused."""

import socket

import datasets
import pytest

from ftlab.data import hub
from ftlab.errors import InputError

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture
def connections(monkeypatch):
    """The addresses that a connection was tried to, with no network variable set; every connection opens."""
    tried = []

    class Connection:
        def close(self):
            pass

    for name in ("HF_HUB_OFFLINE", "HF_ENDPOINT", *PROXIES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", lambda address, timeout: tried.append(address) or Connection())
    hub.reachable.cache_clear()
    yield tried
    hub.reachable.cache_clear()


def test_a_hub_that_answers_can_be_reached_and_is_asked_once(connections):
    assert hub.reachable()
    assert hub.reachable()
    assert connections == [("huggingface.co", 443)]


@pytest.mark.parametrize(
    ("endpoint", "address"),
    [
        ("https://hub.example", ("hub.example", 443)),
        ("http://hub.example", ("hub.example", 80)),
        ("http://hub.example:8080/path", ("hub.example", 8080)),
    ],
)
def test_another_endpoint_is_asked_at_its_own_port(connections, monkeypatch, endpoint, address):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert hub.reachable()
    assert connections == [address]


@pytest.mark.parametrize("value", ["1", "on", "YES", "true"])
def test_offline_asks_nobody(connections, monkeypatch, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert not hub.reachable()
    assert connections == []


@pytest.mark.parametrize("name", PROXIES)
def test_behind_a_proxy_it_is_assumed_to_be_there(connections, monkeypatch, name):
    monkeypatch.setenv(name, "http://proxy.example")
    assert hub.reachable()
    assert connections == []


def test_a_connection_that_fails_means_no_hub(connections, monkeypatch):
    def refuse(address, timeout):
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "create_connection", refuse)
    assert not hub.reachable()


def test_the_first_line_of_the_hubs_error_is_in_ours(connections, monkeypatch):
    def fail(*name, **options):
        raise RuntimeError("no such data set\nand a traceback")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    match = (
        r"load_data: source must be .* Got 'someone/data:small' \(no such data set\)\. The embedded sets are reviews"
    )
    with pytest.raises(InputError, match=match):
        hub.data_from_hub("someone/data", "small")


def test_an_image_folder_is_loaded_without_a_network(connections, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets, "load_dataset", lambda *name, **options: (name, options))
    assert hub.data_from_hub("imagefolder", data_dir="pictures") == (("imagefolder",), {"data_dir": "pictures"})
    with pytest.raises(InputError, match="Got 'someone/data'. The embedded sets are"):
        hub.data_from_hub("someone/data")
