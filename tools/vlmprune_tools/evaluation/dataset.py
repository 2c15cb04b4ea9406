"""Questions about images, whatever source they come from, and the selection of those that are evaluated."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

MEAN_IMAGES = 100  # the blind model sees the mean of at most so many images
MEAN, TESTED = "mean", "mean-tested"
RESERVED_TASKS = (MEAN, TESTED)
"""The report's names for its means over all tasks, and over those that test pruning."""


@dataclass(frozen=True)
class Item:
    """One question about one image or several, with the accepted answers.

    `metric` is a name in `METRICS`; `location` says in messages where the question comes from. `more_images` are
    those behind the first, in the order of their places in the prompt.
    """

    image: str
    question: str
    answers: tuple[str, ...]
    task: str
    metric: str
    location: str
    more_images: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[str, ...]:
        """All images in the order of their places in the prompt."""
        return (self.image, *self.more_images)

    @property
    def key(self) -> str:
        """Returns a hash, in 16 hex digits, of all that a model's prediction can depend on."""
        return hashlib.sha256("\n".join([*self.images, self.question]).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Dataset:
    """Items in the order of evaluation, with those of one image side by side, and a function to load an image.

    `sha256` is of the file and its images' sizes, or of the first image if images are synthetic. The blind
    model is shown the mean of `images`, which does not depend on the limit. `templated` says that rules made
    questions and images. `blind` says that the blind model must be quoted, since guessing goes far here.
    """

    name: str
    items: tuple[Item, ...]
    load_image: Callable[[str], Image.Image]
    sha256: str
    images: tuple[str, ...]
    templated: bool = False
    blind: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """Returns the names of the tasks, in order of first appearance."""
        return tuple(dict.fromkeys(item.task for item in self.items))


@dataclass(frozen=True)
class DatasetOptions:
    """The largest number of questions (None means all), the seed of the draw, and the folder of the images."""

    limit: int | None = 200
    seed: int = 0
    images: Path | None = None


def balanced(items: Sequence[Item], limit: int | None) -> tuple[Item, ...]:
    """Returns at most `limit` items, taking the next of each task in turn; they keep their order."""
    taken: Counter[str] = Counter()
    turns = []
    for index, item in enumerate(items):
        turns.append((taken[item.task], index))
        taken[item.task] += 1
    return tuple(items[index] for index in sorted(index for _, index in sorted(turns)[:limit]))
