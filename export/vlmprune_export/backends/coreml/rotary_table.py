"""Looks rotary embeddings up in a table, because fp16 cannot hold the product of a large position and a frequency."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vlmprune_export.families import Family, LayerKind
from vlmprune_export.stage_modules import DecoderStage


class RotaryTable:
    """A family's cosines and sines of positions 0 .. `tokens` - 1, (tokens, dh) each.

    With several axes each column belongs to one of them: `columns` (dh,) are 1 in those of an axis, otherwise 0.
    """

    def __init__(self, family: Family, tokens: int) -> None:
        self.layer_kinds, axes = family.layer_kinds, family.positions.axes
        rows, places = torch.zeros(1, tokens, family.text_model.hidden_size), torch.arange(tokens)[None]
        self.tables: dict[LayerKind, tuple[Tensor, Tensor]] = {}
        self.columns: dict[LayerKind, tuple[Tensor, ...]] = {}
        for kind in set(family.layer_kinds):
            with torch.no_grad():
                cosines, sines = family.rotary(rows, places if axes == 1 else places.expand(axes, 1, -1), kind)
                self.columns[kind] = tuple(_columns(family, axis, kind) for axis in range(axes if axes > 1 else 0))
            self.tables[kind] = cosines[0].clone(), sines[0].clone()

    def rotary(self, hidden: Tensor, positions: Tensor, kind: LayerKind) -> tuple[Tensor, Tensor]:
        """Returns the rows of the positions, (1, S, D), (1, S) or (axes, 1, S) int32 -> 2 x (1, S, dh)."""
        cosines, sines = (self._rows(table, positions, kind)[None] for table in self.tables[kind])
        return cosines, sines

    def _rows(self, table: Tensor, positions: Tensor, kind: LayerKind) -> Tensor:  # -> (S, dh)
        if not self.columns[kind]:
            return table.index_select(0, positions[0])
        parts = [table.index_select(0, positions[nth, 0]) * own for nth, own in enumerate(self.columns[kind])]
        return sum(parts[1:], parts[0])


def _columns(family: Family, axis: int, kind: LayerKind) -> Tensor:  # -> (dh,)
    """Returns 1 in the columns that turn where a position is 1 on that axis and 0 on the others."""
    positions = torch.zeros(family.positions.axes, 1, 1, dtype=torch.int64)
    positions[axis] = 1
    _, sines = family.rotary(torch.zeros(1, 1, family.text_model.hidden_size), positions, kind)
    return (sines[0, 0] != 0).float()


@contextmanager
def rotary_from_table(decoder: DecoderStage, tokens: int) -> Iterator[None]:
    """Makes the decoder layers read their rotary embeddings from a table while the block runs."""
    family: Any = decoder.family
    decoder.family = RotaryTable(family, tokens)  # type: ignore[assignment]
    try:
        yield
    finally:
        decoder.family = family
