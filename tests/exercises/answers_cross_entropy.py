"""Chapter 1."""

import torch

from tests.exercises.plain import Answer, Function


def true_logs(logs, labels):
    return logs[torch.arange(len(labels)), labels]


def loss_of(logits, labels):
    lowered = logits - logits.amax(1, keepdim=True)
    return (lowered.exp().sum(1).log() - true_logs(lowered, labels)).mean()


def loss_that_overflows(logits, labels):
    return -true_logs((logits.exp() / logits.exp().sum(1, keepdim=True)).log(), labels).mean()


def loss_in_two_steps(logits, labels):
    return -true_logs(logits.softmax(1).log(), labels).mean()


def loss_summed(logits, labels):
    return loss_of(logits, labels) * len(labels)


def loss_with_the_sign_turned(logits, labels):
    return -loss_of(logits, labels)


def loss_down_the_columns(logits, labels):
    return -true_logs(logits.log_softmax(0), labels).mean()


def loss_of_each(logits, labels):
    return -true_logs(logits.log_softmax(1), labels)


def loss_without_softmax(logits, labels):
    return -true_logs(logits, labels).mean()


def loss_that_changes_its_input(logits, labels):
    logits -= logits.amax(1, keepdim=True)
    return loss_of(logits, labels)


def gradient_of(logits, labels):
    gradient = logits.softmax(1)
    gradient[torch.arange(len(labels)), labels] -= 1
    return gradient / len(labels)


def gradient_turned(logits, labels):
    return -gradient_of(logits, labels)


def gradient_of_the_sum(logits, labels):
    return gradient_of(logits, labels) * len(labels)


def gradient_without_labels(logits, labels):
    return logits.softmax(1) / len(labels)


def gradient_by_probabilities(logits, labels):
    return -torch.nn.functional.one_hot(labels, logits.shape[1]) / logits.softmax(1) / len(labels)


def gradient_of_the_true_class_alone(logits, labels):
    return true_logs(gradient_of(logits, labels), labels)


def gradient_of_the_squared_error(logits, labels):
    said = logits.softmax(1)
    apart = said - torch.nn.functional.one_hot(labels, logits.shape[1])
    return 2 * said * (apart - (said * apart).sum(1, keepdim=True)) / len(labels)


ANSWERS = {
    "01.1": Answer(
        right=0.105,
        digits=3,
        hint="The loss of one sample is the negative logarithm of the probability of its true class.",
        wrong={
            2.30: "You took the probability of the other class.",
            -0.105: "The logarithm of a number below 1 is negative; the loss is its negative.",
            0.0458: "Use the natural logarithm, not the one to base 10.",
            0.152: "Use the natural logarithm, not the one to base 2.",
        },
    ),
    "01.2": Answer(
        right=0.412,
        digits=3,
        hint="Add up the losses of all 97 texts: each batch mean stands for as many texts as the batch holds.",
        wrong={
            0.700: "That is the mean of the batch means, in which one text counts as much as 32 others.",
            0.400: "The last batch has a text too; its loss counts.",
            0.417: "There are 97 texts, so divide by 97.",
        },
    ),
    "01.3": Function(
        right=loss_of,
        wrong=(
            (loss_that_overflows, "exponentials overflow"),
            (loss_in_two_steps, "work with logarithms throughout"),
            (loss_summed, "the formula has their mean"),
            (loss_with_the_sign_turned, "never below 0"),
            (loss_down_the_columns, "not along a column"),
            (loss_of_each, "Got the shape (4,)"),
            (loss_without_softmax, "On small logits it is not yet"),
            (loss_that_changes_its_input, "modifies its inputs"),
        ),
    ),
    "01.4": Function(
        right=gradient_of,
        wrong=(
            (gradient_turned, "raising the true logit must lower the loss"),
            (gradient_of_the_sum, "the mean over samples"),
            (gradient_without_labels, "must sum to 0"),
            (gradient_by_probabilities, "must sum to 0"),
            (gradient_of_the_true_class_alone, "one entry for each logit"),
            (gradient_of_the_squared_error, "the entries are wrong"),
        ),
    ),
}
