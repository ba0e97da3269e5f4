"""Page 10: a csv of one's own."""

from tests.exercises.plain import Answer

ANSWERS = {
    "10.1": Answer(
        right=6,
        digits=1,
        hint="Begin with the row that the refusal names. What stands above it that is not counted as a row?",
        wrong={
            4: "That is the row. What stands above it in the file that is not counted as a row?",
            5: "You have counted the header. Is there anything else above it?",
            3: "That line is blank, and left out; the refusal is about another one.",
            7: "The file has no such line. Count the lines above the row once more.",
        },
    ),
    "10.2": Answer(
        right=200,
        digits=3,
        hint="Two splits are put aside before training; the page says which part of the rows each gets.",
        wrong={
            250: "Some rows are put aside, to measure on.",
            225: "Two splits are put aside, not one.",
            25: "That is one of the splits that are put aside.",
            50: "That is what is put aside.",
        },
    ),
}
