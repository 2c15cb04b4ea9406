"""Settings of SparseVLM, and how many tokens it keeps as they are and merges."""

from dataclasses import dataclass

from vlmprune_export.pruners.settings import check_boolean, check_integer
from vlmprune_runtime.errors import BadRequest


@dataclass(frozen=True)
class SparseVlmSettings:
    """`plus` is the second version: without merged tokens, and with attention corrected for distance.

    `select` tokens are kept as they are; None stands for the number that gives K with the merged ones. `heads` are the
    attention heads that vote in the second version, at most. `any_distance` accepts distances for which the correction
    is not positive, as the released code does.
    """

    plus: bool = False
    select: int | None = None
    heads: int = 14
    any_distance: bool = False

    def __post_init__(self) -> None:
        """Raises `BadRequest` for a value out of range."""
        check_boolean("plus", self.plus)
        check_boolean("any_distance", self.any_distance)
        if self.select is not None:
            check_integer("select", self.select, 1, 2**20)
        check_integer("heads", self.heads, 1, 1024)


def pool_size(dropped: int) -> int:
    """Returns how many of the tokens that leave are merged."""
    return int(0.3 * dropped) + 1


def cluster_count(tokens: int, select: int) -> int:
    """Returns the number of merged tokens when `select` of the tokens are kept as they are.

    >>> cluster_count(576, 48), cluster_count(576, 180)
    (16, 12)
    """
    return int(pool_size(tokens - select) / 10) + 1


def select_count(tokens: int, keep: int, settings: SparseVlmSettings) -> int:
    """Returns how many tokens are kept as they are, the most that give `keep` with the merged ones.

    Raises `BadRequest` if no number does.

    >>> select_count(576, 192, SparseVlmSettings())
    180
    """
    if settings.plus:
        return keep
    fitting = [count for count in range(1, keep) if count + cluster_count(tokens, count) == keep]
    if settings.select is not None and settings.select not in fitting:
        raise BadRequest(f"select is {settings.select}; allowed for {keep} of {tokens} tokens: {fitting}")
    if fitting:
        return settings.select or fitting[-1]
    least = next(count for count in range(1, tokens) if 1 + cluster_count(tokens, 1) <= count)
    raise BadRequest(f"keep: got {keep}; sparsevlm merges tokens: allowed: {least} or more of {tokens}, or plus=true")
