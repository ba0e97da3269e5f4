"""Keep a measurement with what it depends on: machine, load, versions."""

import json
import os
from pathlib import Path
from typing import Any

from ftlab.atomic import write_text
from ftlab.device import choose_device
from ftlab.output import surroundings

RESULTS = Path(__file__).parent / "results"


def keep(name: str, result: dict[str, Any]) -> None:
    """Write ``results/<name>.json`` and print it."""
    load = [round(one, 2) for one in os.getloadavg()]
    text = json.dumps({**surroundings(choose_device("auto")), "load": load, **result}, indent=2, ensure_ascii=False)
    write_text(RESULTS / f"{name}.json", text + "\n")
    print(text)
