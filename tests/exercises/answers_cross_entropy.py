"""Chapter 1."""

from tests.exercises.plain import Answer

ANSWERS = {
    "01.1": Answer(
        right=0.105,
        digits=3,
        hint="The loss of one sample is the negative logarithm of the probability of its true class.",
        wrong={
            2.30: "You took the probability of the other class.",
            -0.105: "The logarithm of a number below 1 is negative; the loss is its negative.",
            0.0458: "The logarithm is the natural one, not that to base 10.",
        },
    ),
}
