"""The release's learning rate: a linear warm-up on top of a cosine."""

import math

_WARM_UP_START = 1e-3
_FINAL = 1e-8


def learning_rate(iteration: int, *, peak: float, warm_up: int, iterations: int) -> float:
    """Compute the learning rate of one iteration.

    A cosine falls from `peak` at iteration 0 to 1e-8 of it at `iterations`. During the warm-up it
    is multiplied by a line from 1/1000 to 1, so `peak` itself is never reached.

    Args:
        iteration: Iterations done before this one.
        peak: Height of the cosine.
        warm_up: Iterations of the warm-up.
        iterations: Iterations of the whole run.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * iteration / iterations))
    rate = peak * (_FINAL + (1 - _FINAL) * cosine)
    if iteration < warm_up:
        rate *= 1 - (1 - iteration / warm_up) * (1 - _WARM_UP_START)
    return rate
