"""A chapter in JupyterLab, as a student has it: opened in Chromium, run, a slider moved, and the figure changes."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from book.chromium import chromium

ROOT = Path(__file__).parent.parent
CHAPTER = "02_gradient_descent"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves a copy of the chapter."""
    (tmp_path / f"{CHAPTER}.ipynb").write_bytes((ROOT / f"notebooks/{CHAPTER}.ipynb").read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--IdentityProvider.token=",
        f"--port={port}",
    ]
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "OMP_NUM_THREADS": "2"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as server:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


def test_a_chapter_runs_and_its_explorer_answers(lab):
    with chromium(offline=False) as browser:
        browser.get(f"{lab}/lab/tree/{CHAPTER}.ipynb?reset")
        browser.wait("return document.querySelectorAll('.jp-Notebook .jp-CodeCell').length > 3", 90)
        browser.wait("return window.document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]')", 90)
        menu = "[...document.querySelectorAll('{}')].find(one => one.innerText.trim() === '{}')"
        for kind, text in ((".lm-MenuBar-item", "Run"), (".lm-Menu-item", "Run All Cells")):
            item = browser.wait(f"return {menu.format(kind, text)}", 30)
            item.click()
        slider = browser.wait(
            "return document.querySelector('.jp-OutputArea .widget-slider [tabindex], .jp-OutputArea .noUi-handle')",
            240,
        )
        source = (
            "return document.querySelector('.jp-OutputArea .jupyter-widgets img, .jp-OutputArea img.widget-image').src"
        )
        before = browser.wait(source)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
        slider.click()
        for key in ("\ue014", "\ue014"):
            slider.send_keys(key)
        assert browser.wait(
            f"return ({source.removeprefix('return ')}) !== arguments[0] || false".replace(
                "arguments[0]", repr(before)
            ),
            60,
        )
