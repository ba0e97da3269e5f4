"""The saved page of an explorer: plain HTML sliders over precomputed frames, with no kernel and no network."""

import hashlib
import json
from collections.abc import Mapping
from html import escape
from typing import Any

from ftlab.display.plots import data_uri

Frames = Mapping[tuple[int, ...], tuple[bytes, str]]
"""A PNG and its description, by the indices of the sliders."""


def page(name: str, goal: str, labels: Mapping[str, list[str]], start: tuple[int, ...], frames: Frames) -> str:
    """Return an explorer as self-contained HTML.

    Args:
        name: The name of the drawing function. The element's id is a hash of ``name``, ``goal`` and ``labels``, so it is
            the same at every run.
        goal: The reader's goal.
        labels: The labels of each slider's values, by the slider's name.
        start: The index of each slider's initial value.
        frames: A frame for every value of each slider, with the other sliders at their start.
    """
    sources = {",".join(map(str, indices)): [data_uri(png), text] for indices, (png, text) in frames.items()}
    data = {"frames": sources, "labels": list(labels.values()), "start": start}
    key = hashlib.sha256(json.dumps([name, goal, labels]).encode()).hexdigest()[:8]
    sliders = zip(labels.items(), start, strict=True)
    rows = "".join(_row(f"{key}-{row}", *slider, index) for row, (slider, index) in enumerate(sliders))
    target = f"<p><b>Goal:</b> {escape(goal)}</p>" if goal else ""
    note = f"<p><small>{ONE_AT_A_TIME}</small></p>" if len(labels) > 1 else ""
    asleep = '<p class="ftlab-asleep"><b>Run this cell</b> to move the sliders.</p>'
    png, description = frames[start]
    return (
        f'<div class="ftlab-explorer" id="explorer-{key}">{target}{asleep}{rows}'
        f'<img alt="{escape(description)}" src="{data_uri(png)}" style="max-width:100%;background:white">'
        f'<p aria-live="polite">{escape(description)}</p>{note}'
        f'<script type="application/json">{as_json(data)}</script>'
        f"<script>{SCRIPT.replace('MARK', key)}</script></div>"
    )


def as_json(data: Any) -> str:
    """Return data as JSON that is safe inside a script element."""
    return json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")


def _row(key: str, name: str, labels: list[str], index: int) -> str:
    value = escape(labels[index])
    return (
        f'<div><label for="slider-{key}">{escape(name)} = <output>{value}</output></label> '
        f'<input id="slider-{key}" type="range" min="0" max="{len(labels) - 1}" step="1" value="{index}" '
        f'style="width:min(24em,90%)" aria-valuetext="{value}"></div>'
    )


ONE_AT_A_TIME = (
    "On this page, moving one slider resets the others. In a running notebook, you can set all of them independently."
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
  const [source, text] = frames[inputs.map(input => input.value).join()];
  image.src = source; image.alt = text; words.textContent = text;
};
inputs.forEach((input, i) => input.addEventListener("input", () => {
  inputs.forEach((other, j) => { if (j !== i) other.value = start[j]; });
  show();
}));
})();"""
"""The JavaScript of the saved page; it loads nothing."""
