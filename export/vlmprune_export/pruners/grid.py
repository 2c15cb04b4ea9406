"""The grid of visual tokens, in row-major order: token i lies at x = i mod W, y = i div W."""

import math

import torch
from torch import Tensor, nn

LARGEST_SIDE = 2048
"""The largest height and width: up to it squared distances are whole numbers that fp32 holds exactly."""


class Grid(nn.Module):
    """Computes distances between the cells of a grid of H x W tokens from their coordinates."""

    left: Tensor
    right: Tensor

    def __init__(self, height: int, width: int) -> None:
        """Builds the grid; both sides are at most `LARGEST_SIDE`."""
        super().__init__()
        self.shape = (height, width)
        self.tokens = height * width
        self.diagonal = math.hypot(height, width)
        index = torch.arange(self.tokens)
        y, x = (index // width).float(), (index % width).float()
        norm, one = y * y + x * x, torch.ones_like(x)
        # |a - b|^2 = |a|^2 - 2 ab + |b|^2 as one product of small matrices.
        self.register_buffer("left", torch.stack([norm, -2 * y, -2 * x, one], 1)[None], persistent=False)
        self.register_buffer("right", torch.stack([one, y, x, norm], 0)[None], persistent=False)

    def squared_distance(self, tokens: Tensor) -> Tensor:  # (B,) -> (N,)
        """Returns the squared distance, in cells, from each token to the nearest of the given tokens."""
        return torch.bmm(self.left.index_select(1, tokens), self.right).amin((0, 1))

    def squared_distances(self, tokens: Tensor) -> Tensor:  # (B,) -> (B, N)
        """Returns the squared distance, in cells, from each of the given tokens to every token."""
        return torch.bmm(self.left.index_select(1, tokens), self.right).view(-1, self.tokens)
