"""Page 10: a csv of one's own."""

from tests.exercises.plain import Answer

ANSWERS = {
    "10.1": Answer(
        right=6,
        digits=1,
        hint="Start with the row in the error message. Which lines above it are not counted as rows?",
        wrong={
            4: "That is the row. Which lines above it in the file are not counted as rows?",
            5: "You have counted the header. Is there anything else above it?",
            3: "That line is blank and skipped; the error is about another one.",
            7: "The file has no such line. Count the lines above the row once more.",
        },
    ),
    "10.2": Answer(
        right=200,
        digits=3,
        hint="Two splits are set aside before training; the page says what share of the rows each gets.",
        wrong={
            250: "Some rows are set aside for evaluation.",
            225: "Two splits are set aside, not one.",
            25: "That is one of the splits that are set aside.",
            50: "That is the number of rows set aside.",
        },
    ),
}
