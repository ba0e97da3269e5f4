"""The quickstart."""

import torch

from tests.exercises.plain import Answer, Function


def accuracy(batches):
    right = sum((predicted == true).sum().item() for predicted, true in batches)
    return right / sum(len(true) for _, true in batches)


def accuracy_in_one_go(batches):
    predicted, true = (torch.cat(side) for side in zip(*batches, strict=True))
    return (predicted == true).double().mean()


def as_the_listing_has_it(batches):
    return sum((predicted == true).sum().item() for predicted, true in batches) / len(batches)


def mean_of_means(batches):
    return sum((predicted == true).double().mean().item() for predicted, true in batches) / len(batches)


def count(batches):
    return sum((predicted == true).sum().item() for predicted, true in batches)


def errors(batches):
    return 1 - accuracy(batches)


def last_batch(batches):
    predicted, true = batches[-1]
    return (predicted == true).double().mean().item()


def percent(batches):
    return 100 * accuracy(batches)


def emptied(batches):
    right = samples = 0
    while batches:
        predicted, true = batches.pop()
        right, samples = right + (predicted == true).sum().item(), samples + len(true)
    return right / samples


ANSWERS = {
    "00.1": Answer(
        right=0.25,
        digits=2,
        hint="Count the batches. Each counts the same in the mean, however many texts it holds.",
        wrong={
            0.0103: "That is the weight it should have, if every text counted the same.",
            0.0313: "That is the weight of a text within a full batch; the last batch holds only this one.",
            0.00781: "That is the weight of each of the other texts.",
            0.33: "Count the batches again: the single text is in one of its own.",
        },
    ),
    "00.2": Answer(
        right=31.1,
        digits=3,
        hint="The listing divides the number of right answers by the length of the loader.",
        wrong={
            32: "The last batch is not full.",
            27.3: "That is the number of texts divided by the batch size. What does the listing divide by?",
            32.3: "There is one more batch: the remaining texts form a batch too.",
            1: "That is what it should print. What does the listing divide by?",
            100: "It does not print a percentage. What does the listing divide by?",
        },
    ),
    "00.3": Function(
        right=accuracy,
        wrong=(
            (as_the_listing_has_it, "number of batches"),
            (mean_of_means, "mean of the batch accuracies"),
            (count, "What share"),
            (errors, "count the wrong answers"),
            (percent, "between 0 and 1"),
            (last_batch, "over all batches"),
            (emptied, "modifies its inputs"),
        ),
    ),
    "00.4": Answer(
        right="warm-up",
        hint="Print ftlab.explain of both recipes and compare their last lines.",
        wrong={
            "warmup": "Write it as explain does.",
            "warm up": "Write it as explain does.",
            "warmuplinear": "That is the rule. Which word does the last line use for the part that is missing?",
            "decay": "The rule that you added lowers the rate. What else did the default schedule do?",
            "clipping": "It is still there. Which part of the default schedule is not?",
        },
    ),
}
