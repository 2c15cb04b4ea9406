"""The confidence interval of a measured proportion."""

import math

from scipy.stats import binomtest

DECIMALS = 6  # a floating-point sum of soft scores is not exact, and must not be rounded by a whole success


def wilson_interval(successes: float, trials: int) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval; a sum of soft scores is rounded outwards to whole successes.

    >>> [round(bound, 3) for bound in wilson_interval(95, 100)]
    [0.888, 0.978]
    """
    exact = round(successes, DECIMALS)
    lower, upper = (binomtest(count, trials) for count in (math.floor(exact), math.ceil(exact)))
    return float(lower.proportion_ci(method="wilson").low), float(upper.proportion_ci(method="wilson").high)
