"""The Wilson interval, also of sums of soft scores."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlmprune_tools.proportion import wilson_interval


@pytest.mark.parametrize("total", [sum([0.1] * 10), 1 + 1e-12])
def test_a_sum_that_is_not_exact_is_not_rounded_by_a_whole_success(total: float) -> None:
    assert total != 1.0
    assert wilson_interval(total, 5) == wilson_interval(1, 5)


def test_soft_scores_are_rounded_outwards() -> None:
    low, high = wilson_interval(2.5, 5)
    assert (low, high) == (wilson_interval(2, 5)[0], wilson_interval(3, 5)[1])


@given(st.integers(1, 500), st.floats(0, 1))
def test_an_interval_lies_in_0_to_1_around_its_proportion(trials: int, share: float) -> None:
    low, high = wilson_interval(share * trials, trials)
    assert 0 <= low <= share + 1e-6 and share - 1e-6 <= high <= 1


def test_the_bounds_are_wilsons_formula() -> None:
    """centre ± half width, both over 1 + z² / n, at z = 1.95996."""
    n, share, z = 40, 0.3, 1.959963985
    centre = share + z * z / (2 * n)
    half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    expected = [(centre + side * half) / (1 + z * z / n) for side in (-1, 1)]
    assert list(wilson_interval(12, n)) == pytest.approx(expected)
