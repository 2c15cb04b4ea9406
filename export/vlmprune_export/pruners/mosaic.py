"""Prunes the tiles of an image together: a pruner that sees them put together into one grid."""

import torch
from torch import Tensor

from vlmprune_export.pruners.loops import ControlFlow
from vlmprune_export.pruners.pruner import Pruned, Pruner
from vlmprune_export.pruners.stable_sort import in_image_order


class TilesPruner(Pruner):
    """Takes the rows of tiles one tile after the other, as the sequence has them, and gives `kept` in that order.

    The pruner within sees them as one grid, line by line across all tiles of a row. Rows of other tokens pass through.
    """

    def __init__(self, within: Pruner, order: Tensor) -> None:  # order (N,)
        """Wraps a pruner; `order` holds the row of each place of the joint grid, see `order_of_tiles`."""
        super().__init__()
        self.within, self.needs, self.settings = within, within.needs, within.settings
        self.register_buffer("order", order, persistent=False)

    @property
    def control_flow(self) -> ControlFlow:
        """The control flow of the pruner within."""
        return self.within.control_flow

    @control_flow.setter
    def control_flow(self, control_flow: ControlFlow) -> None:
        self.within.control_flow = control_flow

    def forward(self, *tensors: Tensor) -> Pruned:
        """Returns the kept indices in ascending order, their rows, and the rank of each among all tiles."""
        order = self.get_buffer("order")
        pairs = zip(self.needs, tensors, strict=True)
        joined = [rows.index_select(0, order) if need.tokens == "visual" else rows for need, rows in pairs]
        places, fused, rank = self.within(*joined)
        kept, sequence = in_image_order(order.index_select(0, places), self.control_flow)
        return kept, fused.index_select(0, sequence), rank.index_select(0, sequence)


def order_of_tiles(tiles: tuple[int, int], grid: tuple[int, int]) -> Tensor:  # -> (N,)
    """Returns the row of each place of the joint grid among the rows of the tiles, one tile after the other.

    >>> order_of_tiles((1, 2), (2, 2)).view(2, 4).tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    (rows, columns), (height, width) = tiles, grid
    every = torch.arange(rows * columns * height * width)
    return every.view(rows, columns, height, width).permute(0, 2, 1, 3).reshape(-1)
