"""Scenes are reproducible, splits are apart, and every answer is true of its picture."""

import random
from pathlib import Path

import numpy as np
import pytest

from vlmprune_runtime.errors import UnknownName
from vlmprune_tools.pocket.artwork import Artwork
from vlmprune_tools.pocket.backgrounds import PARTS
from vlmprune_tools.pocket.questions import FAMILIES, questions
from vlmprune_tools.pocket.scenes import Drawn, Placed, Scene, draw_scene
from vlmprune_tools.pocket.smoke import drawn_artwork
from vlmprune_tools.pocket.sources import source
from vlmprune_tools.pocket.styles import STYLES


@pytest.fixture(scope="module")
def artwork(tmp_path_factory: pytest.TempPathFactory) -> Artwork:
    """A few shapes."""
    return drawn_artwork(tmp_path_factory.mktemp("artwork"))


def same(a: Drawn, b: Drawn) -> bool:
    """Equal in every part."""
    return a.scene == b.scene and np.array_equal(a.pixels, b.pixels) and np.array_equal(a.owner, b.owner)


@pytest.mark.parametrize("style", STYLES)
def test_a_scene_depends_on_split_style_and_index_only(style: str, artwork: Artwork) -> None:
    """Drawn alone or after others, it is the same."""
    draw_scene("train", style, 0, artwork)
    assert same(draw_scene("dev", style, 7, artwork), draw_scene("dev", style, 7, artwork))


def test_splits_share_no_scene(artwork: Artwork) -> None:
    """The same index is another scene in each split."""
    drawn = [draw_scene(split, "hard", index, artwork) for split in PARTS for index in range(5)]
    assert len({item.pixels.tobytes() for item in drawn}) == len(drawn)


@pytest.mark.parametrize("index", range(12))
def test_objects_lie_where_the_scene_says(index: int, artwork: Artwork) -> None:
    """Inside the picture, of the right size, apart, and owning the patch in their middle."""
    drawn, style = draw_scene("train", "hard", index, artwork), STYLES["hard"]
    for item in drawn.scene.objects:
        assert style.min_px <= item.size_px <= style.max_px
        assert min(item.x_px, item.y_px) >= 0
        assert max(item.x_px, item.y_px) + item.size_px <= 336
    for row in range(len(drawn.scene.objects)):
        assert (drawn.owner == row).any()


@pytest.mark.parametrize(
    ("kind", "family", "places", "answers"),
    [
        ("row", "left-right", ((200, 9), (10, 200)), ("cat", "dog")),
        ("column", "top-bottom", ((9, 200), (200, 10)), ("cat", "dog")),
    ],
)
def test_sides(kind: str, family: str, places: tuple[tuple[int, int], ...], answers: tuple[str, str]) -> None:
    """Left and top are the smaller coordinates, whatever the order in which objects were placed."""
    placed = tuple(Placed(name, *place, 50) for name, place in zip(("dog", "cat"), places, strict=True))
    asked = questions(Scene(kind, placed), ["dog", "cat", "owl"], random.Random(0))
    assert tuple(answer for name, _, answer in asked if name == family) == answers


@pytest.mark.parametrize("seed", range(20))
def test_relations_are_true(seed: int) -> None:
    """The cat is left of the dog."""
    scene = Scene("row", (Placed("dog", 200, 0, 50), Placed("cat", 0, 0, 50)))
    asked = [item for item in questions(scene, ["dog", "cat", "owl"], random.Random(seed)) if item[0] == "relation"]
    true = {"Is the cat left of the dog?", "Is the dog right of the cat?"}
    assert [answer for _, _, answer in asked] == ["yes" if question in true else "no" for _, question, _ in asked]


@pytest.mark.parametrize("seed", range(20))
def test_absent_means_absent(seed: int) -> None:
    """Neither an object nor what the photo behind shows is asked for with the answer no."""
    scene = Scene("one", (Placed("dog", 0, 0, 50),), None, ("cat",))
    asked = questions(scene, ["dog", "cat", "owl"], random.Random(seed))
    assert [item[1:] for item in asked if item[0] == "presence"] == [
        ("Is there a dog?", "yes"),
        ("Is there an owl?", "no"),
    ]


@pytest.mark.parametrize("index", range(6))
def test_signs(index: int, artwork: Artwork) -> None:
    """The ink's patches are known and the questions belong to known families."""
    drawn = source("sign", artwork)("train", index)
    assert (drawn.owner == 0).any()
    assert {family for family, _, _ in drawn.scene.asked} <= set(FAMILIES)


def test_easy_vqa_brings_its_own_questions(artwork: Artwork) -> None:
    """Published questions, published split, enlarged pictures."""
    pytest.importorskip("easy_vqa")
    draw = source("easy-vqa", artwork)
    assert draw("train", 0).pixels.shape == (336, 336, 3)
    assert draw("train", 0).scene.asked != draw("test", 0).scene.asked
    assert same(draw("dev", 0), draw("train", 3500))


def test_an_unknown_source_lists_the_choices(artwork: Artwork) -> None:
    """The message is enough to go on."""
    with pytest.raises(UnknownName, match="drill, easy, easy-vqa, hard, sign"):
        source("cartoons", artwork)


def test_artwork_has_its_size(artwork: Artwork) -> None:
    """Five concepts, one picture each, on disk."""
    assert all(isinstance(path, Path) and path.is_file() for paths in artwork.values() for path in paths)
    assert len(artwork) == 5
