"""The projector alone, tuned to the words the language model has already learned to read off it.

Each concept's patches are projected to around one point (their mean). A patch on a small or half-hidden object
lands between points; here it is drawn to its own concept's, while everything else (places, backgrounds,
counting) is held where it was. A minute of work that spares the language model's many.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vlmprune_tools.pocket.concepts import CONCEPTS
from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.progress import track
from vlmprune_tools.pocket.projector import Projector

ROWS, RATE, WARM_UP, TEMPERATURE, HOLD = 1024, 3e-4, 50, 20.0, 1.0
OTHERS = 30  # patches without an object, per picture


@dataclass(frozen=True)
class Points:
    """Where each concept's patches are projected to on average, and the middle of all of them."""

    centres: Tensor  # (concepts, D)
    middle: Tensor  # (D,)
    spread: Tensor  # mean squared distance of a patch from the middle

    def scores(self, projected: Tensor) -> Tensor:  # (P, D) -> (P, concepts)
        """Cosine to each concept's point, sharpened."""
        near = F.normalize(projected - self.middle, dim=1) @ F.normalize(self.centres - self.middle, dim=1).t()
        return near * TEMPERATURE


def object_patches(examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Features on objects (P, F), the concepts' numbers (P,), and features elsewhere (Q, F)."""
    on, names, off = [], [], []
    for example in examples:
        features, owner = example.features(), example.owner.long()
        concepts = torch.tensor([CONCEPTS.index(item.concept) for item in example.scene.objects])
        on.append(features[owner >= 0])
        names.append(concepts[owner[owner >= 0]])
        rest = features[owner < 0]
        off.append(rest[torch.randperm(len(rest))[:OTHERS]])
    return torch.cat(on), torch.cat(names), torch.cat(off)


def points_of(projected: Tensor, names: Tensor) -> Points:  # (P, D), (P,)
    """The mean of each concept's patches."""
    centres = torch.zeros(len(CONCEPTS), projected.shape[1]).index_add_(0, names, projected)
    centres /= names.bincount(minlength=len(CONCEPTS)).clamp(min=1)[:, None]
    middle = centres.mean(0)
    return Points(centres, middle, (projected - middle).pow(2).sum(1).mean())


def sharpen_projector(examples: Sequence[Example], projector: Projector, steps: int, seed: int = 0) -> Projector:
    """A projector whose patches lie nearer to their concepts' points."""
    torch.manual_seed(seed)
    on, names, off = object_patches(examples)
    before, after = projector, copy.deepcopy(projector)
    with torch.no_grad():
        points = points_of(before(on.float()), names)
    optimiser = torch.optim.AdamW(after.parameters(), lr=RATE, weight_decay=0.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=RATE / 50)
    warm = torch.optim.lr_scheduler.LinearLR(optimiser, 1 / WARM_UP, total_iters=WARM_UP)
    for _ in track(range(steps), "sharpening"):
        chosen, other = torch.randint(0, len(names), (ROWS,)), torch.randint(0, len(off), (ROWS // 2,))
        projected = after(on[chosen].float())
        loss = F.cross_entropy(points.scores(projected), names[chosen], label_smoothing=0.05)
        loss = loss + HOLD / points.spread * moved(before, after, on[chosen])
        loss = loss + 2 * HOLD / points.spread * moved(before, after, off[other])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        cosine.step()
        warm.step()
    return after


def moved(before: Projector, after: Projector, features: Tensor) -> Tensor:  # (P, F) -> ()
    """Mean squared distance between what two projectors make of the same features."""
    with torch.no_grad():
        was = before(features.float())
    distance: Tensor = (after(features.float()) - was).pow(2).sum(1).mean()
    return distance
