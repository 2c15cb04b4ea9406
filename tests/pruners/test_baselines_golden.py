"""The authors' released code is the judge of every pruner that has golden cases."""

from pathlib import Path

import pytest

from vlmprune_tools.golden import GoldenCase, read_cases

CASES = [case for case in read_cases(Path(__file__).parents[1] / "golden") if case.method != "vlm-pruner"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equal_to_the_released_code(case: GoldenCase) -> None:
    assert case.difference() is None
