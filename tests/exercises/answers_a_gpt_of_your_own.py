"""Chapter 7."""

from tests.exercises.plain import Answer, Function


def labels_of(prompt, response, end):
    return [-100] * len(prompt) + response + [end]


def loss_on_the_prompt(prompt, response, end):
    return prompt + response + [end]


def zeros(prompt, response, end):
    return [0] * len(prompt) + response + [end]


def without_end(prompt, response, end):
    return [-100] * len(prompt) + response


def end_masked(prompt, response, end):
    return [-100] * len(prompt) + response + [-100]


def shifted(prompt, response, end):
    return [-100] * len(prompt) + [*response[1:], end, end]


def as_tuple(prompt, response, end):
    return tuple(labels_of(prompt, response, end))


def at_least_one(prompt, response, end):
    return [-100] * max(1, len(prompt)) + response + [end]


def loss_of_parts(parts):
    losses = [loss for part in parts for loss in part]
    return sum(losses) / len(losses)


def mean_of_means(parts):
    means = [sum(part) / len(part) for part in parts if part]
    return sum(means) / len(means)


def total(parts):
    return sum(loss for part in parts for loss in part)


def by_parts(parts):
    return total(parts) / len(parts)


def fails_on_empty(parts):
    counts = [len(part) for part in parts]
    return sum(sum(part) / len(part) * count for part, count in zip(parts, counts, strict=True)) / sum(counts)


ANSWERS = {
    "07.1": Answer(
        right=1.386,
        digits=4,
        hint="Take the mean of the three values of −ln p.",
        wrong={
            4.159: "That is the sum over the three tokens. The loss is their mean.",
            1.232: "You took the logarithm of the mean probability. The loss is the mean of the logarithms.",
            0.6021: "That is the logarithm to base 10. The loss uses the natural logarithm.",
            2.0: "That is the mean in bits. The loss uses the natural logarithm.",
            4.0: "That is the perplexity. The question asks for its logarithm.",
        },
    ),
    "07.2": Answer(
        right=460800,
        digits=6,
        hint="For each layer: rank times (inputs + outputs), for both matrices.",
        wrong={
            15360: "That is one layer. The model has 30.",
            552960: "The value matrix is smaller: three heads of 64 share its outputs.",
            276480: "That is the query matrix alone.",
            184320: "That is the value matrix alone.",
            13271040: "That is the number of entries of the matrices themselves.",
        },
    ),
    "07.3": Function(
        right=labels_of,
        wrong=(
            (loss_on_the_prompt, "no targets"),
            (zeros, "the label -100"),
            (without_end, "one label for each token"),
            (end_masked, "never learns to stop"),
            (shifted, "the model does the shift"),
            (as_tuple, "Return a list"),
            (at_least_one, "An empty prompt"),
        ),
    ),
    "07.4": Answer(
        right=0.3333,
        digits=4,
        hint="Divide each probability by its prior, then divide by the sum of both.",
        wrong={
            0.6: "That is the probability before the correction.",
            0.8182: "You multiplied by the prior. Divide by it.",
            0.8: "That is the first quotient. Both quotients must add up to 1.",
            0.6667: "That is the probability of the other label.",
        },
    ),
    "07.5": Function(
        right=loss_of_parts,
        wrong=(
            (mean_of_means, "average the averages"),
            (total, "That is the sum"),
            (by_parts, "divide by the number of all tokens"),
            (fails_on_empty, "raised ZeroDivisionError"),
        ),
    ),
}
