"""Rotary embeddings looked up in a table: a large position times a frequency is no number for fp16."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vlmprune_export.adapters import Adapter
from vlmprune_export.stages import DecoderStage


class RotaryTable:
    """An adapter's cosines and sines of positions 0 .. `tokens` - 1, (tokens, dh) each."""

    def __init__(self, adapter: Adapter, tokens: int) -> None:
        width = adapter.text_model.hidden_size
        with torch.no_grad():
            cosines, sines = adapter.rotary(torch.zeros(1, tokens, width), torch.arange(tokens)[None])
        self.cosines, self.sines = cosines[0].clone(), sines[0].clone()

    def rotary(self, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(1, S, D), (1, S) int32 -> 2 x (1, S, dh)."""
        return self.cosines.index_select(0, positions[0])[None], self.sines.index_select(0, positions[0])[None]


@contextmanager
def from_table(decoder: DecoderStage, tokens: int) -> Iterator[None]:
    """Within, the decoder layers get their rotary embeddings from a table."""
    adapter: Any = decoder.adapter
    decoder.adapter = RotaryTable(adapter, tokens)  # type: ignore[assignment]
    try:
        yield
    finally:
        decoder.adapter = adapter
