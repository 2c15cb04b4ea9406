"""Orders the runs: every round runs every bundle in both modes, and the place of each changes by round."""

from collections.abc import Iterator
from typing import NamedTuple


class ScheduledRun(NamedTuple):
    """Identifies one run of a round."""

    round: int
    bundle: int
    prune: bool


def run_order(bundles: int, rounds: int) -> Iterator[ScheduledRun]:
    """Yields the runs in order: each bundle begins a round in its turn, and its two modes run A B, then B A.

    >>> [(turn.bundle, turn.prune) for turn in run_order(bundles=1, rounds=2)]
    [(0, False), (0, True), (0, True), (0, False)]
    >>> [turn.bundle for turn in run_order(bundles=2, rounds=2)]
    [0, 0, 1, 1, 1, 1, 0, 0]
    """
    for nth in range(rounds):
        for place in range(bundles):
            first = bool(nth % 2)
            for prune in (first, not first):
                yield ScheduledRun(nth, (nth + place) % bundles, prune)
