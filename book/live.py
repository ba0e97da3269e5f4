"""Test a chapter in JupyterLab as a student uses it: open it in Chromium, run it, and move a slider."""

import json
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
    settings = tmp_path / "settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"windowingMode": "none"}')  # cells far below the window are in the page too
    environment = os.environ | {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as server:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=1)
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


IDLE = "return document.querySelector('.jp-Notebook-ExecutionIndicator[data-status=idle]')"
ASLEEP = (
    "[...document.querySelectorAll('.jp-OutputArea')].some(area => area.textContent.includes('Run this cell to move'))"
)
FIGURE = "document.querySelector('.jp-OutputArea img.widget-image')?.src"
SLIDER = "document.querySelector('.jp-OutputArea .widget-slider [tabindex], .jp-OutputArea .noUi-handle')"


def test_a_chapter_runs_and_its_explorer_answers(lab):
    with chromium(offline=False) as browser:
        browser.get(f"{lab}/lab/tree/{CHAPTER}.ipynb?reset")
        browser.wait("return document.querySelectorAll('.jp-Notebook .jp-CodeCell').length > 3", 90)
        while not any(
            kernel["execution_state"] == "idle" for kernel in json.load(urllib.request.urlopen(f"{lab}/api/kernels"))
        ):
            time.sleep(0.5)  # before that, the page shows idle too, and asks for a kernel
        browser.wait(IDLE, 90)
        assert not browser.execute_script(f"return {FIGURE}"), "the saved notebook has no live widget"
        assert browser.execute_script(f"return {ASLEEP}"), (
            "in an untrusted notebook, the explorer asks the reader to run the cell"
        )
        for kind, text in ((".lm-MenuBar-item", "Run"), (".lm-Menu-item", "Run All Cells")):
            menu = f"[...document.querySelectorAll('{kind}')].find(item => item.innerText.trim() === '{text}')"
            browser.wait(f"return {menu}", 30).click()
        before = browser.wait(f"return {FIGURE}", 300)
        browser.wait(IDLE, 400)  # the kernel answers sliders only after the last cell
        slider = browser.wait(f"return {SLIDER}")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
        slider.send_keys("\ue014\ue014")  # the right arrow key
        assert browser.wait(f"return {FIGURE} !== {before!r}", 60)
