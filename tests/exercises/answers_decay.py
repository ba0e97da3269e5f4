"""Chapter 4."""

from tests.exercises.plain import Answer, Function


def rates_per_epoch(rate, gamma, steps, steps_per_epoch):
    rates = []
    for step in range(steps):
        if step and step % steps_per_epoch == 0:
            rate = rate * gamma
        rates.append(rate)
    return rates


def per_update(rate, gamma, steps, steps_per_epoch):
    return [rate * gamma**step for step in range(steps)]


def an_epoch_too_soon(rate, gamma, steps, steps_per_epoch):
    return [rate * gamma ** (step // steps_per_epoch + 1) for step in range(steps)]


def counts_from_one(rate, gamma, steps, steps_per_epoch):
    return [rate * gamma ** ((step + 1) // steps_per_epoch) for step in range(steps)]


def smoothly(rate, gamma, steps, steps_per_epoch):
    return [rate * gamma ** (step / steps_per_epoch) for step in range(steps)]


def in_a_line(rate, gamma, steps, steps_per_epoch):
    return [rate * max(0.0, 1 - (1 - gamma) * (step // steps_per_epoch)) for step in range(steps)]


def one_an_epoch(rate, gamma, steps, steps_per_epoch):
    return [rate * gamma**epoch for epoch in range(steps // steps_per_epoch)]


def whole_epochs(rate, gamma, steps, steps_per_epoch):
    return [rate * gamma**epoch for epoch in range(steps // steps_per_epoch) for _ in range(steps_per_epoch)]


def the_last_one(rate, gamma, steps, steps_per_epoch):
    return rate * gamma ** ((steps - 1) // steps_per_epoch)


def divided(rate, gamma, steps, steps_per_epoch):
    return [rate / gamma ** (step // steps_per_epoch) for step in range(steps)]


def expected_loss(rates, start):
    squared = start**2  # the mean of θ², which is all that the loss needs
    for rate in rates:
        squared = (1 - rate) ** 2 * squared + rate**2
    return squared / 2


def without_noise(rates, start):
    for rate in rates:
        start = (1 - rate) * start
    return start**2 / 2


def noise_by_the_rate(rates, start):
    squared = start**2
    for rate in rates:
        squared = (1 - rate) ** 2 * squared + rate
    return squared / 2


def without_the_half(rates, start):
    return 2 * expected_loss(rates, start)


def noise_never_fades(rates, start):
    return without_noise(rates, start) + sum(rate**2 for rate in rates) / 2


def only_the_last_noise(rates, start):
    return without_noise(rates, start) + (rates[-1] ** 2 / 2 if rates else 0.0)


def variance_fades_too_slowly(rates, start):
    mean, variance = start, 0.0
    for rate in rates:
        mean, variance = (1 - rate) * mean, (1 - rate) * variance + rate**2
    return (mean**2 + variance) / 2


def sorted_rates(rates, start):
    return expected_loss([rates[0]] * len(rates) if rates else [], start)


def empties_the_list(rates, start):
    squared = start**2
    while rates:
        rate = rates.pop(0)
        squared = (1 - rate) ** 2 * squared + rate**2
    return squared / 2


ANSWERS = {
    "04.1": Answer(
        right=0.9970,
        digits=4,
        hint="The product of 35 equal factors must be 0.9.",
        wrong={
            0.9971: "Close, but you divided the loss of a tenth into equal amounts. The factors are multiplied.",
            0.9: "After 35 updates that leaves a fortieth of the rate.",
            0.02571: "A division gives 35 parts that add up to 0.9; the factors are multiplied.",
            0.02503: "That is what 0.9 per update leaves after an epoch. The question goes the other way.",
        },
    ),
    "04.2": Answer(
        right=34.3,
        digits=3,
        hint="Which power of 0.98 is one half? Use a logarithm.",
        wrong={
            25.0: "You removed 2 % of the initial rate in each update; it is 2 % of the current rate.",
            50.0: "That is when the rate would reach 0 if each update removed 2 % of the initial rate.",
            35.0: "That is the first whole update at which it is below one half. Give the exact number.",
            0.0291: "Invert the quotient of the two logarithms.",
        },
    ),
    "04.3": Function(
        right=rates_per_epoch,
        wrong=(
            (per_update, "a decay per update"),
            (an_epoch_too_soon, "no epoch has ended yet"),
            (counts_from_one, "Within an epoch"),
            (smoothly, "Within an epoch"),
            (in_a_line, "not lowered by the same amount"),
            (one_an_epoch, "one learning rate for each"),
            (whole_epochs, "one learning rate for each"),
            (the_last_one, "Return a list"),
            (divided, "multiplied by gamma"),
        ),
    ),
    "04.4": Answer(
        right=0.0010,
        digits=2,
        hint="Add up the rates of all updates. It is a geometric series.",
        wrong={
            0.0001: "That is the first update alone.",
            0.0009: "The first update uses the whole rate, before any γ.",
            0.00019: "That is the sum of two updates. The sum is finite, but it has infinitely many terms.",
            0.00011: "You divided by γ. Divide by 1 − γ.",
        },
    ),
    "04.5": Function(
        right=expected_loss,
        wrong=(
            (without_noise, "lands on the noise"),
            (noise_by_the_rate, "the rate's square"),
            (without_the_half, "Without a step"),
            (noise_never_fades, "old noise fades"),
            (only_the_last_noise, "old noise fades"),
            (variance_fades_too_slowly, "old noise fades"),
            (sorted_rates, "in their order"),
            (empties_the_list, "modifies its inputs"),
        ),
    ),
    "04.6": Answer(
        right="decay",
        hint="One of the two words, in quotes.",
        wrong={"clipping": "Is there a bound in the article's words, beyond which the rate is cut off?"},
    ),
}
