"""The projector alone: labels come apart, new ones get a place, everything else stays."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlmprune_tools.pocket.concepts import CONCEPTS
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.labels import LABELS, NUMBER, label_embeddings, labelled_patches
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.scenes import Placed, Scene
from vlmprune_tools.pocket.sharpen import moved, points_of, projected_by, sharpen_projector
from vlmprune_tools.pocket.smoke import VOCABULARY, WordTokenizer
from vlmprune_tools.pocket.tokens import Tokens

SHOWN, NEW = CONCEPTS[:6], CONCEPTS[4:6]
KNOWN = torch.tensor([name not in NEW for name in LABELS])
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


def right(projector: Projector, before: Projector, examples: list[Example], embeddings: Tensor) -> dict[bool, float]:
    """The share of patches nearest to their own label's point, of known labels and of new ones."""
    patches = labelled_patches(examples)
    points = points_of(projected_by(before, patches.on), patches, embeddings, KNOWN)
    shown = torch.tensor([NUMBER[name] for name in SHOWN])
    near = shown[points.scores(projected_by(projector, patches.on), patches.place)[:, shown].argmax(1)] == patches.label
    known = KNOWN[patches.label]
    return {True: float(near[known].float().mean()), False: float(near[~known].float().mean())}


def test_labels_come_apart_and_the_rest_stays(examples: list[Example], embeddings: Tensor) -> None:
    """More patches are nearest to their own point, of new labels too; patches without an object hardly move."""
    torch.manual_seed(0)
    before = Projector()
    after = sharpen_projector(examples, before, embeddings, KNOWN, steps=60)
    start, stop = (right(projector, before, examples, embeddings) for projector in (before, after))
    assert stop[True] > start[True] + 0.05
    assert stop[False] > max(0.5, start[False] + 0.2)
    patches = labelled_patches(examples)
    with torch.no_grad():
        assert moved(before, after, patches.off) < 0.5 * moved(before, after, patches.on)


def test_the_given_projector_is_left_alone(examples: list[Example], embeddings: Tensor) -> None:
    """What is given is not changed."""
    before = Projector()
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    sharpen_projector(examples, before, embeddings, KNOWN, steps=2)
    assert all(torch.equal(value, kept[name]) for name, value in before.state_dict().items())


def test_a_sign_is_labelled_with_its_word() -> None:
    """The ink's patches stand for the word."""
    owner = torch.where(torch.arange(576) < 9, 0, -1)
    sign = Made(Scene("sign", labels=("stop",)), owner, Path(), 0)
    sign.__class__ = type("Plain", (Example,), {"features": lambda self: torch.zeros(576, 768)})
    patches = labelled_patches([sign])
    assert patches.label.tolist() == [NUMBER["stop"]] * 9
