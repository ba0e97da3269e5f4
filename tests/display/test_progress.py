"""The progress bar is silent where nobody watches, and prints a line an epoch where it is asked to."""

import sys
import types

import pytest

from ftlab.display.progress import Progress, count_runs, in_notebook, is_interactive

RECORD = {"loss": 0.5, "lr": 1e-3, "samples": 4}


@pytest.fixture
def terminal(monkeypatch):
    """A standard error that is a terminal, outside a notebook."""
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("ftlab.display.progress.in_notebook", lambda: False)


def test_a_bar_is_drawn_where_somebody_may_be_watching(terminal, monkeypatch):
    assert is_interactive()
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert not is_interactive()
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert not is_interactive()


def test_a_kernel_is_recognised(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    for kernel in (None, object()):
        shell = types.SimpleNamespace(kernel=kernel)
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert in_notebook() == (kernel is not None)


def test_the_bar_shows_loss_and_learning_rate_and_counts_samples(terminal, capsys):
    progress = Progress(8, 0, shown=True)
    progress.update(RECORD)
    progress.update(RECORD)
    progress.close()
    error = capsys.readouterr().err
    assert "fine-tuning: 100%" in error
    assert "8/8 samples" in error


@pytest.mark.parametrize(("shown", "printed"), [(None, True), (True, True), (False, False)])
def test_a_line_about_an_epoch_is_printed_unless_nothing_is_to_be_shown(terminal, capsys, shown, printed):
    progress = Progress(8, 0, shown=shown)
    progress.say("epoch 1: loss 0.5")
    progress.close()
    assert ("epoch 1: loss 0.5" in capsys.readouterr().err) == printed


def test_runs_are_counted_silently_where_nobody_watches(monkeypatch, capsys):
    monkeypatch.setattr("ftlab.display.progress.is_interactive", lambda: False)
    bar = count_runs(3)
    bar.update()
    bar.close()
    assert capsys.readouterr().err == ""
