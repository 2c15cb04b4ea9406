"""The projector's start without the language model: the step that decides whether training works at all.

Where the objects are is known, so a patch mostly on an object is regressed onto its label's input embedding,
moved by half an embedding's length towards (right - left) and (bottom - top) as its place demands; a
background patch onto its colour's. A softmax over the labels (cosine x 20) is added.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlmprune_tools.pocket.concepts import COLOURS
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.labels import LABELS as NAMES
from vlmprune_tools.pocket.labels import places, shown_by
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.scenes import CLEAN
from vlmprune_tools.progress import track

LABELS = (*NAMES, *COLOURS)
ROWS, RATE, TEMPERATURE = 2048, 2e-3, 20.0


@dataclass(frozen=True)
class Patches:
    """Labelled patches: features (P, F), number of the label (P,), place in -1..1 (P, 2)."""

    features: Tensor
    label: Tensor
    place: Tensor


def labelled_patches(examples: Iterable[Example]) -> Patches:
    """All patches on objects, and half as many of a plain background."""
    found = [patches_of(example) for example in examples]
    return Patches(*(torch.cat(part) for part in zip(*found, strict=True)))


def patches_of(example: Example) -> tuple[Tensor, Tensor, Tensor]:
    """The labelled patches of one picture."""
    label = shown_by(example)
    if example.scene.colour:
        behind = (example.owner == CLEAN).nonzero()[:, 0]
        some = behind[torch.randperm(len(behind))[: max(8, int((label >= 0).sum()) // 2)]]
        label[some] = LABELS.index(example.scene.colour)
    on = (label >= 0).nonzero()[:, 0]
    return example.features()[on], label[on], places(on)


class Aims:
    """Where patches should land among the language model's input embeddings."""

    def __init__(self, embedding: Tensor, tokenizer: Any) -> None:  # (V, D)
        """Read all labels from the input embedding."""

        def word(name: str) -> Tensor:
            ids = tokenizer.encode(f" {name}", add_special_tokens=False)
            return embedding[ids].mean(0)

        self.labels = torch.stack([word(name) for name in LABELS])
        self.middle, self.length = self.labels.mean(0), self.labels.norm(dim=1).mean()
        self.axes = F.normalize(torch.stack([word("right") - word("left"), word("bottom") - word("top")]), dim=1)

    def target(self, label: Tensor, place: Tensor) -> Tensor:  # (P,), (P, 2) -> (P, D)
        """Embedding of the label, moved by the place."""
        moved: Tensor = self.labels[label] + 0.5 * self.length * place @ self.axes
        return moved

    def scores(self, projected: Tensor) -> Tensor:  # (P, D) -> (P, labels)
        """How near each label is."""
        directions = F.normalize(self.labels - self.middle, dim=1)
        near: Tensor = (projected - self.middle) @ directions.t() * (TEMPERATURE / self.length)
        return near


def warm_projector(
    examples: Sequence[Example], embedding: Tensor, tokenizer: Any, steps: int, seed: int = 0
) -> Projector:
    """A projector that already speaks the language model's words."""
    torch.manual_seed(seed)
    patches, aims, projector = labelled_patches(examples), Aims(embedding, tokenizer), Projector()
    optimiser = torch.optim.AdamW(projector.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=RATE / 50)
    for _ in track(range(steps), "warm start"):
        chosen = torch.randint(0, len(patches.label), (ROWS,))
        loss = aim_loss(projector, aims, patches, chosen)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return projector


def aim_loss(projector: Projector, aims: Aims, patches: Patches, chosen: Tensor) -> Tensor:
    """Squared distance to the target, and cross-entropy over the labels."""
    with torch.autocast("cpu", torch.bfloat16):
        projected = projector(patches.features[chosen].float()).float()
    label = patches.label[chosen]
    distance = (projected - aims.target(label, patches.place[chosen])).pow(2).sum(1).mean()
    entropy = F.cross_entropy(aims.scores(projected), label, label_smoothing=0.05)
    loss: Tensor = distance / aims.length**2 + entropy
    return loss
