"""A drawing with two controls, for the tests of explorers and of their saved page."""

from matplotlib.figure import Figure

from ftlab.display.explorer import slider

CONTROLS = {"power": slider([1, 2, 3], start=2), "sign": slider(["plus", "minus"])}


def draw(power, sign):
    """Draw x to a power; the sentence names both values."""
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([x**power for x in range(5)])
    return figure, f"x to the power {power}, {sign} <b>"
