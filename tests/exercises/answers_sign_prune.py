"""Chapter 5."""

from tests.exercises.plain import Answer, Function


def shrink(weight, tau):
    return weight.sign() * (weight.abs() - tau).clamp(min=0)


def shrink_by_clamping(weight, tau):
    return weight - weight.clamp(-tau, tau)


def does_not_stop(weight, tau):
    return weight - tau * weight.sign()


def loses_the_sign(weight, tau):
    return (weight.abs() - tau).clamp(min=0)


def cuts_and_leaves_the_rest(weight, tau):
    return weight * (weight.abs() > tau)


def takes_a_share(weight, tau):
    return weight * (1 - tau)


def moves_twice_as_far(weight, tau):
    return shrink(weight, 2 * tau)


def in_place(weight, tau):
    return weight.sub_(weight.clamp(-tau, tau))


def movement(weights, grads):
    return -sum(weight * grad for weight, grad in zip(weights, grads, strict=True))


def turned_round(weights, grads):
    return sum(weight * grad for weight, grad in zip(weights, grads, strict=True))


def takes_the_mean(weights, grads):
    return movement(weights, grads) / len(weights)


def takes_sizes(weights, grads):
    return sum((weight * grad).abs() for weight, grad in zip(weights, grads, strict=True))


def takes_signs(weights, grads):
    return -sum(weight * grad.sign() for weight, grad in zip(weights, grads, strict=True))


def takes_the_last_weight(weights, grads):
    return -weights[-1] * sum(grads)


def adds_in_place(weights, grads):
    score = weights[0].mul_(-grads[0])
    return score - sum(weight * grad for weight, grad in zip(weights[1:], grads[1:], strict=True))


ANSWERS = {
    "05.1": Answer(
        right=0.3,
        digits=2,
        hint="Write down the first six positions: every step has length β, goes towards 0, and may pass it.",
        wrong={
            0.0: "A sign step is never shorter than β, so it cannot stop at the minimum.",
            -0.05: "That is one of the two positions. Is it there after an even number of steps?",
            -0.3: "The size is right. On which side of 0 is it after an even number of steps?",
        },
    ),
    "05.2": Answer(
        right=0.709,
        digits=3,
        hint="Sort the sizes; τ is the third of them. Then shrink, square, add, take the root, and divide.",
        wrong={
            0.980: "You set the small weights to 0 and left the others unchanged; the soft threshold shrinks those too.",
            0.503: "That is the share of the squared norm.",
            0.812: "That is the norm after shrinking. Divide it by the norm before.",
        },
    ),
    "05.3": Function(
        right=shrink,
        wrong=(
            (does_not_stop, "on the other side of 0"),
            (loses_the_sign, "must keep its sign"),
            (cuts_and_leaves_the_rest, "Weights larger than tau move"),
            (takes_a_share, "exactly 0"),
            (moves_twice_as_far, "Weights larger than tau move"),
            (in_place, "modifies its inputs"),
        ),
    ),
    "05.4": Answer(
        right=590592,
        digits=6,
        hint="How many neurons are removed, and how many numbers belong to each?",
        wrong={
            589824: "A neuron has a bias too.",
            294912: "A neuron has a row of one matrix and a column of the other.",
            295680: "A neuron has a row of one matrix and a column of the other.",
            1181184: "Half of the neurons are removed, not all.",
            590976: "The second bias of the block belongs to its outputs, not to the neurons: it stays.",
        },
    ),
    "05.5": Function(
        right=movement,
        wrong=(
            (turned_round, "The sign is wrong"),
            (takes_the_mean, "add them up"),
            (takes_sizes, "may be negative"),
            (takes_signs, "twice as large counts twice"),
            (takes_the_last_weight, "of its own step"),
            (adds_in_place, "modifies its inputs"),
        ),
    ),
}
