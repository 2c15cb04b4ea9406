"""Synthetic datasets: pocket's scenes and signs, and easy-VQA, whose images come with a package."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from PIL import Image

from vlmprune_runtime.errors import BadRequest, MissingExtra
from vlmprune_tools.evaluation.dataset import MEAN_IMAGES, Dataset, DatasetOptions, Item, balanced
from vlmprune_tools.optional_packages import tools_package

SPLIT = "test"
SEED_STRIDE = 1_000_000  # no two seeds share a scene
FEWEST_IMAGES = 24  # after so many images every family of questions has come up


@dataclass(frozen=True)
class Source:
    """A function that renders image `index` of a split, and the concepts that its questions ask about."""

    render: Callable[[str, int], Any]
    concepts: Sequence[str]


def open_scenes(name: str, options: DatasetOptions) -> Dataset:
    """Opens hard scenes of the held-out split."""
    return open_synthetic(name, "hard", options)


def open_signs(name: str, options: DatasetOptions) -> Dataset:
    """Opens signs with a word or a digit, of the held-out split."""
    return open_synthetic(name, "sign", options)


def open_synthetic(name: str, source_name: str, options: DatasetOptions) -> Dataset:
    """Opens the endless images of one of pocket's sources; a limit is required."""
    if options.limit is None:
        raise BadRequest(f"data {name!r} has no end; allowed: a limit of 1 or more")
    indices = range(options.seed * SEED_STRIDE, (options.seed + 1) * SEED_STRIDE)
    return synthetic_dataset(name, _source(source_name), indices, options)


def open_easy_vqa(name: str, options: DatasetOptions) -> Dataset:
    """Opens the published test part of easy-VQA, in an order that the seed gives."""
    source = _source("easy-vqa")
    images = len(tools_package("easy_vqa").get_test_image_paths())
    order = random.Random(f"easy-vqa/{options.seed}").sample(range(images), images)
    return synthetic_dataset(name, source, order, options, blind=True)


def synthetic_dataset(
    name: str, source: Source, indices: Sequence[int], options: DatasetOptions, *, blind: bool = False
) -> Dataset:
    """Collects the questions of the first images until every task has its share."""
    from vlmprune_tools.scenes.questions import questions

    def items_of(index: int) -> list[Item]:
        rng = random.Random(f"{SPLIT}/questions/{index}")
        asked = questions(source.render(SPLIT, index).scene, source.concepts, rng)
        return [Item(str(index), text, (answer,), task, "exact", f"{name} {index}") for task, text, answer in asked]

    def load_image(image: str) -> Image.Image:
        return Image.fromarray(source.render(SPLIT, int(image)).pixels)

    items = balanced(collect_items(indices, items_of, options.limit), options.limit)
    images = tuple(str(index) for index in islice(indices, MEAN_IMAGES))
    sha256 = hashlib.sha256(load_image(items[0].image).tobytes()).hexdigest()
    return Dataset(name, items, load_image, sha256, images, templated=True, blind=blind)


def collect_items(indices: Iterable[int], items_of: Callable[[int], list[Item]], limit: int | None) -> list[Item]:
    """Collects items image by image until each task has its share of the limit, or a rare task takes too long."""
    items: list[Item] = []
    per_task: Counter[str] = Counter()
    for images, index in zip(count(1), indices, strict=False):
        more = items_of(index)
        items += more
        per_task.update(item.task for item in more)
        if limit is not None and images >= min(FEWEST_IMAGES + limit, 10 * limit):
            break
        if limit is not None and images >= FEWEST_IMAGES and min(per_task.values()) * len(per_task) >= limit:
            break
    return items


def _source(name: str) -> Source:
    try:
        from vlmprune_tools.scenes.artwork import artwork_of
        from vlmprune_tools.scenes.concepts import known_concepts
        from vlmprune_tools.scenes.sources import WITHOUT_ARTWORK, source
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "scikit-image", "tools") from missing
    concepts = known_concepts()
    artwork = {} if name in WITHOUT_ARTWORK else artwork_of(concepts)
    return Source(source(name, artwork), concepts)
