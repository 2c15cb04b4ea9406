"""Collages: objects keep their place and patches, do not touch, and what is asked about them is true."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.pocket.batches import keep_visual
from vlmprune_tools.pocket.collage import BACKGROUND, Collages, Piece, apart, assemble
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.placing import within
from vlmprune_tools.pocket.scenes import CLEAN, EDGE, GONE, Placed, Scene

PLACES = (("dog", 14, 14), ("cat", 200, 28), ("bus", 28, 250), ("dog", 210, 220))


class Numbered(Example):
    """Every feature of a patch is 1000 x the example's row + the patch's number."""

    def features(self) -> Tensor:
        """(N, F)"""
        return (1000.0 * self.row + torch.arange(576.0))[:, None].expand(-1, 4)


def example(row: int) -> Example:
    """A picture of one object of 56 px, whose outermost patches are its edge."""
    name, x, y = PLACES[row]
    owner = torch.where(within((x, y, 56)), EDGE, CLEAN)
    owner[within((x + 14, y + 14, 28))] = 0
    return Numbered(Scene("one", (Placed(name, x, y, 56),), "red"), owner, Path(), row)


EXAMPLES = [example(row) for row in range(len(PLACES))]


def test_each_patch_comes_from_its_own_picture() -> None:
    """Objects from theirs, the rest from the one behind; patches that are gone are zero."""
    collage = assemble("row", [Piece(EXAMPLES[0], 0), Piece(EXAMPLES[1], 0)], EXAMPLES[2], random.Random(0))
    source = (collage.features()[:, 0] // 1000).long()
    for number in (0, 1):
        assert set(source[collage.owner == number].tolist()) == {number}
        assert (collage.owner == number).sum() == (EXAMPLES[number].owner == 0).sum()
    assert set(source[collage.owner == CLEAN].tolist()) == {2}
    assert (collage.owner == CLEAN).sum() == BACKGROUND
    assert (collage.features()[collage.owner == GONE] == 0).all()
    there = collage.owner != GONE
    assert torch.equal(collage.features()[there][:, 0] % 1000, there.nonzero()[:, 0].float())


def test_what_is_gone_is_never_sampled() -> None:
    """Only patches that a collage has become visual tokens."""
    collages = Collages(EXAMPLES)
    for seed in range(20):
        torch.manual_seed(seed)
        owner = collages.draw(random.Random(seed)).owner
        assert (owner[keep_visual(owner, 30)] != GONE).all()


def test_objects_do_not_touch() -> None:
    """Neither each other, nor the line between left and right."""
    assert not apart("many", [(0, 0, 50), (40, 40, 50)])
    assert apart("many", [(0, 0, 50), (60, 0, 50)])
    assert not apart("row", [(0, 0, 50), (60, 0, 50)])
    assert apart("row", [(0, 0, 50), (150, 0, 50)])


def test_a_seed_gives_one_collage() -> None:
    """The same again from the same seed, others from others."""
    collages = Collages(EXAMPLES)
    first, again, *others = (collages.draw(random.Random(seed)) for seed in (1, 1, 2, 3))
    assert torch.equal(first.features(), again.features())
    assert any(not torch.equal(first.features(), other.features()) for other in others)


def test_too_few_objects_are_refused() -> None:
    """One concept makes no row."""
    with pytest.raises(BadRequest, match="two concepts"):
        Collages([EXAMPLES[0], EXAMPLES[3]])


def test_a_sign_is_thinned() -> None:
    """All of its ink and a few patches around it are left."""
    owner = torch.where(torch.arange(576) < 20, 0, CLEAN)
    sign = Numbered(
        Scene("sign", asked=(("word", "What does the sign say?", "stop"),), labels=("stop",)), owner, Path(), 5
    )
    collages = Collages([*EXAMPLES, sign])
    drawn = [collages.draw(random.Random(seed)) for seed in range(60)]
    thin = next(item for item in drawn if item.scene.kind == "sign")
    assert (thin.owner == 0).sum() == 20
    assert (thin.owner == CLEAN).sum() == BACKGROUND


@pytest.mark.parametrize("kind", ["row", "column", "same", "many"])
def test_all_kinds_are_drawn(kind: str) -> None:
    """Of four pictures, two of one concept."""
    collages = Collages(EXAMPLES)
    assert any(collages.draw(random.Random(seed)).scene.kind == kind for seed in range(200))
