"""What an image shows: its objects, where they are, and which patches they cover."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vlmprune_tools.scenes.placement import Square

NO_OBJECT, EDGE = -1, -2  # owners of patches without an object, and of those that an object covers by less than half


class Question(NamedTuple):
    """A question of a family with its right answer; `|` separates several accepted answers."""

    family: str
    text: str
    answer: str


@dataclass(frozen=True)
class PlacedObject:
    """One object: its concept and the square that bounds it."""

    concept: str
    x_px: int
    y_px: int
    size_px: int

    @property
    def centre(self) -> tuple[float, float]:
        """Returns the middle of the square, (x, y)."""
        return self.x_px + self.size_px / 2, self.y_px + self.size_px / 2

    @property
    def square(self) -> Square:
        """Returns the square that bounds the object."""
        return self.x_px, self.y_px, self.size_px


@dataclass(frozen=True)
class Scene:
    """The content of an image.

    `colour` names a plain background, `photo_concepts` what a photo in the background shows. `questions` holds those
    that come with the image, `labels` what a sign says or easy-VQA's only object is.
    """

    kind: str
    objects: tuple[PlacedObject, ...] = ()
    colour: str | None = None
    photo_concepts: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class RenderedScene:
    """A scene, its pixels (336, 336, 3), and per patch the number of the object on it, or NO_OBJECT or EDGE."""

    scene: Scene
    pixels: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int8]  # (N,)
