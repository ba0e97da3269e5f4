"""Page 12: which texts a model gets wrong."""

from tests.exercises.plain import Answer

ANSWERS = {
    "12.1": Answer(
        right=0.13,
        digits=2,
        hint="What share is right, and how many reviews are there? Put both under the root.",
        wrong={
            0.068: "That is one standard deviation; the interval takes 1.96 of them.",
            0.27: "That is the whole width, from end to end.",
            0.16: "That is the largest it can be, with half of them right. What share is right here?",
            0.0092: "The root is missing.",
            0.85: "Divide by the number of reviews, under the root.",
        },
    ),
    "12.2": Answer(
        right="validation",
        hint="The answer is one of the three names.",
        wrong={
            "test": "Then your final number is measured on reviews that you tuned the model for.",
            "train": "The model was trained on these; its errors there are not typical of other rows.",
        },
    ),
}
