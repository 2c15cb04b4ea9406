"""Scenes are reproducible, splits are apart, and every answer is true of its image."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_tools.scenes.artwork import Artwork, load_artwork
from vlmprune_tools.scenes.augmentation import augment, restyle, shear
from vlmprune_tools.scenes.concepts import CONCEPTS, GROUP_OF, INCLUDES, SHAPES, known_concepts
from vlmprune_tools.scenes.easy_vqa import shape_and_colour
from vlmprune_tools.scenes.paraphrases import paraphrase
from vlmprune_tools.scenes.photos import PARTS, PHOTOS
from vlmprune_tools.scenes.questions import FAMILIES, absent_concept, questions
from vlmprune_tools.scenes.rendering import choose_concepts, render_scene
from vlmprune_tools.scenes.scene import PlacedObject, Question, RenderedScene, Scene
from vlmprune_tools.scenes.sources import source
from vlmprune_tools.scenes.styles import STYLES


def same(a: RenderedScene, b: RenderedScene) -> bool:
    """Equal in every part."""
    return a.scene == b.scene and np.array_equal(a.pixels, b.pixels) and np.array_equal(a.owner, b.owner)


@pytest.mark.parametrize("style", STYLES)
def test_a_scene_depends_on_split_style_and_index_only(style: str, artwork: Artwork) -> None:
    """RenderedScene alone or after others, it is the same."""
    render_scene("train", style, 0, artwork)
    assert same(render_scene("dev", style, 7, artwork), render_scene("dev", style, 7, artwork))


def test_splits_share_no_scene(artwork: Artwork) -> None:
    """The same index is another scene in each split."""
    rendered = [render_scene(split, "hard", index, artwork) for split in PARTS for index in range(5)]
    assert len({item.pixels.tobytes() for item in rendered}) == len(rendered)


@pytest.mark.parametrize("index", range(12))
def test_objects_lie_where_the_scene_says(index: int, artwork: Artwork) -> None:
    """Inside the image, of the right size, apart, and owning the patch in their middle."""
    rendered, style = render_scene("train", "hard", index, artwork), STYLES["hard"]
    for item in rendered.scene.objects:
        assert style.min_px <= item.size_px <= style.max_px
        assert min(item.x_px, item.y_px) >= 0
        assert max(item.x_px, item.y_px) + item.size_px <= 336
    for row, item in enumerate(rendered.scene.objects):
        assert item.size_px < 42 or (rendered.owner == row).any()  # a small one may fill no patch by more than half


@pytest.mark.parametrize(
    ("kind", "family", "places", "answers"),
    [
        ("row", "left-right", ((200, 9), (10, 200)), ("cat", "dog")),
        ("column", "top-bottom", ((9, 200), (200, 10)), ("cat", "dog")),
    ],
)
def test_sides(kind: str, family: str, places: tuple[tuple[int, int], ...], answers: tuple[str, str]) -> None:
    """Left and top are the smaller coordinates, whatever the order in which objects were placed."""
    placed = tuple(PlacedObject(name, *place, 50) for name, place in zip(("dog", "cat"), places, strict=True))
    asked = questions(Scene(kind, placed), ["dog", "cat", "owl"], random.Random(0))
    assert tuple(answer for name, _, answer in asked if name == family) == answers


@pytest.mark.parametrize("seed", range(20))
def test_relations_are_true(seed: int) -> None:
    """The cat is left of the dog."""
    scene = Scene("row", (PlacedObject("dog", 200, 0, 50), PlacedObject("cat", 0, 0, 50)))
    asked = [item for item in questions(scene, ["dog", "cat", "owl"], random.Random(seed)) if item[0] == "relation"]
    true = {"Is the cat left of the dog?", "Is the dog right of the cat?"}
    assert [answer for _, _, answer in asked] == ["yes" if question in true else "no" for _, question, _ in asked]


@pytest.mark.parametrize("seed", range(20))
def test_absent_means_absent(seed: int) -> None:
    """Neither an object nor what the photo behind shows is asked for with the answer no."""
    scene = Scene("one", (PlacedObject("dog", 0, 0, 50),), None, ("cat",))
    asked = questions(scene, ["dog", "cat", "owl"], random.Random(seed))
    assert [item[1:] for item in asked if item[0] == "presence"] == [
        ("Is there a dog?", "yes"),
        ("Is there an owl?", "no"),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_what_includes_the_other_is_not_absent(seed: int) -> None:
    """A taxi is a car, so nobody is asked whether there is one."""
    scene = Scene("one", (PlacedObject("taxi", 0, 0, 50),))
    asked = questions(scene, ["taxi", "car", "train"], random.Random(seed))
    assert [text for family, text, answer in asked if answer == "no"] == ["Is there a train?"]


def test_near_duplicates_are_asked_for() -> None:
    """About half of what is absent is kindred to what is there."""
    scene, rng = Scene("one", (PlacedObject("cat", 0, 0, 50),)), random.Random(0)
    names = [absent_concept(scene, CONCEPTS, rng) for _ in range(200)]
    assert 80 < sum(GROUP_OF[name] == GROUP_OF["cat"] for name in names) < 130


def test_a_image_of_nothing_is_asked_about_all_the_same(artwork: Artwork) -> None:
    """No object, no count; its colour and what is not there."""
    asked = questions(Scene("empty", (), "red"), ["dog", "cat"], random.Random(0))
    assert {family for family, _, _ in asked} == {"presence", "colour"}
    assert all(answer == "no" for family, _, answer in asked if family == "presence")


def test_a_group_is_drawn_from_kindred(artwork: Artwork) -> None:
    """With `related_fraction` at 1 all objects of a scene are of one group."""
    style = replace(STYLES["hard"], related_fraction=1.0, most=2)
    for seed in range(20):
        first, second = choose_concepts("row", style, list(CONCEPTS), random.Random(seed))
        assert first != second
        assert GROUP_OF[first] == GROUP_OF[second]


def test_varied_artwork_stays_what_it_is(artwork: Artwork) -> None:
    """Turned and recoloured, with a shape and a visible part."""
    art = load_artwork(artwork["dog"][0])
    other = augment(art, random.Random(3))
    assert other.mode == "RGBA"
    assert other.getbbox() == (0, 0, *other.size)
    assert np.asarray(other).shape != np.asarray(art).shape or (np.asarray(other) != np.asarray(art)).any()


def test_slanted_artwork_is_whole() -> None:
    """To either side, without losing any of its corners."""
    art = Image.new("RGBA", (40, 60), (255, 0, 0, 255))
    for by in (-0.2, 0.2):
        cover = np.asarray(shear(art, by).getchannel("A")).astype(float) / 255
        assert abs(cover.sum() - 40 * 60) < 0.04 * 40 * 60
        assert (cover[0] > 0.5).argmax() == pytest.approx(0 if by < 0 else 12, abs=1)


def test_few_images_are_drawn_otherwise() -> None:
    """Most stay as they are to the last bit; none changes its size."""
    art = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    rendered = [restyle(art, random.Random(number)) for number in range(200)]
    assert {item.size for item in rendered} == {art.size}
    assert 0.5 < sum(item.tobytes() == art.tobytes() for item in rendered) / len(rendered) < 0.85


def test_every_question_can_be_reworded(artwork: Artwork) -> None:
    """In other words, with the same answer; the words that measure are not those that train."""
    seen: set[str] = set()
    for index in range(40):
        for source_name in ("hard", "sign"):
            rendered = source(source_name, artwork)("train", index)
            for item in questions(rendered.scene, list(artwork), random.Random(index)):
                trained, measured = (paraphrase(item, random.Random(index), held_out) for held_out in (False, True))
                assert trained[0] == measured[0] == item[0]
                assert trained[2] == measured[2] == item[2]
                assert len({trained[1], measured[1], item[1]}) == 3
                seen.add(item[0])
    assert seen == set(FAMILIES) - {"easy-vqa", "photo"}


def test_there_are_at_least_300_concepts_of_one_token() -> None:
    """Each with a group, none twice."""
    assert len(set(CONCEPTS)) == len(CONCEPTS) >= 300
    assert set(INCLUDES) <= set(CONCEPTS)
    assert {name for names in INCLUDES.values() for name in names} <= set(CONCEPTS)


@pytest.mark.parametrize("index", range(6))
def test_signs(index: int, artwork: Artwork) -> None:
    """The ink's patches are known and the questions belong to known families."""
    rendered = source("sign", artwork)("train", index)
    assert (rendered.owner == 0).any()
    assert {family for family, _, _ in rendered.scene.questions} <= set(FAMILIES)


