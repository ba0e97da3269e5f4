"""An explorer as a page of its own: plain HTML sliders and the frames behind them, with no kernel and no network."""

import hashlib
import json
from collections.abc import Mapping
from html import escape
from typing import Any

from ftlab.display.plots import data_uri

Frames = Mapping[tuple[int, ...], tuple[bytes, str]]
"""A picture (PNG) and what it shows, by the sliders' places."""


def page(name: str, goal: str, labels: Mapping[str, list[str]], start: tuple[int, ...], frames: Frames) -> str:
    """Return an explorer as HTML that answers by itself.

    Args:
        name: With ``goal`` and ``labels`` it makes the element's id, which is the same at every run.
        goal: What the reader is to reach.
        labels: By the name of each slider, its values as they are shown.
        start: Each slider's place to begin with.
        frames: For every place that one slider can take with the others at their start.
    """
    shown = {",".join(map(str, places)): [data_uri(png), words] for places, (png, words) in frames.items()}
    data = {"frames": shown, "labels": list(labels.values()), "start": start}
    mark = hashlib.sha256(json.dumps([name, goal, labels]).encode()).hexdigest()[:8]
    rows = "".join(
        _row(f"{mark}-{which}", one, labels[one], index)
        for which, (one, index) in enumerate(zip(labels, start, strict=True))
    )
    target = f"<p><b>Goal:</b> {escape(goal)}</p>" if goal else ""
    alone = (
        "Here one slider moves at a time; the others go back to their start. In a running notebook all move together."
    )
    several = f"<p><small>{alone}</small></p>" if len(labels) > 1 else ""
    asleep = '<p class="ftlab-asleep"><b>Run this cell</b> to move the sliders.</p>'
    png, words = frames[start]
    return (
        f'<div class="ftlab-explorer" id="explorer-{mark}">{target}{asleep}{rows}'
        f'<img alt="{escape(words)}" src="{data_uri(png)}" style="max-width:100%;background:white">'
        f'<p aria-live="polite">{escape(words)}</p>{several}'
        f'<script type="application/json">{as_json(data)}</script>'
        f"<script>{SCRIPT.replace('MARK', mark)}</script></div>"
    )


def as_json(data: Any) -> str:
    """Return data as JSON that may stand inside a script element."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")


def _row(mark: str, name: str, labels: list[str], index: int) -> str:
    value = escape(labels[index])
    return (
        f'<div><label for="slider-{mark}">{escape(name)} = <output>{value}</output></label> '
        f'<input id="slider-{mark}" type="range" min="0" max="{len(labels) - 1}" step="1" value="{index}" '
        f'style="width:min(24em,90%)" aria-valuetext="{value}"></div>'
    )


SCRIPT = """(() => {
const box = document.getElementById("explorer-MARK");
box.querySelector(".ftlab-asleep").remove();
const {frames, labels, start} = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
const inputs = [...box.querySelectorAll("input")], outputs = [...box.querySelectorAll("output")];
const image = box.querySelector("img"), words = box.querySelector("p[aria-live]");
const show = () => {
  inputs.forEach((input, i) => {
    outputs[i].textContent = labels[i][input.value];
    input.setAttribute("aria-valuetext", labels[i][input.value]);
  });
  const [source, said] = frames[inputs.map(input => input.value).join()];
  image.src = source; image.alt = said; words.textContent = said;
};
inputs.forEach((input, i) => input.addEventListener("input", () => {
  inputs.forEach((other, j) => { if (j !== i) other.value = start[j]; });
  show();
}));
})();"""
"""What moves the frames in a saved page; nothing of it comes from elsewhere."""
