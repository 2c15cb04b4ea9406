"""What each patch of an image should tell the language model.

A patch on an object belongs at the embedding of its label, one on a plain background at the colour's, one of a photo
without objects at the first concept that it shows, one on easy-VQA's only object between its shape and its colour;
all others belong nowhere. The patch's place in the image shifts it a little, and so does a mark, which one patch of
each object has: marks can be counted, patches cannot.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pocket_training.tokens import Tokens
from pocket_training.training_images import touched_patches
from vlmprune_export.pocket_model.vision_tower import GRID
from vlmprune_tools.scenes.concepts import COLOURS, CONCEPTS, DIGITS, SHAPE_COLOURS, SHAPES, WORDS
from vlmprune_tools.scenes.scene import EDGE, NO_OBJECT, PlacedObject, RenderedScene, Scene

LABELS = tuple(dict.fromkeys((*CONCEPTS, *WORDS, *DIGITS)))
PLAIN = tuple(dict.fromkeys((*LABELS, *COLOURS)))
PAIRS = tuple((shape, colour) for shape in SHAPES for colour in (*COLOURS, *SHAPE_COLOURS))
AIM_NUMBER: dict[object, int] = {name: number for number, name in enumerate((*PLAIN, *PAIRS))}
NOWHERE = -1
EDGE_WEIGHT, BACKGROUND_WEIGHT = 0.3, 0.3
PAIR_SCALE = 0.7  # length of the point between two embeddings, as a share of their sum
PLACE_SCALE = 0.09  # shift of a patch at the border, as a share of the way between two words
MARK_WORD, MARK_SCALE = "object", 0.6  # where a mark moves a patch, and how much of the way
MARK_LEAD = 0.05  # lead on the way to a mark that a patch needs for each patch of distance from the middle
TEMPERATURE = 15.0  # of the cosine


@dataclass(frozen=True)
class Aims:
    """The aims of patches among the language model's input embeddings."""

    embeddings: Tensor  # (aims, D)
    shift: Tensor  # (2, D): what a step from the middle to the right edge adds, and one to the lower edge
    mark: Tensor  # (D,)

    @property
    def middle(self) -> Tensor:
        """Returns the mean of all embeddings, (D,)."""
        return self.embeddings.mean(0)

    @property
    def spread(self) -> Tensor:
        """Returns the mean squared distance of an embedding from the mean."""
        return (self.embeddings - self.middle).pow(2).sum(1).mean()

    def scores(self, projected: Tensor) -> Tensor:  # (B, N, D) -> (B, N, aims)
        """Returns the sharpened cosine to each embedding, without the shift of the patch's place."""
        direction = F.normalize(projected - patch_places() @ self.shift - self.middle, dim=-1)
        return direction @ F.normalize(self.embeddings - self.middle, dim=1).t() * TEMPERATURE


@dataclass(frozen=True)
class Targets:
    """The aims of the patches of some images, and how much each patch counts."""

    aim: Tensor  # (B, N): number of the embedding, or NOWHERE
    weight: Tensor  # (B, N)


def patch_places() -> Tensor:  # -> (N, 2)
    """Returns the column and row of all patches in -1..1."""
    at = torch.arange(GRID * GRID)
    return torch.stack([at % GRID, at // GRID], -1) / (GRID - 1) * 2 - 1


def make_aims(table: Tensor, tokens: Tokens) -> Aims:  # (V, D)
    """Returns the aims among the language model's input embeddings."""

    def of(word: str) -> Tensor:
        return tokens.embedding_of(word, table)

    embeddings = torch.stack([*map(of, PLAIN), *((of(shape) + of(colour)) * PAIR_SCALE for shape, colour in PAIRS)])
    shift = torch.stack([of("right") - of("left"), of("bottom") - of("top")]) * PLACE_SCALE
    return Aims(embeddings, shift, (of(MARK_WORD) - embeddings.mean(0)) * MARK_SCALE)


def shown_labels(rendered: RenderedScene) -> Tensor:  # -> (N,)
    """Returns the number of the label of the object that owns each patch, or NOWHERE."""
    scene = rendered.scene
    names = [item.concept for item in scene.objects] or list(scene.labels)[:1]
    numbers = torch.tensor([*(LABELS.index(name) if name in LABELS else NOWHERE for name in names), NOWHERE])
    return numbers[_owner(rendered).clamp(min=-1, max=len(names))]


def targets_of(scenes: Sequence[RenderedScene]) -> Targets:
    """Returns the targets of some images; a large object counts more than a small one, but by its root only."""
    aims, weights = zip(*map(_image_targets, scenes), strict=True)
    return Targets(torch.stack(aims), torch.stack(weights))


def _image_targets(rendered: RenderedScene) -> tuple[Tensor, Tensor]:
    scene, owner = rendered.scene, _owner(rendered)
    aim = shown_labels(rendered)
    weight = (aim >= 0).float()
    for item in scene.objects:
        edge = (owner == EDGE) & touched_patches(item.square)
        aim = torch.where(edge, LABELS.index(item.concept), aim)
        weight = torch.where(edge, EDGE_WEIGHT, weight)
    aim = torch.where(owner == NO_OBJECT, AIM_NUMBER.get(_background_word(scene), NOWHERE), aim)
    if (pair := _shape_and_colour(scene)) is not None:
        aim = torch.where(owner == 0, AIM_NUMBER[pair], aim)
        weight = torch.where(owner == 0, 1.0, weight)
    weight = torch.where(owner == NO_OBJECT, BACKGROUND_WEIGHT, weight)
    counted = (aim + 1).bincount(weights=weight).clamp(min=1)
    return aim, weight / counted[aim + 1].sqrt()


def marked_patches(rendered: RenderedScene, lead: Tensor) -> Tensor:  # (N,) -> (N,)
    """Returns True at one patch of each object: the middle one, or one with a clear `lead` on the way to a mark."""
    marked = torch.zeros(GRID * GRID, dtype=torch.bool)
    for number, item in enumerate(rendered.scene.objects):
        at = _patches_of(_owner(rendered), number, item)
        if len(at):
            place = torch.stack([at % GRID, at // GRID], -1).float()
            distance = (place - place.mean(0)).norm(dim=1)
            marked[at[(distance * MARK_LEAD - lead[at].clamp(0, 1)).argmin()]] = True
    return marked


def _owner(rendered: RenderedScene) -> Tensor:
    return torch.from_numpy(rendered.owner).long()


def _background_word(scene: Scene) -> str | None:
    return scene.photo_concepts[0] if scene.photo_concepts and scene.kind == "empty" else scene.colour


def _shape_and_colour(scene: Scene) -> tuple[str, str] | None:
    shape = next((name for name in scene.labels if name in SHAPES), None)
    colour = next((name for name in scene.labels if name in COLOURS or name in SHAPE_COLOURS), None)
    return (shape, colour) if shape and colour else None


def _patches_of(owner: Tensor, number: int, item: PlacedObject) -> Tensor:
    at: Tensor = (owner == number).nonzero()[:, 0]
    return at if len(at) else ((owner == EDGE) & touched_patches(item.square)).nonzero()[:, 0]
