"""Samples images for training: every step renders new ones."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vlmprune_export.pocket_model.vision_tower import GRID, PATCH_PX
from vlmprune_tools.scenes.artwork import Artwork
from vlmprune_tools.scenes.placement import Square
from vlmprune_tools.scenes.scene import RenderedScene
from vlmprune_tools.scenes.sources import Render, source

INDICES = 1_000_000  # images of a source
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


@dataclass(frozen=True)
class BatchSampler:
    """Samples images of the train split from several sources, each as often as its weight says."""

    sources: tuple[tuple[float, Render], ...]

    def sample(self, rng: random.Random, count: int) -> list[RenderedScene]:
        """Renders `count` images, which depend on the state of `rng` only."""
        chosen = rng.choices(self.sources, [weight for weight, _ in self.sources], k=count)
        return [render("train", rng.randrange(INDICES)) for _, render in chosen]


def batch_sampler(mix: Mapping[str, float], artwork: Artwork) -> BatchSampler:
    """Returns the sampler of a recipe's mix. Raises `UnknownName` for a source that does not exist."""
    return BatchSampler(tuple((weight, source(name, artwork)) for name, weight in mix.items()))


def pixel_values(scenes: Sequence[RenderedScene]) -> Tensor:  # -> (B, 3, H, W)
    """Returns the normalised pixels that the vision tower takes."""
    pixels = torch.from_numpy(np.stack([rendered.pixels for rendered in scenes])).permute(0, 3, 1, 2).float()
    return (pixels / 255 - MEAN) / STD


def touched_patches(square: Square) -> Tensor:  # -> (N,)
    """Returns True for the patches that a square touches.

    >>> touched_patches((15, 0, 14)).nonzero()[:, 0].tolist()
    [1, 2]
    """
    x, y, side = square
    at = torch.arange(GRID) * PATCH_PX
    across, down = ((at + PATCH_PX > start) & (at < start + side) for start in (x, y))
    return (down[:, None] & across[None]).reshape(-1)
