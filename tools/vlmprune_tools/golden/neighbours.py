"""Cases of the methods published beside VLM-Pruner: groups of cases, and arrays `NAME_ARRAY`."""

from collections.abc import Mapping, Sequence

from vlmprune_tools.golden.case import Arrays, Fields, GoldenCase
from vlmprune_tools.golden.neighbour_methods import GROUPS


def neighbour_cases(groups: Mapping[str, Sequence[Fields]], arrays: Arrays) -> list[GoldenCase]:
    """Returns the cases of all groups; those of a group that is not known differ."""
    return [_case(group, case, arrays) for group, cases in groups.items() for case in cases]


def _case(group: str, case: Fields, arrays: Arrays) -> GoldenCase:
    prefix = f"{case['name']}_"
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return GoldenCase(case["name"], group, lambda: _compare(group, case, own))


def _compare(group: str, case: Fields, own: Arrays) -> str | None:
    if group not in GROUPS:
        return f"no method is known for the group {group!r}"
    return GROUPS[group](case, own)
