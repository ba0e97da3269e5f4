"""Chapter 2."""

from tests.exercises.plain import Answer, Function


def descend(theta, gradient, rate, steps):
    for _ in range(steps):
        theta = theta - gradient(theta) * rate
    return theta


def descend_uphill(theta, gradient, rate, steps):
    return descend(theta, gradient, -rate, steps)


def descend_once_too_often(theta, gradient, rate, steps):
    return descend(theta, gradient, rate, steps + 1)


def descend_once_too_few(theta, gradient, rate, steps):
    return descend(theta, gradient, rate, steps - 1)


def descend_along_the_first_gradient(theta, gradient, rate, steps):
    return theta - steps * rate * gradient(theta)


def descend_always_from_the_start(theta, gradient, rate, steps):
    for _ in range(steps):
        new = theta - rate * gradient(theta)
    return new


def descend_in_place(theta, gradient, rate, steps):
    for _ in range(steps):
        theta -= rate * gradient(theta)
    return theta


def descend_at_least_once(theta, gradient, rate, steps):
    return descend(theta, gradient, rate, max(1, steps))


def descend_without_the_rate(theta, gradient, rate, steps):
    return descend(theta, gradient, 1.0, steps)


def adam_step(theta, grad, first, second, t, rate):
    first = first + 0.1 * (grad - first)
    second = second + 0.001 * (grad * grad - second)
    size = (second / (1 - 0.999**t)) ** 0.5
    return theta - rate * (first / (1 - 0.9**t)) / (size + 1e-8), first, second


def adam_step_uncorrected(theta, grad, first, second, t, rate):
    _, first, second = adam_step(theta, grad, first, second, t, rate)
    return theta - rate * first / (second.sqrt() + 1e-8), first, second


def adam_step_with_eps_in_the_root(theta, grad, first, second, t, rate):
    _, first, second = adam_step(theta, grad, first, second, t, rate)
    size = (second / (1 - 0.999**t) + 1e-8).sqrt()
    return theta - rate * first / (1 - 0.9**t) / size, first, second


def adam_step_uphill(theta, grad, first, second, t, rate):
    return adam_step(theta, grad, first, second, t, -rate)


def adam_step_without_root(theta, grad, first, second, t, rate):
    _, first, second = adam_step(theta, grad, first, second, t, rate)
    return theta - rate * (first / (1 - 0.9**t)) / (second / (1 - 0.999**t) + 1e-8), first, second


def adam_step_with_swapped_shares(theta, grad, first, second, t, rate):
    first = 0.1 * first + 0.9 * grad
    return theta - rate * first, first, second


def adam_step_without_squares(theta, grad, first, second, t, rate):
    second = 0.999 * second + 0.001 * grad.abs()
    return theta, 0.9 * first + 0.1 * grad, second


def adam_step_that_corrects_once(theta, grad, first, second, t, rate):
    _, first, second = adam_step(theta, grad, first, second, t, rate)
    return theta - rate * (first / 0.1) / ((second / 0.001).sqrt() + 1e-8), first, second


def adam_step_that_keeps_corrected_means(theta, grad, first, second, t, rate):
    new, first, second = adam_step(theta, grad, first, second, t, rate)
    return (new, first, second) if t == 1 else (new, first / (1 - 0.9**t), second / (1 - 0.999**t))


def adam_step_of_theta_alone(theta, grad, first, second, t, rate):
    return adam_step(theta, grad, first, second, t, rate)[0]


def adam_step_in_place(theta, grad, first, second, t, rate):
    first.mul_(0.9).add_(0.1 * grad)
    return theta, first, second


ANSWERS = {
    "02.1": Answer(
        right=0.064,
        digits=3,
        hint="Find the factor by which one step multiplies θ, and take it three times.",
        wrong={
            0.343: "The derivative of 3θ² is twice yours.",
            0.4: "That is after one step.",
            0.16: "That is after two steps.",
            4.10: "That goes uphill: the step is against the gradient.",
            -0.8: "The gradient changes at each step; you took the first one three times.",
        },
    ),
    "02.2": Answer(
        right=0.04,
        digits=2,
        hint="Each direction has its own limit, and all three must hold.",
        wrong={
            0.02: "Up to there it does not even oscillate. It may oscillate, as long as it converges.",
            2.0: "That is the limit of the flattest direction.",
            0.25: "That is the limit of the direction in the middle.",
            0.039: "That rate is the fastest; descent still converges a little beyond it.",
            0.034: "Do not add the curvatures: the largest alone sets the limit.",
        },
    ),
    "02.3": Function(
        right=descend,
        wrong=(
            (descend_uphill, "goes uphill"),
            (descend_once_too_often, "one step too many or too few"),
            (descend_once_too_few, "one step too many or too few"),
            (descend_along_the_first_gradient, "Compute the gradient at each step"),
            (descend_always_from_the_start, "a single step"),
            (descend_in_place, "modifies its inputs"),
            (descend_at_least_once, "With no steps at all"),
            (descend_without_the_rate, "theta is wrong"),
        ),
    ),
    "02.4": Function(
        right=adam_step,
        wrong=(
            (adam_step_uncorrected, "corrected for their start at 0"),
            (adam_step_with_eps_in_the_root, "where you add ε"),
            (adam_step_uphill, "goes uphill"),
            (adam_step_without_root, "the square root of the second"),
            (adam_step_with_swapped_shares, "first is 0.9 times"),
            (adam_step_without_squares, "the gradient squared"),
            (adam_step_that_corrects_once, "a later one is not"),
            (adam_step_that_keeps_corrected_means, "a later one is not"),
            (adam_step_of_theta_alone, "three things"),
            (adam_step_in_place, "modifies its inputs"),
        ),
    ),
}
