"""How alike and how near all tokens are to some that were just chosen."""

from collections.abc import Callable

import torch
from torch import Tensor

from vlmprune_export.pruners.grid import Grid

Tables = tuple[Tensor, Tensor | None]
"""Unit vectors (1, N, q) alone, or similarities and squared distances of all pairs, both (N, N)."""


def look_up_tables(grid: Grid, unit: Tensor, pairs: Tensor | None) -> Tables:  # (N, q), (N, N)
    """With the distances of all pairs if their similarities were computed."""
    if pairs is None:
        return unit.view(1, *unit.shape), None
    return pairs, torch.bmm(grid.left, grid.right).view(pairs.shape)


def look_up(grid: Grid, tables: Tables, tokens: Tensor) -> tuple[Tensor, Tensor]:  # (B,) -> (N,), (N,)
    """Each token's largest similarity and least squared distance to the given ones."""
    unit, squares = tables
    if squares is not None:
        return extreme_rows(unit, squares, tokens)
    similar = torch.bmm(unit, unit.index_select(1, tokens).mT).amax((0, 2))
    return similar, grid.squared_distance(tokens)


def look_up_first(
    grid: Grid, tables: Tables, tokens: Tensor, count: Tensor
) -> tuple[Tensor, Tensor]:  # (B,), () -> (N,), (N,)
    """`look_up` of tokens of which the first `count` matter; the others are one and the same."""
    few = tokens.shape[0] // 4
    if tables[1] is None or not few:
        return look_up(grid, tables, tokens)

    def among_few(pairs: Tensor, squares: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        similar, near = (rows.index_select(0, tokens[:few]) for rows in (pairs, squares))
        return folded(torch.maximum, similar), folded(torch.minimum, near)

    # ExecuTorch's `amax` costs nearly the same for one row as for sixteen, and most steps take two or three tokens.
    similar, squares = torch.cond(count <= few, among_few, extreme_rows, (*tables, tokens))
    return similar, squares


def extreme_rows(
    pairs: Tensor, squares: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:  # (N, N), (N, N), (B,) -> (N,), (N,)
    """The largest of these tokens' similarities and the least of their squared distances."""
    return pairs.index_select(0, tokens).amax(0), squares.index_select(0, tokens).amin(0)


def folded(larger: Callable[[Tensor, Tensor], Tensor], rows: Tensor) -> Tensor:  # (B, N) -> (N,)
    """The largest of each column, or the least, one half of the rows against the other.

    >>> folded(torch.maximum, torch.tensor([[1, 5], [3, 2], [2, 9]])).tolist()
    [3, 9]
    """
    while rows.shape[0] > 1:
        half = (rows.shape[0] + 1) // 2
        rows = larger(rows[:half], rows[-half:])
    return rows[0].clone()
