"""What every test has: no network, no progress bars, one thread (two tests run side by side), a tiny model."""

import os

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "TQDM_DISABLE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}

from pathlib import Path

import pytest
import torch

from tests.tiny import small_data, tiny_bert

torch.set_num_threads(1)  # tiny models lose time to a second thread, the more so when tests run side by side


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny BERT; copy it before changing it."""
    return tiny_bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def small():
    """A small data set that the tiny BERT can learn by heart."""
    return small_data()


@pytest.fixture
def mentioned(caplog: pytest.LogCaptureFixture):
    """A function that gives everything mentioned so far, as one text."""
    caplog.set_level("WARNING", logger="ftlab")
    return lambda: caplog.text


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of 50 resamples where a test does not ask for its own number: they are drawn after every run."""
    monkeypatch.setattr("ftlab.evaluation.metrics.RESAMPLES", 50)
