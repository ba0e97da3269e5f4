"""Explorers answer with a kernel and without one, say what each frame shows, and swallow no error."""

import asyncio

import pytest
from matplotlib.figure import Figure

from ftlab.display.explorer import MOST_FRAMES, Debounced, explore, live, render, slider, sweeps
from ftlab.errors import ArgumentError
from tests.display.drawing import CONTROLS, draw


def widgets(drawing=draw):
    """Return the widgets of a live explorer: sliders, picture, sentence, trouble."""
    image, words = render(draw, {"power": 2, "sign": "plus"})
    return live(drawing, "reach 3", CONTROLS, image, words).children


def test_each_slider_is_swept_with_the_others_at_their_start():
    assert list(sweeps(CONTROLS)) == [(0, 0), (1, 0), (2, 0), (1, 1)]
    assert sweeps(CONTROLS)[(1, 1)] == {"power": 2, "sign": "minus"}


def test_without_a_kernel_the_sentence_is_printed(capsys):
    explore(draw, **CONTROLS)
    assert capsys.readouterr().out == "power = 2, sign = plus: x to the power 2, plus <b>\n"


def test_a_live_explorer_draws_what_its_sliders_say():
    goal, power, sign, picture, said, trouble = widgets()
    assert "reach 3" in goal.value
    before = picture.value
    power.value = 3
    assert picture.value == render(draw, {"power": 3, "sign": "plus"})[0] != before
    assert said.value == "x to the power 3, plus &lt;b&gt;"
    sign.value = "minus"
    assert "minus" in said.value
    assert trouble.value == ""


def test_a_moving_slider_is_drawn_once_it_rests():
    drawn = []

    def counted(power, sign):
        drawn.append(power)
        return draw(power, sign)

    async def move():
        power = widgets(counted)[1]
        for value in (1, 3, 1, 3):
            power.value = value
        assert drawn == []
        await asyncio.sleep(0.3)

    asyncio.run(move())
    assert drawn == [3]


def test_calls_that_rest_in_between_are_all_made():
    made = []

    async def twice():
        call = Debounced(lambda: made.append(1), 0.01)
        call()
        await asyncio.sleep(0.05)
        call()
        await asyncio.sleep(0.05)

    asyncio.run(twice())
    assert made == [1, 1]


def test_an_error_in_drawing_is_shown_and_raised_and_goes_when_it_is_mended():
    def fails(power, sign):
        if power == 3:
            raise ZeroDivisionError("three <is> too much")
        return draw(power, sign)

    *_, power, _sign, _picture, said, trouble = widgets(fails)
    before = said.value
    with pytest.raises(ZeroDivisionError, match="too much"):
        power.value = 3
    assert 'role="alert"' in trouble.value
    assert "ZeroDivisionError: three &lt;is&gt; too much" in trouble.value
    assert said.value == before
    power.value = 1
    assert trouble.value == ""
    with pytest.raises(ZeroDivisionError, match="too much"):
        explore(fails, **CONTROLS)


@pytest.mark.parametrize(
    ("values", "start", "message"),
    [
        ([], None, "slider: values must be at least two"),
        ([1], None, "slider: values must be at least two"),
        ([1.0, 1.00001], None, "at least two with different labels"),
        ([1, 2], 3, r"slider: start must be one of the values. Got 3. Choose one of \[1, 2\]"),
    ],
)
def test_sliders_that_cannot_be_meant_are_refused(values, start, message):
    with pytest.raises(ArgumentError, match=message):
        slider(values, start)


def test_explorers_that_cannot_be_made_are_refused():
    with pytest.raises(ArgumentError, match="explore: controls must be sliders"):
        explore(draw)
    with pytest.raises(ArgumentError, match="explore: controls must be sliders"):
        explore(draw, power=[1, 2], sign="plus")
    with pytest.raises(ArgumentError, match=f"make at most {MOST_FRAMES} frames. Got 61"):
        explore(draw, power=slider(range(61)))
    for wrong in (None, Figure(), (Figure(), " ")):
        with pytest.raises(ArgumentError, match="explore: draw must return a figure and a sentence"):
            explore(lambda power, wrong=wrong: wrong, power=slider([1, 2]))


def test_a_frame_is_small():
    assert len(render(draw, {"power": 2, "sign": "plus"})[0]) < 12_000
