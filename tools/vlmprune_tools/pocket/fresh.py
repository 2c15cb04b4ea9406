"""Pictures drawn when they are wanted, with their features: no two steps see the same, and nothing is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from vlmprune_tools.pocket.features import Seen, vision_features
from vlmprune_tools.pocket.scenes import Drawn, Scene
from vlmprune_tools.pocket.sources import Draw

PICTURES = 1_000_000  # numbers that pictures are drawn by


@dataclass(frozen=True)
class Fresh:
    """A picture just drawn, as training sees it."""

    drawn: Drawn
    values: Tensor  # (N, F)

    @property
    def scene(self) -> Scene:
        """What is where."""
        return self.drawn.scene

    @property
    def owner(self) -> Tensor:  # (N,)
        """What each visual token is on."""
        return torch.from_numpy(self.drawn.owner)

    def features(self) -> Tensor:  # -> (N, F)
        """Features of all visual tokens."""
        return self.values


class Endless(Sequence[Seen]):
    """All pictures of a source's train split, each drawn when it is looked at."""

    def __init__(self, draw: Draw, tower: Any) -> None:
        """Draw with `draw`, see with `tower`."""
        self.draw, self.tower = draw, tower

    def __len__(self) -> int:
        """How many there are to choose from."""
        return PICTURES

    @overload
    def __getitem__(self, index: int) -> Fresh: ...

    @overload
    def __getitem__(self, index: slice) -> list[Seen]: ...

    def __getitem__(self, index: int | slice) -> Fresh | list[Seen]:
        """One picture, or some."""
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(PICTURES))]
        drawn = self.draw("train", index)
        return Fresh(drawn, vision_features(self.tower, [drawn])[0])
