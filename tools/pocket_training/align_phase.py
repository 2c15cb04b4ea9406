"""Aligns patches with words: the projector, and the tower's upper layers, put each patch near its target.

The language model names almost everything when patches lie at the embeddings of their labels, and it then only has to
copy words; a projector on the frozen tower leaves them between labels.
"""

import random
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pocket_training.adapted_model import PROJECTOR, parameters_of
from pocket_training.recipe import Align
from pocket_training.targets import NOWHERE, TEMPERATURE, Aims, Targets, marked_patches, patch_places, targets_of
from pocket_training.training_images import BatchSampler, pixel_values
from pocket_training.training_loop import Course, Losses, optimise
from vlmprune_export.pocket_model.vision_tower import FEATURE_LAYERS
from vlmprune_tools.scenes.scene import RenderedScene

DECAY, PULL, LOWEST_RATE = 0.02, 0.3, 0.02
NEAR = 0.25  # the cosine above which a patch is at a label rather than nowhere
MARK_WEIGHT, MARK_STEEPNESS = 0.5, 8.0
PLACE_WEIGHT = 0.5  # without a loss of its own the place would drown in what the patch is on


def align(model: Any, aims: Aims, sampler: BatchSampler, phase: Align, folder: Path) -> None:
    """Trains the projector, and the tower if the phase says so, in place; resumes from `folder`."""
    parameters = parameters_of(model, PROJECTOR) + (parameters_of(model, "vision_tower") if phase.tower else [])
    optimiser = torch.optim.AdamW(parameters, lr=phase.rate, betas=(0.9, 0.98), weight_decay=DECAY)

    def losses(rng: random.Random) -> Losses:
        return alignment_losses(model, aims, sampler.sample(rng, phase.pictures))

    optimise(optimiser, losses, Course(phase.steps, LOWEST_RATE, phase.seed), folder)


def vision_features(model: Any, scenes: list[RenderedScene]) -> Tensor:  # -> (B, N, F)
    """Returns what the projector reads: two layers of the tower side by side, without the class token."""
    with torch.autocast("cpu", torch.bfloat16):
        states = model.vision_tower(pixel_values(scenes), output_hidden_states=True).hidden_states
    return torch.cat([states[layer][:, 1:] for layer in FEATURE_LAYERS], -1).float()


def alignment_losses(model: Any, aims: Aims, scenes: list[RenderedScene]) -> Losses:
    """Returns how far patches are from their targets, and how well marked patches differ from others."""
    features, targets = vision_features(model, scenes), targets_of(scenes)
    with torch.autocast("cpu", torch.bfloat16):
        projected = getattr(model, PROJECTOR)(features).float()
    offset = projected - positions_of(aims, targets)
    lead = offset @ aims.mark / aims.mark.pow(2).sum()  # how much of the way to a mark each patch is moved
    marked = torch.stack([marked_patches(*pair) for pair in zip(scenes, lead.detach(), strict=True)])
    marks = marked[..., None] * aims.mark
    belonging = belonging_loss(aims, projected - marks, offset - marks, targets)
    marking, placing = marking_loss(lead, marked), placing_loss(aims, offset - marks, targets)
    loss = belonging + MARK_WEIGHT * marking + PLACE_WEIGHT * placing
    return {"loss": loss, "belonging": belonging, "marking": marking, "placing": placing}


def positions_of(aims: Aims, targets: Targets) -> Tensor:  # -> (B, N, D)
    """Returns where patches belong but for their marks; the middle of everything for those that belong nowhere."""
    known = torch.cat([aims.embeddings, aims.middle[None]])  # NOWHERE, -1, is the last
    where: Tensor = known[targets.aim] + patch_places() @ aims.shift
    return where


def belonging_loss(aims: Aims, projected: Tensor, offset: Tensor, targets: Targets) -> Tensor:  # 2 x (B, N, D) -> ()
    """Returns the cross-entropy over the embeddings and "none of them", and a pull to the right one."""
    scores = aims.scores(projected)
    scores = torch.cat([scores, scores.new_full((*scores.shape[:-1], 1), NEAR * TEMPERATURE)], -1)
    right = torch.where(targets.aim == NOWHERE, scores.shape[-1] - 1, targets.aim)
    entropy = F.cross_entropy(scores.flatten(0, 1), right.flatten(), reduction="none").view_as(right)
    distance = offset.pow(2).sum(-1) / aims.spread * (targets.aim != NOWHERE)
    loss: Tensor = (targets.weight * (entropy + PULL * distance)).sum() / targets.weight.sum()
    return loss


def placing_loss(aims: Aims, offset: Tensor, targets: Targets) -> Tensor:  # (B, N, D) -> ()
    """Returns the squared error of the places that patches tell, over those that belong somewhere."""
    error = (offset @ torch.linalg.pinv(aims.shift)).pow(2).sum(-1)
    weight = targets.weight * (targets.aim != NOWHERE)
    loss: Tensor = (error * weight).sum() / weight.sum().clamp(min=1e-6)
    return loss


def marking_loss(lead: Tensor, marked: Tensor) -> Tensor:  # 2 x (B, N) -> ()
    """Returns the error of the marks per object; all patches weigh the same, so that marks add up to the count."""
    wrong = F.binary_cross_entropy_with_logits(MARK_STEEPNESS * (lead - 0.5), marked.float(), reduction="sum")
    loss: Tensor = wrong / marked.sum().clamp(min=1)
    return loss
