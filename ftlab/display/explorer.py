"""Explorers: a figure that answers to sliders, live where a kernel runs and from frames where none does.

``explore(draw, lr=slider([0.1, 0.5, 1.0]))`` is one call. With a kernel the sliders are ipywidgets; what the notebook
saves besides is a page of its own: every frame with its description, behind plain HTML sliders that need no kernel and
no network.
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
"""Frames of one explorer: more make the saved page too heavy."""
WAIT = 0.1
"""Seconds without a further move of a slider before a live figure is drawn."""
COLOURS = 64
"""Colours that a frame keeps: few enough to be small, more than a line drawing has."""
WIDGET = "application/vnd.jupyter.widget-view+json"

Draw = Callable[..., tuple[Any, str]]


@dataclass(frozen=True)
class Slider:
    """The values that a control may take, and the one to begin with."""

    values: tuple[Any, ...]
    start: Any

    def label(self, value: Any) -> str:
        """Return a value as it is shown.

        >>> slider([1e-5, 0.30000000000000004]).label(0.30000000000000004)
        '0.3'
        """
        return f"{value:.4g}" if isinstance(value, float) else str(value)


def slider(values: Sequence[Any], start: Any = None) -> Slider:
    """Return a control that goes through some values.

    Args:
        values: At least two, all different: numbers, or words.
        start: One of them; the first where it is left out.

    Raises:
        ArgumentError: If there are fewer than two, two are alike, or ``start`` is none of them.

    Example:
        >>> slider([0.1, 0.5, 1.0], start=0.5)
        Slider(values=(0.1, 0.5, 1.0), start=0.5)
    """
    given = tuple(values)
    begin = given[0] if start is None and given else start
    if len(given) < 2 or len({Slider((), None).label(value) for value in given}) < len(given):
        raise argument_error("slider", "values", "be at least two that look different", str(list(given)), "Give more")
    if begin not in given:
        raise argument_error("slider", "start", "be one of the values", repr(start), f"Choose one of {list(given)}")
    return Slider(given, begin)


def explore(draw: Draw, *, goal: str = "", **controls: Slider) -> None:
    """Show a figure that answers to sliders.

    Args:
        draw: From one value per control to a figure and a sentence that says what it shows, the figure a
            ``matplotlib.figure.Figure``. An error in it is raised at once, for every frame.
        goal: What the reader is to reach, in a sentence; the sentence of a frame that reaches it holds "Goal reached".
        **controls: Sliders, by the names of ``draw``'s arguments. Without a kernel each is moved with the others at
            their start, so that the frames are as many as all values together; at most 60.

    Raises:
        ArgumentError: If there is no control, one is not a slider, there are too many frames, or ``draw`` gives no figure
            with a sentence.

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
    frames = {places: render(draw, values) for places, values in sweeps(controls).items()}
    image, words = frames[at_start(controls)]
    from IPython.display import display

    said = f"{', '.join(f'{name} = {control.label(start[name])}' for name, control in controls.items())}: {words}"
    labels = {name: [control.label(value) for value in control.values] for name, control in controls.items()}
    bundle: dict[str, Any] = {
        "text/plain": said,
        "text/html": page(draw.__name__, goal, labels, at_start(controls), frames),
    }
    if in_notebook():
        box = live(draw, goal, controls, image, words)
        bundle[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
        display(bundle, raw=True)
    else:
        print(said)


def check_controls(controls: dict[str, Slider]) -> None:
    """Refuse controls of which no explorer can be made."""
    if not controls or not all(isinstance(control, Slider) for control in controls.values()):
        do = "As in explore(draw, lr=slider([0.1, 0.5, 1.0]))"
        raise argument_error("explore", "controls", "be sliders", str(controls), do)
    frames = len(sweeps(controls))
    if frames > MOST_FRAMES:
        raise argument_error(
            "explore", "controls", f"make at most {MOST_FRAMES} frames", str(frames), "Give fewer values"
        )


def sweeps(controls: dict[str, Slider]) -> dict[tuple[int, ...], dict[str, Any]]:
    """Return the values of every frame by the sliders' places: each through its values, the others at their start.

    >>> sweeps({"a": slider([1, 2]), "b": slider([5, 6], start=6)})
    {(0, 1): {'a': 1, 'b': 6}, (1, 1): {'a': 2, 'b': 6}, (0, 0): {'a': 1, 'b': 5}}
    """
    start, begin = {name: control.start for name, control in controls.items()}, at_start(controls)
    return {
        (*begin[:which], index, *begin[which + 1 :]): start | {name: value}
        for which, (name, control) in enumerate(controls.items())
        for index, value in enumerate(control.values)
    }


def at_start(controls: dict[str, Slider]) -> tuple[int, ...]:
    """Return each control's place to begin with."""
    return tuple(control.values.index(control.start) for control in controls.values())


def render(draw: Draw, values: dict[str, Any]) -> tuple[bytes, str]:
    """Return a frame: the picture as PNG, and the sentence that says what it shows."""
    drawn = draw(**values)
    if not (isinstance(drawn, tuple) and len(drawn) == 2 and hasattr(drawn[0], "savefig") and str(drawn[1]).strip()):
        do = "End draw with: return figure, 'what it shows'"
        raise argument_error("explore", "draw", "give a figure and a sentence", type(drawn).__name__, do)
    figure, words = drawn
    return picture(figure), " ".join(str(words).split())


def picture(figure: Any) -> bytes:
    """Return a figure as a small PNG."""
    from PIL import Image

    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(small, format="png", optimize=True)
    return small.getvalue()


def live(draw: Draw, goal: str, controls: dict[str, Slider], image: bytes, words: str) -> Any:
    """Return a box of widgets that redraw once a slider has come to rest."""
    import ipywidgets

    picture = ipywidgets.Image(value=image, format="png")
    said, trouble = ipywidgets.HTML(escape(words)), ipywidgets.HTML()
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
            drawn, told = render(draw, {name: one.value for name, one in sliders.items()})
        except Exception as error:
            trouble.value = f'<pre role="alert">{escape(type(error).__name__)}: {escape(str(error))}</pre>'
            raise
        picture.value, said.value, trouble.value = drawn, escape(told), ""

    moved = Debounced(redraw, WAIT)
    for one in sliders.values():
        one.observe(lambda _: moved(), "value")
    head = [ipywidgets.HTML(f"<b>Goal:</b> {escape(goal)}")] if goal else []
    return ipywidgets.VBox([*head, *sliders.values(), picture, said, trouble])


class Debounced:
    """A call that waits until no further one has come for a while; without an event loop it is made at once."""

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