def test_easy_vqa_brings_its_own_questions(artwork: Artwork) -> None:
    """Published questions, published split, enlarged images."""
    pytest.importorskip("easy_vqa")
    draw = source("easy-vqa", artwork)
    assert draw("train", 0).pixels.shape == (336, 336, 3)
    assert draw("train", 0).scene.questions != draw("test", 0).scene.questions
    assert same(draw("train", 3500), draw("train", 0))
    assert not same(draw("dev", 0), draw("train", 3500))


def test_easy_vqas_questions_give_away_one_shape_and_one_colour(artwork: Artwork) -> None:
    """However they are put: "Is no circle present?", answered yes, tells of none."""
    pytest.importorskip("easy_vqa")
    labels = [source("easy-vqa", artwork)("train", index).scene.labels for index in range(40)]
    assert all(sum(name in SHAPES for name in names) <= 1 for names in labels)
    assert all(sum(name not in SHAPES for name in names) <= 1 for names in labels)
    assert sum(len(names) == 2 for names in labels) > 35
    asked = [("Is no circle present?", "yes"), ("Is there not a red shape?", "no"), ("What color is the box?", "teal")]
    assert shape_and_colour([Question("easy-vqa", *pair) for pair in asked[:2]]) == ("red",)
    assert shape_and_colour([Question("easy-vqa", *asked[2])]) == ("teal",)


