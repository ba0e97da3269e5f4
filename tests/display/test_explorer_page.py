"""An explorer's saved page holds every frame, can be used by keyboard and by ear, and asks no network."""

import json
import re

from ftlab.display.explorer import at_start, render, sweeps
from ftlab.display.explorer_page import page
from tests.display.drawing import CONTROLS, draw


def html(goal="reach 3"):
    labels = {name: [control.label(one) for one in control.values] for name, control in CONTROLS.items()}
    frames = {places: render(draw, values) for places, values in sweeps(CONTROLS).items()}
    return page("draw", goal, labels, at_start(CONTROLS), frames)


def test_the_saved_page_holds_every_frame_with_its_sentence():
    text = html()
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', text).group(1))
    assert data["labels"] == [["1", "2", "3"], ["plus", "minus"]]
    assert data["start"] == [1, 0]
    assert {index: words for index, (_, words) in data["frames"].items()} == {
        "0,0": "x to the power 1, plus <b>",
        "1,0": "x to the power 2, plus <b>",
        "2,0": "x to the power 3, plus <b>",
        "1,1": "x to the power 2, minus <b>",
    }
    assert len({source for source, _ in data["frames"].values()}) == 3  # the sign does not change this drawing
    assert 'alt="x to the power 2, plus &lt;b&gt;"' in text
    assert "<b>" not in text.replace("<b>Goal:</b>", "").replace("<b>Run this cell</b>", "")


def test_the_saved_page_can_be_used_by_keyboard_and_by_ear_and_asks_nobody():
    text = html()
    for mark in re.findall(r'<input id="(slider-[^"]*)" type="range"', text):
        assert f'<label for="{mark}">' in text
    assert text.count('type="range"') == 2
    assert 'aria-live="polite"' in text
    assert "http" not in text


def test_ids_are_the_same_at_every_run_and_differ_between_explorers():
    assert html() == html()
    first, second = (re.search('id="(explorer-[^"]*)"', html(goal)).group(1) for goal in ("one", "two"))
    assert first != second
