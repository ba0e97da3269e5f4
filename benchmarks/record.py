"""Record a measurement with the machine, its load and the versions."""

import json
import os
import statistics
from pathlib import Path
from typing import Any

from ftlab.engines.devices import choose_device
from ftlab.engines.fast.precision import has_bf16
from ftlab.files import write_text
from ftlab.training.run_folder import environment_info

RESULTS = Path(__file__).parent / "results"


def spread(values: list[float], digits: int = 3) -> list[float]:
    """Return the median, minimum and maximum.

    >>> spread([3.0, 1.0, 2.0])
    [2.0, 1.0, 3.0]
    """
    return [round(one, digits) for one in (statistics.median(values), min(values), max(values))]


def of_machine(name: str, device: str = "cpu") -> str:
    """Return the name of a result that is recorded separately for each kind of machine.

    It is the name itself for a processor with bf16, and ends in ``-fp32`` for one without, in ``-cuda`` for a GPU.

    >>> of_machine("speed", "cuda")
    'speed-cuda'
    """
    if device != "cpu":
        return f"{name}-{device}"
    return name if has_bf16(device) else f"{name}-fp32"


def keep(name: str, result: dict[str, Any]) -> None:
    """Write ``results/<name>.json`` and print it."""
    load = [round(one, 2) for one in os.getloadavg()]
    text = json.dumps({**environment_info(choose_device("auto")), "load": load, **result}, indent=2, ensure_ascii=False)
    write_text(RESULTS / f"{name}.json", text + "\n")
    print(text)
