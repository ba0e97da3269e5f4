"""Page 11: a loss that is NaN, or does not fall."""

from tests.exercises.plain import Answer

ANSWERS = {
    "11.1": Answer(
        right=3.00,
        digits=3,
        hint="A model that has learned nothing gives every class the same probability. What is the loss of one sample then?",
        wrong={
            1.30: "Use the natural logarithm, not the one to base 10.",
            4.32: "Use the natural logarithm, not the one to base 2.",
            0.0500: "That is the probability of the true class. The loss is minus its logarithm.",
            0.693: "That is the loss for two classes.",
            -3.00: "A loss is minus the logarithm of a probability, so it is never below 0.",
        },
    ),
    "11.2": Answer(
        right="labels",
        hint="The loop can learn, but what it learns does not carry over to other rows. What could cause that?",
        wrong={
            "rate": "With a wrong rate the sixteen-text test would not go to 0.",
            "frozen": "With a frozen body the sixteen-text test would not go to 0.",
            "length": "With texts cut to nothing the sixteen-text test would not go to 0.",
            "warm-up": "A model ruined by its first updates does not learn its training rows either.",
        },
    ),
}
