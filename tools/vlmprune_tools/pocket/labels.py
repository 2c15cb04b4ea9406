"""What a patch can be labelled with: the concept, word or digit that it is mostly on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vlmprune_export.pocket.tower import GRID
from vlmprune_tools.pocket.concepts import CONCEPTS, DIGITS, WORDS
from vlmprune_tools.pocket.features import Example

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
    features, owner = example.features(), example.owner.long()
    labels = torch.tensor([NUMBER.get(name, -1) for name in labels_of(example)], dtype=torch.long)
    at = (owner >= 0).nonzero()[:, 0]
    label = labels[owner[at]]
    at, label = at[label >= 0], label[label >= 0]
    rest = features[owner < 0]
    return features[at], label, places(at), rest[torch.randperm(len(rest))[:OTHERS]]


def labels_of(example: Example) -> list[str]:
    """What each owner number stands for."""
    scene = example.scene
    return [item.concept for item in scene.objects] if scene.objects else list(scene.labels)[:1]


def places(at: Tensor) -> Tensor:  # (P,) -> (P, 2)
    """Column and row of patches in -1..1."""
    return torch.stack([at % GRID, at // GRID], -1) / (GRID - 1) * 2 - 1


def label_embeddings(embedding: Tensor, tokenizer: Any) -> Tensor:  # (V, D) -> (labels, D)
    """The language model's input embedding of each label; the mean where one is several tokens."""
    ids = [tokenizer.encode(f" {name}", add_special_tokens=False) for name in LABELS]
    return torch.stack([embedding[tokens].float().mean(0) for tokens in ids])
