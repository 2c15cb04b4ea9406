"""Looks rotary embeddings up in a table, because fp16 cannot hold the product of a large position and a frequency."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vlmprune_export.families import Family, LayerKind
from vlmprune_export.stage_modules import DecoderStage


class RotaryTable:
    """A family's cosines and sines of positions 0 .. `tokens` - 1, (tokens, dh) each."""

    def __init__(self, family: Family, tokens: int) -> None:
        self.layer_kinds = family.layer_kinds
        rows, places = torch.zeros(1, tokens, family.text_model.hidden_size), torch.arange(tokens)[None]
        self.tables: dict[LayerKind, tuple[Tensor, Tensor]] = {}
        for kind in set(family.layer_kinds):
            with torch.no_grad():
                cosines, sines = family.rotary(rows, places, kind)
            self.tables[kind] = cosines[0].clone(), sines[0].clone()

    def rotary(self, hidden: Tensor, positions: Tensor, kind: LayerKind) -> tuple[Tensor, Tensor]:
        """Returns the rows of the positions, (1, S, D), (1, S) int32 -> 2 x (1, S, dh)."""
        cosines, sines = (table.index_select(0, positions[0])[None] for table in self.tables[kind])
        return cosines, sines


@contextmanager
def rotary_from_table(decoder: DecoderStage, tokens: int) -> Iterator[None]:
    """Makes the decoder layers read their rotary embeddings from a table while the block runs."""
    family: Any = decoder.family
    decoder.family = RotaryTable(family, tokens)  # type: ignore[assignment]
    try:
        yield
    finally:
        decoder.family = family
