"""The colours of the figures can be told apart by readers who see fewer of them, and seen on white."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

from ftlab.display import plots

ROOT = Path(__file__).parent.parent.parent
PALETTE = {"BLUE": plots.BLUE, "ORANGE": plots.ORANGE, "GREY": plots.GREY}
SEEN = {
    "by most": np.eye(3),
    "without red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "without green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "without blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Linear RGB as it is seen; Machado, Oliveira and Fernandes 2009, severity 1.0."""
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
WHITE = np.sum(TO_XYZ, axis=1)


def linear(colour):
    """Return the linear RGB of ``#rrggbb``."""
    parts = np.array([int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Return CIE L*a*b* of linear RGB."""
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / WHITE
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(one, other, how):
    """Return the distance of two colours as they are seen; 2 is just noticed."""
    return np.linalg.norm(lab(SEEN[how] @ linear(one)) - lab(SEEN[how] @ linear(other)))


@pytest.mark.parametrize("how", SEEN)
@pytest.mark.parametrize("pair", list(itertools.combinations(PALETTE, 2)), ids="-".join)
def test_the_palette_passes_a_simulation_of_colour_blindness(pair, how):
    assert apart(PALETTE[pair[0]], PALETTE[pair[1]], how) > 20


def test_the_simulation_knows_two_colours_that_look_alike_without_green_cones():
    red, olive = "#b04020", "#607000"
    assert apart(red, olive, "by most") > 60
    assert apart(red, olive, "without green cones") < 5


@pytest.mark.parametrize("name", PALETTE)
def test_the_palette_stands_out_from_white(name):
    luminance = np.dot(TO_XYZ[1], linear(PALETTE[name]))
    assert 1.05 / (luminance + 0.05) > 3  # WCAG 2.2, 1.4.11


@pytest.mark.parametrize(
    "path", [*(ROOT / "notebooks").glob("[0-9]*.py"), ROOT / "ftlab/display/plots.py"], ids=lambda one: one.name
)
def test_figures_use_no_other_colour(path):
    named = re.findall(r"\w*colou?r=[\"'](.+?)[\"']", path.read_text(encoding="utf-8"))
    assert {*named} <= {"white", "black"}
