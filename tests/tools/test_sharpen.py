"""The projector alone: concepts come apart, everything else stays."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlmprune_tools.pocket.concepts import CONCEPTS
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.scenes import Placed, Scene
from vlmprune_tools.pocket.sharpen import moved, object_patches, points_of, sharpen_projector


class Made(Example):
    """An example whose features are made here: one direction per concept, much noise."""

    def features(self) -> Tensor:
        """(N, F)"""
        torch.manual_seed(self.row)
        features = torch.randn(576, 768)
        features[self.owner >= 0] += 0.1 * DIRECTIONS[CONCEPTS.index(self.scene.objects[0].concept)]
        return features.bfloat16()


DIRECTIONS = torch.randn(len(CONCEPTS), 768, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def examples() -> list[Example]:
    """Two pictures of each of five concepts, half covered."""
    owner = torch.where(torch.arange(576) < 288, 0, -1)
    scenes = [Scene("one", (Placed(name, 0, 0, 50),)) for name in CONCEPTS[:5]]
    return [Made(scene, owner, Path(), row) for row, scene in enumerate([*scenes, *scenes])]


def right(projector: Projector, examples: list[Example]) -> float:
    """The share of patches nearest to their own concept's point."""
    on, names, _ = object_patches(examples)
    with torch.no_grad():
        projected = projector(on.float())
        near = points_of(projected, names).scores(projected)[:, :5].argmax(1)
    return float((near == names).float().mean())


def test_concepts_come_apart_and_the_rest_stays(examples: list[Example]) -> None:
    """More patches are nearest to their own point; patches without an object hardly move."""
    torch.manual_seed(0)
    before = Projector()
    after = sharpen_projector(examples, before, steps=60)
    on, _, off = object_patches(examples)
    assert right(after, examples) > right(before, examples) + 0.05
    with torch.no_grad():
        assert moved(before, after, off) < 0.5 * moved(before, after, on)


def test_the_given_projector_is_left_alone(examples: list[Example]) -> None:
    """What is given is not changed."""
    before = Projector()
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    sharpen_projector(examples, before, steps=2)
    assert all(torch.equal(value, kept[name]) for name, value in before.state_dict().items())
