"""The projector alone, tuned to the words the language model has already learned to read off it.

Each label's patches are projected to around one point, moved by their place in the picture. A patch on a small or
half-hidden object lands between points; here it is drawn to its own label's. The point of a label that the start
does not know yet is carried over from the known ones: their middle, and from there in the direction in which the
label's own embedding lies. What the start knows, and patches without an object, are held where they were. Minutes
of work that spare the language model's hours.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vlmprune_tools.pocket.features import Example
from vlmprune_tools.pocket.labels import Patches, labelled_patches
from vlmprune_tools.pocket.progress import track
from vlmprune_tools.pocket.projector import Projector

ROWS, RATE, TEMPERATURE, HOLD = 1024, 3e-3, 20.0, 0.5
CARRIED = 1.15  # new points lie a little farther out than the known ones' means, which small objects pull inwards


@dataclass(frozen=True)
class Points:
    """Where each label's patches belong."""

    centres: Tensor  # (labels, D)
    middle: Tensor  # (D,)
    spread: Tensor  # mean squared distance of a patch from the middle
    shift: Tensor  # (2, D): what one step to the right, one step down adds

    def scores(self, projected: Tensor, place: Tensor) -> Tensor:  # (P, D), (P, 2) -> (P, labels)
        """Cosine to each label's point, sharpened; what the place adds is taken off, so that it is not unlearned."""
        label = projected - place @ self.shift - self.middle
        return F.normalize(label, dim=1) @ F.normalize(self.centres - self.middle, dim=1).t() * TEMPERATURE

    def target(self, label: Tensor, place: Tensor) -> Tensor:  # (P,), (P, 2) -> (P, D)
        """The label's point, moved by the place."""
        moved_there: Tensor = self.centres[label] + place @ self.shift
        return moved_there


def points_of(projected: Tensor, patches: Patches, embeddings: Tensor, known: Tensor) -> Points:
    """Points of all labels from projected patches (P, D), label embeddings (labels, D), which are `known` (labels,)."""
    count = patches.label.bincount(minlength=len(embeddings))
    centres = torch.zeros(len(embeddings), projected.shape[1]).index_add_(0, patches.label, projected)
    centres /= count.clamp(min=1)[:, None]
    known = known & (count > 0)
    middle, average = centres[known].mean(0), embeddings[known].mean(0)
    out, length = centres[known] - middle, embeddings[known] - average
    share = (out * length).sum() / (length * length).sum()
    centres[~known] = middle + CARRIED * share * (embeddings[~known] - average)
    old = known[patches.label]
    shift = torch.linalg.lstsq(patches.place[old], projected[old] - centres[patches.label[old]]).solution
    return Points(centres, centres.mean(0), (projected - middle).pow(2).sum(1).mean(), shift)


def sharpen_projector(
    examples: Sequence[Example], projector: Projector, embeddings: Tensor, known: Tensor, steps: int, seed: int = 0
) -> Projector:
    """A projector whose patches lie nearer to their labels' points."""
    torch.manual_seed(seed)
    patches = labelled_patches(examples)
    before, after = projector, copy.deepcopy(projector)
    points = points_of(projected_by(before, patches.on), patches, embeddings, known)
    optimiser = torch.optim.AdamW(after.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    for _ in track(range(steps), "sharpening"):
        loss = sharpening_loss(before, after, patches, points, known)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return after


def sharpening_loss(before: Projector, after: Projector, patches: Patches, points: Points, known: Tensor) -> Tensor:
    """Cross-entropy over the labels; distance from where a patch was, or where a new label's belongs."""
    chosen, other = torch.randint(0, len(patches.label), (ROWS,)), torch.randint(0, len(patches.off), (ROWS // 2,))
    on, label, place = patches.on[chosen], patches.label[chosen], patches.place[chosen]
    old = known[label]
    with torch.autocast("cpu", torch.bfloat16):
        projected = after(on.float()).float()
    aim = torch.where(old[:, None], projected_by(before, on), points.target(label, place))
    distance = ((projected - aim).pow(2).sum(1) * torch.where(old, 1.0, 0.5)).mean()
    entropy = F.cross_entropy(points.scores(projected, place), label, label_smoothing=0.05)
    held = 4 * moved(before, after, patches.off[other])
    loss: Tensor = entropy + HOLD * (distance + held) / points.spread
    return loss


@torch.no_grad()
def projected_by(projector: Projector, features: Tensor) -> Tensor:  # (P, F) -> (P, D)
    """What a projector makes of features, in pieces."""
    return torch.cat([projector(part.float()) for part in features.split(8192)])


def moved(before: Projector, after: Projector, features: Tensor) -> Tensor:  # (P, F) -> ()
    """Mean squared distance between what two projectors make of the same features."""
    distance: Tensor = (after(features.float()) - projected_by(before, features)).pow(2).sum(1).mean()
    return distance
