"""Chapter 6."""

from tests.exercises.plain import Answer, Function


def averaged(path, decay):
    mean = path[0]
    for index in path[1:]:
        mean = decay * mean + (1 - decay) * index
    return mean


def begins_with_zero(path, decay):
    mean = 0 * path[0]
    for index in path:
        mean = decay * mean + (1 - decay) * index
    return mean


def corrects_for_zero_as_adam_does(path, decay):
    if decay == 1:
        return path[0]
    return begins_with_zero(path, decay) / (1 - decay ** len(path))


def turned_round(path, decay):
    return averaged(path, 1 - decay)


def takes_the_plain_mean(path, decay):
    return path[-1] if decay == 0 else path[0] if decay == 1 else sum(path) / len(path)


def leaves_the_last_out(path, decay):
    return averaged(path[:-1] or path, decay)


def in_place(path, decay):
    mean = path[0]
    for index in path[1:]:
        mean.mul_(decay).add_((1 - decay) * index)
    return mean


def go_back(origin, trained, alpha):
    return {
        name: (1 - alpha) * origin[name] + alpha * tensor if name in origin else tensor.clone()
        for name, tensor in trained.items()
    }


def ends_swapped(origin, trained, alpha):
    return go_back(origin, trained, 1 - alpha)


def loses_the_head(origin, trained, alpha):
    return {name: (1 - alpha) * origin[name] + alpha * trained[name] for name in origin}


def shrinks_the_head(origin, trained, alpha):
    return {name: (1 - alpha) * origin.get(name, 0 * tensor) + alpha * tensor for name, tensor in trained.items()}


def not_straight(origin, trained, alpha):
    return go_back(origin, trained, alpha**2)


def changes_what_was_trained(origin, trained, alpha):
    for name in origin:
        trained[name].mul_(alpha).add_((1 - alpha) * origin[name])
    return trained


ANSWERS = {
    "06.1": Answer(
        right=69.0,
        digits=3,
        hint="After k updates the share has been multiplied by d, k times: for which k is that a half?",
        wrong={
            100.0: "After 1/(1 − d) updates it has fallen to about 1/e, not to a half.",
            50.0: "The share falls by a factor, not by a constant amount.",
            -69.0: "A number of updates is not negative; both logarithms are.",
            0.693: "That is the logarithm of 2. Divide it by what one update does.",
        },
    ),
    "06.2": Answer(
        right=36864,
        digits=5,
        hint="One factor has the shape (4, 384), the other (384, 4).",
        wrong={
            18432: "Each matrix has two factors, and each layer has two matrices.",
            6144: "That is one layer.",
            3072: "That is one matrix.",
            39174: "That is with the head.",
            1769472: "That is the number of entries of the matrices themselves.",
        },
    ),
    "06.3": Function(
        right=averaged,
        wrong=(
            (begins_with_zero, "not with 0"),
            (corrects_for_zero_as_adam_does, "have the share 1 - decay"),
            (turned_round, "With decay 0"),
            (takes_the_plain_mean, "multiplied by the decay"),
            (leaves_the_last_out, "With decay 0"),
            (in_place, "modifies its inputs"),
        ),
    ),
    "06.4": Answer(
        right="undecided",
        hint="Answer with one of the three words. Is 0 inside the interval?",
        wrong={
            "better": "The mean is above 0. Is the whole interval?",
            "worse": "Look at the sign of the mean, then at both ends of the interval.",
            "equal": "An interval that contains 0 does not show that the two are equal.",
        },
    ),
    "06.5": Function(
        right=go_back,
        wrong=(
            (ends_swapped, "With alpha = 1"),
            (loses_the_head, "including the head"),
            (shrinks_the_head, "stays as trained"),
            (not_straight, "a straight line"),
            (changes_what_was_trained, "modifies its inputs"),
        ),
    ),
}
