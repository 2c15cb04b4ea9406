"""What a patch can be labelled with: the concept, word or digit that it is mostly on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pocket.tower import GRID
from vlmprune_tools.pocket.concepts import CONCEPTS, DIGITS, WORDS
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.tokens import Tokens

LABELS = tuple(dict.fromkeys((*CONCEPTS, *WORDS, *DIGITS)))
NUMBER = {name: number for number, name in enumerate(LABELS)}
OTHERS = 30  # patches without an object, per picture


@dataclass(frozen=True)
class Patches:
    """Features on objects (P, F), numbers of their labels (P,), places in -1..1 (P, 2), features elsewhere (Q, F)."""

    on: Tensor
    label: Tensor
    place: Tensor
    off: Tensor


def labelled_patches(examples: Sequence[Example]) -> Patches:
    """All patches on objects, and some without, of many pictures."""
    found = [patches_of(example) for example in examples]
    return Patches(*(torch.cat(part) for part in zip(*found, strict=True)))


def patches_of(example: Example) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The labelled patches of one picture."""
    features, label = example.features(), shown_by(example)
    at = (label >= 0).nonzero()[:, 0]
    rest = features[example.owner < 0]
    return features[at], label[at], places(at), rest[torch.randperm(len(rest))[:OTHERS]]


def shown_by(example: Example) -> Tensor:  # -> (N,)
    """Number of the label of the object that a patch is mostly on, or -1."""
    numbers = torch.tensor([*(NUMBER.get(name, -1) for name in labels_of(example)), -1])  # the last: no object
    return numbers[example.owner.long().clamp(min=-1, max=len(numbers) - 1)]


def labels_of(example: Example) -> list[str]:
    """What each owner number stands for."""
    scene = example.scene
    return [item.concept for item in scene.objects] if scene.objects else list(scene.labels)[:1]


def places(at: Tensor) -> Tensor:  # (P,) -> (P, 2)
    """Column and row of patches in -1..1."""
    return torch.stack([at % GRID, at // GRID], -1) / (GRID - 1) * 2 - 1


def label_embeddings(embedding: Tensor, tokens: Tokens) -> Tensor:  # (V, D) -> (labels, D)
    """The language model's input embedding of each label; the mean where one is several tokens."""
    return torch.stack([embedding[list(tokens.answer(name)[:-1])].float().mean(0) for name in LABELS])