def test_photos_are_asked_for_what_they_show(artwork: Artwork) -> None:
    """Any concept that the table of photos names."""
    draw = source("photo", artwork)
    assert [draw("test", index).scene.questions[0][2] for index in range(6)] == [
        "|".join(shows) for shows in PHOTOS.values()
    ]
    with pytest.raises(BadRequest, match="got image 6; allowed: 0 to 5"):
        draw("test", 6)


def test_an_unknown_source_lists_the_choices(artwork: Artwork) -> None:
    """The message is enough to go on."""
    with pytest.raises(UnknownName, match="bare, crowd, drill, easy, easy-vqa, few, hard, photo, sign, single"):
        source("cartoons", artwork)


def test_artwork_has_its_size(artwork: Artwork) -> None:
    """Five concepts, one image each, on disk."""
    assert all(isinstance(path, Path) and path.is_file() for paths in artwork.values() for path in paths)
    assert len(artwork) == 5


def test_what_weights_know_stands_beside_them(tmp_path: Path) -> None:
    """The shipped ones know some of the concepts; others say theirs; words and digits are not concepts."""
    shipped = known_concepts()
    assert len(shipped) >= 100
    assert set(shipped) <= set(CONCEPTS)
    (tmp_path / "mine.json").write_text(json.dumps({"labels": ["cat", "dog", "stop", "seven"]}))
    assert known_concepts(tmp_path / "mine.safetensors") == ("dog", "cat")
    with pytest.raises(BadRequest, match=r"other\.json beside the weights"):
        known_concepts(tmp_path / "other.safetensors")
