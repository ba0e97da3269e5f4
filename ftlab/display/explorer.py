"""Explorers: figures with sliders, drawn live in a running kernel and from saved frames without one.

An explorer is one call: ``explore(draw, lr=slider([0.1, 0.5, 1.0]))``. In a kernel the sliders are ipywidgets. The
notebook also saves an HTML page with every frame and its description behind plain sliders, which needs no kernel and no
network.
"""

import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from ftlab.display.explorer_page import page
from ftlab.display.progress import in_notebook
from ftlab.errors import argument_error

MOST_FRAMES = 60
"""The most frames of one explorer; more make the saved page too large."""
WAIT = 0.1
"""Seconds that a slider must rest before a live figure is drawn."""
COLOURS = 64
"""Colours in a saved frame: few, so that the file is small, but enough for a line drawing."""
WIDGET = "application/vnd.jupyter.widget-view+json"

Draw = Callable[..., tuple[Any, str]]


@dataclass(frozen=True)
class Slider:
    """The values of a control, and its initial value."""

    values: tuple[Any, ...]
    start: Any

    def label(self, value: Any) -> str:
        """Return a value as text.

        >>> slider([1e-5, 0.30000000000000004]).label(0.30000000000000004)
        '0.3'
        """
        return f"{value:.4g}" if isinstance(value, float) else str(value)


def slider(values: Sequence[Any], start: Any = None) -> Slider:
    """Return a slider over a list of values.

    Args:
        values: At least two numbers or words, whose labels differ.
        start: The initial value; the first one if left out.

    Raises:
        ArgumentError: If there are fewer than two values, two have the same label, or ``start`` is not among them.

    Example:
        >>> slider([0.1, 0.5, 1.0], start=0.5)
        Slider(values=(0.1, 0.5, 1.0), start=0.5)
    """
    options = tuple(values)
    initial = options[0] if start is None and options else start
    if len(options) < 2 or len({Slider((), None).label(value) for value in options}) < len(options):
        do = "Give more, or values that differ in their first four digits"
        raise argument_error("slider", "values", "be at least two with different labels", str(list(options)), do)
    if initial not in options:
        raise argument_error("slider", "start", "be one of the values", repr(start), f"Choose one of {list(options)}")
    return Slider(options, initial)


