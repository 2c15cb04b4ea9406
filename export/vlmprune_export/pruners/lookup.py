"""Looks up how similar and how near all tokens are to those that were just selected."""

from collections.abc import Callable

import torch
from torch import Tensor

from vlmprune_export.pruners.grid import Grid

Tables = tuple[Tensor, Tensor | None]
"""Either the unit vectors (1, N, q) and None, or similarities and squared distances of all pairs, both (N, N)."""


def look_up_tables(grid: Grid, unit: Tensor, pairs: Tensor | None) -> Tables:  # (N, q), (N, N)
    """Returns the tables for `look_up`: of all pairs if their similarities `pairs` are given, else the unit vectors."""
    if pairs is None:
        return unit.view(1, *unit.shape), None
    return pairs, torch.bmm(grid.left, grid.right).view(pairs.shape)


def look_up(grid: Grid, tables: Tables, tokens: Tensor) -> tuple[Tensor, Tensor]:  # (B,) -> (N,), (N,)
    """Returns each token's largest similarity and least squared distance to the given tokens."""
    unit, squares = tables
    if squares is not None:
        return extreme_rows(unit, squares, tokens)
    similar = torch.bmm(unit, unit.index_select(1, tokens).mT).amax((0, 2))
    return similar, grid.squared_distance(tokens)


def look_up_first(
    grid: Grid, tables: Tables, tokens: Tensor, count: Tensor
) -> tuple[Tensor, Tensor]:  # (B,), () -> (N,), (N,)
    """Does what `look_up` does for tokens of which only the first `count` differ; the others repeat one token."""
    few = tokens.shape[0] // 4
    if tables[1] is None or not few:
        return look_up(grid, tables, tokens)

    def among_few(pairs: Tensor, squares: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        similar, distances = (rows.index_select(0, tokens[:few]) for rows in (pairs, squares))
        return tree_reduce(torch.maximum, similar), tree_reduce(torch.minimum, distances)

    # ExecuTorch's `amax` costs nearly the same for one row as for sixteen, and most steps take two or three tokens.
    similar, squares = torch.cond(count <= few, among_few, extreme_rows, (*tables, tokens))
    return similar, squares


def extreme_rows(
    pairs: Tensor, squares: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:  # (N, N), (N, N), (B,) -> (N,), (N,)
    """Returns the largest of these tokens' similarities and the least of their squared distances."""
    return pairs.index_select(0, tokens).amax(0), squares.index_select(0, tokens).amin(0)


def tree_reduce(extreme: Callable[[Tensor, Tensor], Tensor], rows: Tensor) -> Tensor:  # (B, N) -> (N,)
    """Reduces each column to its largest or least value, comparing one half of the rows with the other.

    >>> tree_reduce(torch.maximum, torch.tensor([[1, 5], [3, 2], [2, 9]])).tolist()
    [3, 9]
    """
    while rows.shape[0] > 1:
        half = (rows.shape[0] + 1) // 2
        rows = extreme(rows[:half], rows[-half:])
    return rows[0].clone()
