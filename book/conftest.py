"""Record the result of ``make book-test``, with the browser and the machine."""

import shutil
import subprocess
from typing import Any


def pytest_sessionfinish(session: Any, exitstatus: int) -> None:
    """Write ``benchmarks/results/book.json`` if all tests of the book were run."""
    ran = {item.nodeid.partition("::")[0] for item in getattr(session, "items", ())}
    if {"book/browser.py", "book/live.py"} <= ran:
        from benchmarks.record import keep

        version = subprocess.run([shutil.which("chromium") or "chromium", "--version"], capture_output=True, text=True)
        found = {"tests": session.testscollected, "failed": session.testsfailed, "browser": version.stdout.strip()}
        keep("book", found)
