"""Synthetic datasets are held out, deterministic and balanced over tasks."""

import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from vlmprune_runtime.errors import MissingExtra
from vlmprune_tools.evaluation.dataset import Dataset, DatasetOptions
from vlmprune_tools.evaluation.synthetic import FEWEST_IMAGES, Source, synthetic_dataset
from vlmprune_tools.scenes.photos import photo_pixels
from vlmprune_tools.scenes.scene import PlacedObject, RenderedScene, Scene
from vlmprune_tools.scenes.signs import font
from vlmprune_tools.scenes.sources import source

CONCEPTS = ("dog", "cat", "bus")


def render(split: str, index: int) -> RenderedScene:
    """One object, or two in a row in every third image; the pixels tell split and index."""
    objects = (PlacedObject("dog", 10, 10, 50), PlacedObject("cat", 200, 10, 50))
    kind = "row" if index % 3 == 2 else "one"
    scene = Scene(kind, objects if kind == "row" else objects[:1], "red")
    return RenderedScene(
        scene, np.full((4, 4, 3), index % 251 if split == "test" else 255, np.uint8), np.zeros(4, np.int8)
    )


def dataset(limit: int = 80, seed: int = 0, start: int = 0) -> Dataset:
    return synthetic_dataset(
        "scenes", Source(render, CONCEPTS), range(start, start + 1000), DatasetOptions(limit, seed)
    )


def test_every_task_has_its_share() -> None:
    data = dataset(80)
    counts = Counter(item.task for item in data.items)
    assert set(counts) == {"naming", "presence", "colour", "left-right", "relation", "position", "counting"}
    assert sum(counts.values()) == 80 and max(counts.values()) - min(counts.values()) <= 1


def test_questions_of_a_image_are_side_by_side_and_about_it() -> None:
    data = dataset(80)
    images = [item.image for item in data.items]
    assert images == sorted(images, key=int)
    assert all(np.asarray(data.load_image(name)).flat[0] == int(name) for name in images)
    right = {"naming": "dog", "colour": "red"}
    assert all(item.answers == (right[item.task],) for item in data.items if item.task in right)


def test_the_same_options_give_the_same_data_and_a_larger_limit_holds_a_smaller() -> None:
    assert dataset(40).items == dataset(40).items
    few, many = ({item.key for item in dataset(limit).items} for limit in (40, 80))
    assert few < many
    assert dataset(40).images == dataset(80).images == tuple(map(str, range(100)))  # what a blind model is shown
    assert dataset(40).sha256 == dataset(80).sha256 != dataset(40, start=7).sha256


def test_a_rare_task_does_not_draw_for_ever() -> None:
    seen: list[int] = []

    def rarely(split: str, index: int) -> RenderedScene:
        seen.append(index)
        return render(split, 2 if index == 3 else 0)

    data = synthetic_dataset("scenes", Source(rarely, CONCEPTS), range(10**6), DatasetOptions(60))
    assert len(data.items) == 60
    assert len(set(seen)) <= FEWEST_IMAGES + 60


def test_signs_are_drawn() -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    from vlmprune_tools.evaluation.datasets import open_dataset

    data, other = (open_dataset("signs", DatasetOptions(6, seed)) for seed in (0, 1))
    assert {item.task for item in data.items} == {"word", "digit", "colour"}
    assert data.load_image(data.items[0].image).size == (336, 336)
    assert data.sha256 != other.sha256 and data.templated and not data.blind


def test_easy_vqa_is_the_published_test_part_and_asks_blind() -> None:
    easy_vqa = pytest.importorskip("easy_vqa")
    from vlmprune_tools.evaluation.datasets import open_dataset

    data = open_dataset("easy-vqa", DatasetOptions(5))
    asked, answers, images = easy_vqa.get_test_questions()
    published = {(str(image), text.lower(), answer) for text, answer, image in zip(asked, answers, images, strict=True)}
    assert {(item.image, item.question.lower(), item.answers[0]) for item in data.items} <= published
    assert data.blind and len(data.items) == 5


@pytest.mark.parametrize(
    ("package", "wanted"),
    [
        ("skimage.data", lambda: photo_pixels("chelsea")),
        ("sklearn.datasets", lambda: photo_pixels("china.jpg")),
        ("easy_vqa", lambda: source("easy-vqa", {})("test", 0)),
        ("matplotlib", lambda: source("sign", {})("test", 0)),
    ],
)
def test_a_missing_package_says_how_to_get_it(
    package: str, wanted: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    font.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package} is not installed; run: .*pip install .*\[tools\]'"):
        wanted()
