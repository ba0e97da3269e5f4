"""Chapter 7: the labels of a conversation, and the loss of an update in several parts."""

from collections.abc import Callable
from typing import Any

from ftlab.exercises.probe import expect, near, run


def labels_of(function: Callable[..., Any]) -> None:
    """Check which tokens are targets: those of the response and the end token, and nothing before."""
    prompt, response, end = [5, 6, 7], [8, 9], 2
    got = run(function, prompt, response, end)
    expect(isinstance(got, list), f"Return a list. Got {type(got).__name__}.")
    expect(len(got) == 6, "There is one label for each token: of the prompt, of the response, and the end token.")
    expect(got[-1] == end, "The end token is a target too, or the model never learns to stop.")
    expect(got[:3] != prompt, "The tokens of the prompt are no targets: their label is -100.")
    expect(got[:3] == [-100] * 3, "Tokens that are no targets have the label -100.")
    expect(got[3:5] == response, "The label of a token of the response is the token itself; the model does the shift.")
    expect(run(function, [], [4], end) == [4, end], "An empty prompt has no labels.")


def loss_of_parts(function: Callable[..., Any]) -> None:
    """Check that each token counts the same, however the update is cut into parts."""
    parts = [[1.0], [2.0, 4.0, 6.0]]
    got = float(run(function, parts))
    expect(
        not near(got, 2.5), "You average the averages of the parts. Then the token of the first part counts threefold."
    )
    expect(not near(got, 13.0), "That is the sum. Divide it by the number of tokens.")
    expect(near(got, 3.25), "Add up the losses of all tokens, and divide by the number of all tokens.")
    whole = float(run(function, [[1.0, 2.0, 4.0, 6.0]]))
    expect(near(whole, got), "The same tokens in one part must give the same loss.")
    expect(near(float(run(function, [[], [3.0, 5.0]])), 4.0), "A part without targets adds nothing.")


TASKS = {"07.3": labels_of, "07.5": loss_of_parts}
