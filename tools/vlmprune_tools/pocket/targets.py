"""What each patch of a picture should tell, for tuning: the embedding that it belongs at, its place, its mark.

A patch on an object belongs at its label, one on a plain background at the colour's name, one of a photo without
objects at what it shows, one on easy-VQA's only thing between its shape and its colour; all others at none of these.
Where in the picture a patch is moves it a little from there, and so does a mark, which one patch of each object has:
marks can be counted, patches cannot. That is the middle one, unless the model is well ahead with another: which it is
does not matter, but half a mark on two cannot be counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pocket.tower import GRID
from vlmprune_tools.pocket.concepts import COLOURS, SHAPE_COLOURS, SHAPES
from vlmprune_tools.pocket.features import Seen
from vlmprune_tools.pocket.labels import LABELS, grid_labels, word_embedding
from vlmprune_tools.pocket.placing import within
from vlmprune_tools.pocket.scenes import CLEAN, EDGE, Placed, Scene
from vlmprune_tools.pocket.tokens import Tokens

PLAIN = tuple(dict.fromkeys((*LABELS, *COLOURS)))
PAIRS = tuple((shape, colour) for shape in SHAPES for colour in (*COLOURS, *SHAPE_COLOURS))
AIM_NUMBER: dict[object, int] = {name: number for number, name in enumerate((*PLAIN, *PAIRS))}  # labels as in `labels`
NONE = -1  # a patch that belongs nowhere
BETWEEN = 0.7  # length of what lies between two embeddings, in their sum
BEHIND = 0.3  # what a patch behind the objects counts
PLACE = 0.09  # how far a patch is moved by where it is, in the way between two words
FAR = 0.05  # how far ahead on the way to a mark a patch must be to be marked, for each patch further from the middle
MARK_WORD, MARK = "object", 0.6  # where a mark moves a patch, and how much of the way


@dataclass(frozen=True)
class Targets:
    """What the patches of one picture, or of several, should tell."""

    aim: Tensor  # (.., N): number of the embedding, or NONE
    weight: Tensor  # (.., N)


def targets_of(examples: Sequence[Seen]) -> Targets:
    """Those of some pictures, (B, N) each."""
    found = [picture_targets(example) for example in examples]
    parts = zip(*((item.aim, item.weight) for item in found), strict=True)
    return Targets(*(torch.stack(part) for part in parts))


def picture_targets(example: Seen) -> Targets:
    """Those of one picture; a large object counts more than a small one, but by its root only."""
    label, weight = grid_labels(example)
    aim = torch.where(example.owner == CLEAN, AIM_NUMBER.get(behind(example.scene), NONE), label)
    if (pair := pair_of(example.scene)) is not None:
        aim = torch.where(example.owner == 0, AIM_NUMBER[pair], aim)
        weight = torch.where(example.owner == 0, 1.0, weight)
    weight = torch.where(example.owner == CLEAN, BEHIND, weight)
    counted = (aim + 1).bincount(weights=weight).clamp(min=1)
    return Targets(aim, weight / counted[aim + 1].sqrt())


def behind(scene: Scene) -> str | None:
    """What the patches behind the objects tell: the colour, or what a photo without objects shows first."""
    return scene.shows[0] if scene.shows and scene.kind == "empty" else scene.colour


def pair_of(scene: Scene) -> tuple[str, str] | None:
    """Shape and colour of easy-VQA's only thing, where both are known."""
    shape = next((name for name in scene.labels if name in SHAPES), None)
    colour = next((name for name in scene.labels if name in COLOURS or name in SHAPE_COLOURS), None)
    return (shape, colour) if shape and colour else None


def marks(example: Seen, way: Tensor) -> Tensor:  # (N,) -> (N,)
    """True at one patch of each object: the middle, or one well ahead of it on the `way` (0 to 1) to a mark."""
    marked = torch.zeros(len(example.owner), dtype=torch.bool)
    for number, item in enumerate(example.scene.objects):
        at = patches_of(example, number, item)
        if len(at):
            place = torch.stack([at % GRID, at // GRID], -1).float()
            off = (place - place.mean(0)).norm(dim=1)
            marked[at[(off * FAR - way[at].clamp(0, 1)).argmin()]] = True
    return marked


def patches_of(example: Seen, number: int, item: Placed) -> Tensor:  # -> (P,)
    """The patches mostly on an object; of one too small for any, those that it touches."""
    at: Tensor = (example.owner == number).nonzero()[:, 0]
    return at if len(at) else ((example.owner == EDGE) & within(item.square)).nonzero()[:, 0]


def aim_embeddings(embedding: Tensor, tokens: Tokens) -> Tensor:  # (V, D) -> (aims, D)
    """Where patches belong: input embeddings of labels and colours, and what lies between a shape and a colour."""

    def of(name: str) -> Tensor:
        return word_embedding(embedding, tokens, name)

    return torch.stack([*map(of, PLAIN), *((of(shape) + of(colour)) * BETWEEN for shape, colour in PAIRS)])


def place_shift(embedding: Tensor, tokens: Tokens) -> Tensor:  # (V, D) -> (2, D)
    """What the way from the middle of the picture to its right edge adds to a patch, and that to its lower edge."""
    left, right, top, bottom = (word_embedding(embedding, tokens, name) for name in ("left", "right", "top", "bottom"))
    return torch.stack([right - left, bottom - top]) * PLACE


def mark_of(embedding: Tensor, tokens: Tokens) -> Tensor:  # (V, D) -> (D,)
    """What a mark adds to a patch."""
    return (word_embedding(embedding, tokens, MARK_WORD) - aim_embeddings(embedding, tokens).mean(0)) * MARK
