"""The projector alone: labels come apart, everything else stays."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlmprune_tools.pocket.concepts import CONCEPTS
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.labels import NUMBER, label_embeddings, labelled_patches
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.scenes import CLEAN, EDGE, Placed, Scene
from vlmprune_tools.pocket.sharpen import Aims, moved, projected_by, sharpen_projector, shift_of
from vlmprune_tools.pocket.smoke import VOCABULARY, WordTokenizer
from vlmprune_tools.pocket.tokens import Tokens

SHOWN = CONCEPTS[:6]
DIRECTIONS = torch.randn(len(CONCEPTS), 768, generator=torch.Generator().manual_seed(0))


class Made(Example):
    """An example whose features are made here: one direction per concept, much noise."""

    def features(self) -> Tensor:
        """(N, F)"""
        torch.manual_seed(self.row)
        features = torch.randn(576, 768)
        features[self.owner >= 0] += 0.1 * DIRECTIONS[CONCEPTS.index(self.scene.objects[0].concept)]
        return features.bfloat16()


@pytest.fixture
def examples() -> list[Example]:
    """Two pictures of each concept, half covered."""
    owner = torch.where(torch.arange(576) < 288, 0, -1)
    scenes = [Scene("one", (Placed(name, 0, 0, 50),)) for name in SHOWN]
    return [Made(scene, owner, Path(), row) for row, scene in enumerate([*scenes, *scenes])]


@pytest.fixture
def embeddings() -> Tensor:
    """Any."""
    torch.manual_seed(1)
    return label_embeddings(torch.randn(VOCABULARY, 576), Tokens(WordTokenizer()))


def right(projector: Projector, before: Projector, examples: list[Example], embeddings: Tensor) -> float:
    """The share of patches nearest to their own label."""
    patches = labelled_patches(examples)
    aims = Aims(embeddings, shift_of(projected_by(before, patches.on), patches, len(embeddings)))
    shown = torch.tensor([NUMBER[name] for name in SHOWN])
    near = shown[aims.scores(projected_by(projector, patches.on), patches.place)[:, shown].argmax(1)]
    return float((near == patches.label).float().mean())


def test_labels_come_apart_and_the_rest_stays(examples: list[Example], embeddings: Tensor) -> None:
    """Most patches are nearest to their own label; patches without an object hardly move."""
    torch.manual_seed(0)
    before = Projector()
    after = sharpen_projector(examples, before, embeddings, steps=60)
    start, stop = (right(projector, before, examples, embeddings) for projector in (before, after))
    assert start < 0.4
    assert stop > 0.8
    patches = labelled_patches(examples)
    with torch.no_grad():
        assert moved(before, after, patches.off) < 0.5 * moved(before, after, patches.on)


def test_the_edge_of_an_object_counts_less() -> None:
    """Patches that an object covers by less than half are labelled too, inside its square only."""
    owner = torch.full((576,), CLEAN)
    owner[0], owner[1], owner[575] = 0, EDGE, EDGE
    patches = labelled_patches([Made(Scene("one", (Placed(SHOWN[0], 0, 0, 28),)), owner, Path(), 0)])
    assert patches.label.tolist() == [NUMBER[SHOWN[0]]] * 2
    assert patches.weight.tolist() == pytest.approx([1.0, 0.3])


def test_the_given_projector_is_left_alone(examples: list[Example], embeddings: Tensor) -> None:
    """What is given is not changed."""
    before = Projector()
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    sharpen_projector(examples, before, embeddings, steps=2)
    assert all(torch.equal(value, kept[name]) for name, value in before.state_dict().items())


def test_a_sign_is_labelled_with_its_word() -> None:
    """The ink's patches stand for the word."""
    owner = torch.where(torch.arange(576) < 9, 0, -1)
    sign = Made(Scene("sign", labels=("stop",)), owner, Path(), 0)
    sign.__class__ = type("Plain", (Example,), {"features": lambda self: torch.zeros(576, 768)})
    patches = labelled_patches([sign])
    assert patches.label.tolist() == [NUMBER["stop"]] * 9
