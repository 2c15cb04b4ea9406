"""Interpolates a tower's position embeddings to another grid once, as Hugging Face does in every call."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vlmprune_runtime.errors import BadRequest

INTERPOLATE = "interpolate_pos_encoding"


class PositionTable:
    """The position embeddings of a tower for images of another size than its own."""

    def __init__(self, tower: nn.Module, height_px: int, width_px: int) -> None:
        """Interpolates the embeddings. Raises `BadRequest` for a tower that cannot."""
        found = [module for module in tower.modules() if hasattr(module, INTERPOLATE)]
        if not found:
            raise BadRequest("resize: the vision tower has no position embeddings that can be interpolated")
        self.embeddings: Any = found[0]
        takes = inspect.signature(type(self.embeddings).forward).parameters
        self.options = {INTERPOLATE: True} if INTERPOLATE in takes else {}
        self.table = self._interpolated(height_px, width_px)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within, the tower adds this table: a graph holds it as a constant."""
        with self._calling(lambda *_: self.table):
            yield

    @torch.no_grad()
    def _interpolated(self, height_px: int, width_px: int) -> Tensor:  # -> (1, R, Dv)
        tables, interpolate = list[Tensor](), getattr(self.embeddings, INTERPOLATE)

        def caught(*given: Any) -> Tensor:
            tables.append(interpolate(*given))
            return tables[-1]

        dtype = next(self.embeddings.parameters()).dtype
        with self._calling(caught):
            self.embeddings(torch.zeros(1, 3, height_px, width_px, dtype=dtype), **self.options)
        return tables[0].clone()

    @contextmanager
    def _calling(self, function: Callable[..., Tensor]) -> Iterator[None]:
        """Within, the module calls that function to interpolate."""
        setattr(self.embeddings, INTERPOLATE, function)
        try:
            yield
        finally:
            delattr(self.embeddings, INTERPOLATE)  # the method of its class is there again
