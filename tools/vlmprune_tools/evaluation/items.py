"""Questions about pictures, whatever they were read from, and which of them are asked."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

MEAN_OF = 100  # pictures, at most
MEAN, TESTED = "mean", "mean-tested"
RESERVED_TASKS = (MEAN, TESTED)
"""What the report calls its means over tasks, and over those that test pruning."""


@dataclass(frozen=True)
class Item:
    """One question about one picture, with the answers that are accepted.

    `metric` is a name in `METRICS`, `place` says where the question came from, for messages.
    """

    picture: str
    question: str
    answers: tuple[str, ...]
    task: str
    metric: str
    place: str

    @property
    def key(self) -> str:
        """What the answer of a model can depend on, in 16 hex digits."""
        return hashlib.sha256(f"{self.picture}\n{self.question}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Data:
    """Items in the order asked, those of one picture side by side, and how a picture is got.

    `sha256` is that of the file and of its pictures' sizes, or of the first picture where pictures are drawn. What a
    blind model is shown is the mean of `pictures`, which does not depend on the limit. `templated`: questions and
    pictures were made by rules. `blind`: quote what the model says without seeing, for a guess goes far here.
    """

    name: str
    items: tuple[Item, ...]
    show: Callable[[str], Image.Image]
    sha256: str
    pictures: tuple[str, ...]
    templated: bool = False
    blind: bool = False

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in order of first appearance."""
        return tuple(dict.fromkeys(item.task for item in self.items))


@dataclass(frozen=True)
class Wishes:
    """How much is asked: the most questions (None: all there are), which draw, where pictures lie."""

    limit: int | None = 200
    seed: int = 0
    images: Path | None = None


def balanced(items: Sequence[Item], limit: int | None) -> tuple[Item, ...]:
    """At most `limit` items, the first of each task in turn; in the order they had."""
    seen: Counter[str] = Counter()
    turns = []
    for at, item in enumerate(items):
        turns.append((seen[item.task], at))
        seen[item.task] += 1
    return tuple(items[at] for at in sorted(at for _, at in sorted(turns)[:limit]))