def explore(draw: Draw, *, goal: str = "", **controls: Slider) -> None:
    """Show a figure with sliders.

    Args:
        draw: A function of one value per control that returns a ``matplotlib.figure.Figure`` and a sentence describing
            it. Every frame is drawn at once, so an error in any of them is raised immediately.
        goal: A sentence with the reader's goal. The description of a frame that reaches it contains "Goal reached".
        **controls: Sliders, by the names of ``draw``'s arguments. For the saved page, each slider is moved with the
            others at their start; that makes at most 60 frames.

    Raises:
        ArgumentError: If there is no control, a control is not a slider, there are too many frames, or ``draw`` does not
            return a figure and a sentence.

    Example:
        >>> from matplotlib.figure import Figure
        >>> def draw(power):
        ...     figure = Figure(figsize=(3, 2))
        ...     figure.subplots().plot([x**power for x in range(5)])
        ...     return figure, f"x to the power {power} ends at {4**power}."
        >>> explore(draw, power=slider([1, 2, 3]))
        power = 1: x to the power 1 ends at 4.
    """
    check_controls(controls)
    start = {name: control.start for name, control in controls.items()}
    frames = {indices: render(draw, values) for indices, values in sweeps(controls).items()}
    image, description = frames[at_start(controls)]
    from IPython.display import display

    settings = ", ".join(f"{name} = {control.label(start[name])}" for name, control in controls.items())
    text = f"{settings}: {description}"
    labels = {name: [control.label(value) for value in control.values] for name, control in controls.items()}
    bundle: dict[str, Any] = {
        "text/plain": text,
        "text/html": page(draw.__name__, goal, labels, at_start(controls), frames),
    }
    if in_notebook():
        box = live(draw, goal, controls, image, description)
        bundle[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
        display(bundle, raw=True)
    else:
        print(text)


def check_controls(controls: dict[str, Slider]) -> None:
    """Refuse controls that are not sliders or make too many frames."""
    if not controls or not all(isinstance(control, Slider) for control in controls.values()):
        do = "Write explore(draw, lr=slider([0.1, 0.5, 1.0]))"
        raise argument_error("explore", "controls", "be sliders", str(controls), do)
    frames = len(sweeps(controls))
    if frames > MOST_FRAMES:
        raise argument_error(
            "explore", "controls", f"make at most {MOST_FRAMES} frames", str(frames), "Give fewer values"
        )


def sweeps(controls: dict[str, Slider]) -> dict[tuple[int, ...], dict[str, Any]]:
    """Return the arguments of every frame by slider indices: each slider is moved with the others at their start.

    >>> sweeps({"a": slider([1, 2]), "b": slider([5, 6], start=6)})
    {(0, 1): {'a': 1, 'b': 6}, (1, 1): {'a': 2, 'b': 6}, (0, 0): {'a': 1, 'b': 5}}
    """
    start, start_indices = {name: control.start for name, control in controls.items()}, at_start(controls)
    frames = {}
    for position, (name, control) in enumerate(controls.items()):
        for index, value in enumerate(control.values):
            indices = (*start_indices[:position], index, *start_indices[position + 1 :])
            frames[indices] = start | {name: value}
    return frames


def at_start(controls: dict[str, Slider]) -> tuple[int, ...]:
    """Return the index of each slider's initial value."""
    return tuple(control.values.index(control.start) for control in controls.values())


def render(draw: Draw, values: dict[str, Any]) -> tuple[bytes, str]:
    """Return a frame: the figure as PNG, and the sentence that describes it."""
    result = draw(**values)
    pair = isinstance(result, tuple) and len(result) == 2
    if not (pair and hasattr(result[0], "savefig") and str(result[1]).strip()):
        do = "End draw with: return figure, 'what it shows'"
        raise argument_error("explore", "draw", "return a figure and a sentence", type(result).__name__, do)
    figure, description = result
    return picture(figure), " ".join(str(description).split())


def picture(figure: Any) -> bytes:
    """Return a figure as a small PNG."""
    from PIL import Image

    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def live(draw: Draw, goal: str, controls: dict[str, Slider], image: bytes, description: str) -> Any:
    """Return a box of widgets that redraws the figure once a slider rests."""
    import ipywidgets

    picture = ipywidgets.Image(value=image, format="png")
    caption, error_box = ipywidgets.HTML(escape(description)), ipywidgets.HTML()
    sliders = {
        name: ipywidgets.SelectionSlider(
            options=[(control.label(value), value) for value in control.values],
            value=control.start,
            description=name,
            style={"description_width": "initial"},
        )
        for name, control in controls.items()
    }

    def redraw() -> None:
        try:
            png, sentence = render(draw, {name: widget.value for name, widget in sliders.items()})
        except Exception as error:
            error_box.value = f'<pre role="alert">{escape(type(error).__name__)}: {escape(str(error))}</pre>'
            raise
        picture.value, caption.value, error_box.value = png, escape(sentence), ""

    redraw_soon = Debounced(redraw, WAIT)
    for widget in sliders.values():
        widget.observe(lambda _: redraw_soon(), "value")
    title = [ipywidgets.HTML(f"<b>Goal:</b> {escape(goal)}")] if goal else []
    return ipywidgets.VBox([*title, *sliders.values(), picture, caption, error_box])


class Debounced:
    """A call that is delayed until no other has followed for ``wait`` seconds; immediate without an event loop."""

    def __init__(self, call: Callable[[], None], wait: float) -> None:
        self.call, self.wait = call, wait
        self.pending: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.call()
            return
        if self.pending:
            self.pending.cancel()
        self.pending = loop.call_later(self.wait, self.call)
