"""What a patch can be labelled with: the concept, word or digit that it is mostly on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmprune_export.pocket.tower import GRID
from vlmprune_tools.pocket.concepts import CONCEPTS, DIGITS, WORDS
from vlmprune_tools.pocket.features import Seen
from vlmprune_tools.pocket.placing import within
from vlmprune_tools.pocket.scenes import CLEAN, EDGE
from vlmprune_tools.pocket.tokens import Tokens

LABELS = tuple(dict.fromkeys((*CONCEPTS, *WORDS, *DIGITS)))
NUMBER = {name: number for number, name in enumerate(LABELS)}
OTHERS = 30  # patches without an object, per picture
ON_EDGE = 0.3  # what a patch counts that an object covers by less than half


@dataclass(frozen=True)
class Patches:
    """What projectors are tuned on without the language model."""

    on: Tensor  # (P, F): features on objects
    label: Tensor  # (P,): number of the label
    place: Tensor  # (P, 2): in -1..1
    weight: Tensor  # (P,): less on an edge
    off: Tensor  # (Q, F): features on nothing


def labelled_patches(examples: Sequence[Seen]) -> Patches:
    """All patches on objects and on their edges, and some without, of many pictures."""
    found = [patches_of(example) for example in examples]
    return Patches(*(torch.cat(part) for part in zip(*found, strict=True)))


def patches_of(example: Seen) -> tuple[Tensor, ...]:
    """The labelled patches of one picture: the fields of `Patches`."""
    features, (label, weight) = example.features(), grid_labels(example)
    at = (label >= 0).nonzero()[:, 0]
    rest = features[example.owner == CLEAN]
    return features[at], label[at], places(at), weight[at], rest[torch.randperm(len(rest))[:OTHERS]]


def grid_labels(example: Seen) -> tuple[Tensor, Tensor]:  # -> (N,), (N,)
    """Number of the label of each patch, or -1, and what it counts: edges less."""
    label = shown_by(example)
    weight = (label >= 0).float()
    for item in example.scene.objects:
        edge = (example.owner == EDGE) & within(item.square)
        label = torch.where(edge, NUMBER.get(item.concept, -1), label)
        weight = torch.where(edge, ON_EDGE, weight)
    return label, weight


def shown_by(example: Seen) -> Tensor:  # -> (N,)
    """Number of the label of the object that a patch is mostly on, or -1."""
    numbers = torch.tensor([*(NUMBER.get(name, -1) for name in labels_of(example)), -1])  # the last: no object
    return numbers[example.owner.long().clamp(min=-1, max=len(numbers) - 1)]


def labels_of(example: Seen) -> list[str]:
    """What each owner number stands for."""
    scene = example.scene
    return [item.concept for item in scene.objects] if scene.objects else list(scene.labels)[:1]


def places(at: Tensor) -> Tensor:  # (P,) -> (P, 2)
    """Column and row of patches in -1..1."""
    return torch.stack([at % GRID, at // GRID], -1) / (GRID - 1) * 2 - 1


def label_embeddings(embedding: Tensor, tokens: Tokens) -> Tensor:  # (V, D) -> (labels, D)
    """The language model's input embedding of each label."""
    return torch.stack([word_embedding(embedding, tokens, name) for name in LABELS])


def word_embedding(embedding: Tensor, tokens: Tokens, word: str) -> Tensor:  # (V, D) -> (D,)
    """The input embedding of a word as an answer begins with it; the mean where it is several tokens."""
    mean: Tensor = embedding[list(tokens.answer(word)[:-1])].float().mean(0)
    return mean
