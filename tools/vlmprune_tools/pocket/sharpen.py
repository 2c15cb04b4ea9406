"""The projector alone, made into a good classifier whose classes are the language model's own words.

A patch on an object is drawn to the direction of its label's input embedding, against all other labels; what the
start adds for the place of a patch is kept, and patches without an object are held where they were, so that what
the language model has learned to do with them still holds. Minutes of work that spare the language model's hours:
it then only has to copy words.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.labels import Patches, labelled_patches
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.progress import track

ROWS, RATE, DECAY, TEMPERATURE, PULL, SMOOTHING = 2048, 2e-3, 0.05, 30.0, 0.1, 0.02


@dataclass(frozen=True)
class Aims:
    """Where each label's patches belong."""

    labels: Tensor  # (labels, D): input embeddings
    shift: Tensor  # (2, D): what one step to the right, one step down adds
    temperature: float = TEMPERATURE

    @property
    def middle(self) -> Tensor:
        """Mean of all labels (D,)."""
        return self.labels.mean(0)

    @property
    def spread(self) -> Tensor:
        """Mean squared distance of a label from the middle."""
        return (self.labels - self.middle).pow(2).sum(1).mean()

    def scores(self, projected: Tensor, place: Tensor) -> Tensor:  # (P, D), (P, 2) -> (P, labels)
        """Cosine to each label, sharpened; what the place adds is taken off, so that it is not unlearned."""
        label = projected - place @ self.shift - self.middle
        return F.normalize(label, dim=1) @ F.normalize(self.labels - self.middle, dim=1).t() * self.temperature

    def target(self, label: Tensor, place: Tensor) -> Tensor:  # (P,), (P, 2) -> (P, D)
        """The label's embedding, moved by the place."""
        moved_there: Tensor = self.labels[label] + place @ self.shift
        return moved_there


def shift_of(projected: Tensor, patches: Patches, labels: int) -> Tensor:  # (P, D) -> (2, D)
    """What the place of a patch adds to its projection, beside the mean of its label."""
    count = patches.label.bincount(minlength=labels).clamp(min=1)
    means = torch.zeros(labels, projected.shape[1]).index_add_(0, patches.label, projected) / count[:, None]
    shift: Tensor = torch.linalg.lstsq(patches.place, projected - means[patches.label]).solution
    return shift


def sharpen_projector(
    examples: Sequence[Example], projector: Projector, embeddings: Tensor, steps: int, seed: int = 0
) -> Projector:
    """A projector that tells the labels apart; `embeddings` (labels, D) are the language model's."""
    torch.manual_seed(seed)
    patches = labelled_patches(examples)
    before, after = projector, copy.deepcopy(projector)
    aims = Aims(embeddings, shift_of(projected_by(before, patches.on), patches, len(embeddings)))
    optimiser = torch.optim.AdamW(after.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in track(range(steps), "sharpening"):
        loss = sharpening_loss(before, after, patches, aims)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return after


def sharpening_loss(before: Projector, after: Projector, patches: Patches, aims: Aims) -> Tensor:
    """Cross-entropy over the labels, a weak pull to the label's embedding; patches on nothing stay."""
    chosen, other = torch.randint(0, len(patches.label), (ROWS,)), torch.randint(0, len(patches.off), (ROWS // 4,))
    label, place, weight = patches.label[chosen], patches.place[chosen], patches.weight[chosen]
    with torch.autocast("cpu", torch.bfloat16):
        projected = after(patches.on[chosen].float()).float()
    entropy = F.cross_entropy(aims.scores(projected, place), label, label_smoothing=SMOOTHING, reduction="none")
    distance = (projected - aims.target(label, place)).pow(2).sum(1)
    held = moved(before, after, patches.off[other])
    loss: Tensor = (weight * (entropy + PULL * distance / aims.spread)).mean() + held / aims.spread
    return loss


@torch.no_grad()
def projected_by(projector: Projector, features: Tensor) -> Tensor:  # (P, F) -> (P, D)
    """What a projector makes of features, in pieces."""
    return torch.cat([projector(part.float()) for part in features.split(8192)])


def moved(before: Projector, after: Projector, features: Tensor) -> Tensor:  # (P, F) -> ()
    """Mean squared distance between what two projectors make of the same features."""
    distance: Tensor = (after(features.float()) - projected_by(before, features)).pow(2).sum(1).mean()
    return distance
