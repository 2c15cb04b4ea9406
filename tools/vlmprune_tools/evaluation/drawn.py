"""Data sets whose pictures are drawn or come with a package: pocket's scenes and signs, and easy-VQA."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from PIL import Image

from vlmprune_runtime.errors import BadRequest, MissingExtra
from vlmprune_tools.evaluation.items import MEAN_OF, Data, Item, Wishes, balanced
from vlmprune_tools.extra import tools_package

SPLIT = "test"
SEED_STRIDE = 1_000_000  # scenes of one seed are not those of another
FEWEST_PICTURES = 24  # so that every family of questions has come up


@dataclass(frozen=True)
class Source:
    """What draws picture `index` of a split, and what could be in it."""

    draw: Callable[[str, int], Any]
    concepts: Sequence[str]


def open_scenes(name: str, wishes: Wishes) -> Data:
    """Hard scenes of the held-out split."""
    return open_drawn(name, "hard", wishes)


def open_signs(name: str, wishes: Wishes) -> Data:
    """Signs with a word or a digit, of the held-out split."""
    return open_drawn(name, "sign", wishes)


def open_drawn(name: str, source_name: str, wishes: Wishes) -> Data:
    """Pictures without end from one of pocket's sources."""
    if wishes.limit is None:
        raise BadRequest(f"data {name!r} has no end; allowed: a limit of 1 or more")
    indices = range(wishes.seed * SEED_STRIDE, (wishes.seed + 1) * SEED_STRIDE)
    return drawn_data(name, _source(source_name), indices, wishes)


def open_easy_vqa(name: str, wishes: Wishes) -> Data:
    """The published test part of easy-VQA, in an order that the seed gives."""
    pictured = _source("easy-vqa")
    pictures = len(tools_package("easy_vqa").get_test_image_paths())
    order = random.Random(f"easy-vqa/{wishes.seed}").sample(range(pictures), pictures)
    return drawn_data(name, pictured, order, wishes, blind=True)


def drawn_data(name: str, source: Source, indices: Sequence[int], wishes: Wishes, *, blind: bool = False) -> Data:
    """The questions of the first pictures until every task has its share."""
    from vlmprune_tools.pocket.questions import questions

    def ask(index: int) -> list[Item]:
        asked = questions(source.draw(SPLIT, index).scene, source.concepts, random.Random(f"{SPLIT}/questions/{index}"))
        return [Item(str(index), text, (right,), task, "exact", f"{name} {index}") for task, text, right in asked]

    def show(picture: str) -> Image.Image:
        return Image.fromarray(source.draw(SPLIT, int(picture)).pixels)

    items = balanced(collected(indices, ask, wishes.limit), wishes.limit)
    pictures = tuple(str(index) for index in islice(indices, MEAN_OF))
    first = hashlib.sha256(show(items[0].picture).tobytes()).hexdigest()
    return Data(name, items, show, first, pictures, templated=True, blind=blind)


def collected(indices: Iterable[int], ask: Callable[[int], list[Item]], limit: int | None) -> list[Item]:
    """Items of picture after picture until each task has its share of the limit; that of a task may never be met."""
    found: list[Item] = []
    per_task: Counter[str] = Counter()
    for pictures, index in zip(count(1), indices, strict=False):
        more = ask(index)
        found += more
        per_task.update(item.task for item in more)
        if limit is not None and pictures >= min(FEWEST_PICTURES + limit, 10 * limit):
            break
        if limit is not None and pictures >= FEWEST_PICTURES and min(per_task.values()) * len(per_task) >= limit:
            break
    return found


def _source(name: str) -> Source:
    try:
        from vlmprune_tools.pocket.artwork import artwork_of
        from vlmprune_tools.pocket.concepts import known_concepts
        from vlmprune_tools.pocket.sources import source
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "scikit-image", "tools") from missing
    concepts = known_concepts()
    artwork = {} if name in ("sign", "easy-vqa") else artwork_of(concepts)
    return Source(source(name, artwork), concepts)
