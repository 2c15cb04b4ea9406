"""How sure a measured fraction is."""

import math


def wilson(right: int, asked: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % Wilson score interval of a fraction.

    >>> [round(edge, 3) for edge in wilson(95, 100)]
    [0.888, 0.978]
    """
    share, spread = right / asked, z * z / asked
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / asked + spread / asked / 4) / (1 + spread)
    return middle - half, middle + half
