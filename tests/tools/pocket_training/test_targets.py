"""Patches aim at what they are on, and one patch of each object is marked."""

import numpy as np
import pytest
import torch

from pocket_training.targets import (
    AIM_NUMBER,
    LABELS,
    NOWHERE,
    PAIRS,
    Targets,
    marked_patches,
    shown_labels,
    targets_of,
)
from vlmprune_tools.scenes.rendering import render_scene
from vlmprune_tools.scenes.scene import EDGE, NO_OBJECT, PlacedObject, RenderedScene, Scene

DOG_AND_CAT = Scene("row", (PlacedObject("dog", 0, 0, 42), PlacedObject("cat", 140, 0, 14)))
DOG_PATCHES = (0, 1, 2, 24, 25, 26, 48, 49, 50)


def rendered(scene: Scene, owner: dict[int, int]) -> RenderedScene:
    """An image in which these patches belong to these objects and all others to none."""
    owners = np.full(576, NO_OBJECT, np.int8)
    for at, number in owner.items():
        owners[at] = number
    return RenderedScene(scene, np.zeros((1, 1, 3), np.uint8), owners)


def targets(scene: Scene, owner: dict[int, int]) -> Targets:
    both = targets_of([rendered(scene, owner)])
    return Targets(both.aim[0], both.weight[0])


def test_patches_on_an_object_aim_at_its_label_and_its_middle_is_marked() -> None:
    """A large object counts by the root of its patches; an edge counts less, and is marked if there is nothing else."""
    owner = dict.fromkeys(DOG_PATCHES, 0) | {10: EDGE}
    patches = targets(DOG_AND_CAT, owner)
    assert patches.aim[25] == AIM_NUMBER["dog"]
    assert patches.aim[10] == AIM_NUMBER["cat"]
    marked = marked_patches(rendered(DOG_AND_CAT, owner), torch.zeros(576))
    assert marked.nonzero()[:, 0].tolist() == [10, 25]
    assert patches.weight[patches.aim == AIM_NUMBER["dog"]].sum() == pytest.approx(3)
    assert patches.weight[10] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("leads", "marked"),
    [({}, [10, 25]), ({1: 0.04, 10: 0.9}, [10, 25]), ({1: 0.6, 25: 0.5, 300: 1.0}, [1, 10])],
)
def test_a_patch_with_a_clear_lead_is_marked(leads: dict[int, float], marked: list[int]) -> None:
    """It must be well ahead of the middle of its own object."""
    lead = torch.zeros(576)
    for patch, value in leads.items():
        lead[patch] = value
    image = rendered(DOG_AND_CAT, dict.fromkeys(DOG_PATCHES, 0) | {10: 1})
    assert marked_patches(image, lead).nonzero()[:, 0].tolist() == marked


def test_a_background_aims_at_its_colour() -> None:
    """A photo without objects aims at what it shows first; other backgrounds aim nowhere."""
    objects = (PlacedObject("dog", 0, 0, 14),)
    assert targets(Scene("one", objects, "green"), {0: 0}).aim[300] == AIM_NUMBER["green"]
    assert targets(Scene("one", objects, None, ("cat",)), {0: 0}).aim[300] == NOWHERE
    assert targets(Scene("empty", photo_concepts=("cat", "eye")), {}).aim[300] == AIM_NUMBER["cat"]
    assert targets(Scene("empty"), {}).aim[300] == NOWHERE


def test_easy_vqas_object_aims_between_its_shape_and_its_colour() -> None:
    """Where the questions reveal both; nothing of it is marked, for nothing is counted."""
    scene = Scene("easy-vqa", labels=("circle", "red"))
    patches = targets(scene, {7: 0})
    assert patches.aim[7] == AIM_NUMBER[PAIRS[0]]
    assert patches.weight[7] == 1
    assert not marked_patches(rendered(scene, {7: 0}), torch.ones(576)).any()
    assert targets(Scene("easy-vqa", labels=("circle",)), {7: 0}).aim[7] == NOWHERE


def test_each_patch_knows_what_it_shows(artwork: dict[str, tuple[object, ...]]) -> None:
    for index in range(4):
        image = render_scene("train", "hard", index, artwork)  # type: ignore[arg-type]
        names = [item.concept for item in image.scene.objects]
        shown = [LABELS[number] if number >= 0 else None for number in shown_labels(image).tolist()]
        assert shown == [names[owner] if owner >= 0 else None for owner in image.owner]
    assert LABELS[shown_labels(rendered(Scene("sign", labels=("stop",)), {7: 0}))[7]] == "stop"
