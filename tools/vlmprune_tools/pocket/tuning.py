"""The vision tower's upper layers and the projector, tuned together so that patches lie where they belong.

`sharpen` can only bend what the frozen tower tells. Its patches end up between labels (cosine to their own about
0.34), which the language model has to make out; it names almost everything when they lie at them. Pictures are drawn
as they are needed, so that no two steps see the same one.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmprune_export.pocket.tower import FEATURE_LAYERS, GRID
from vlmprune_tools.pocket.features import MEAN, STD, pixels_of
from vlmprune_tools.pocket.fresh import PICTURES, Fresh
from vlmprune_tools.pocket.labels import places
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.runs import append_log, rate_share, save_whole
from vlmprune_tools.pocket.scenes import Drawn
from vlmprune_tools.pocket.sharpen import Aims
from vlmprune_tools.pocket.sources import Draw
from vlmprune_tools.pocket.targets import NONE, Targets, marks, targets_of
from vlmprune_tools.progress import track

ROWS, RATE, DECAY, PULL, WARM_UP, LOWEST, SAVE_EVERY = 4, 2.5e-4, 0.02, 0.3, 30, 0.02, 50
TEMPERATURE, NEAR = 15.0, 0.25  # of the cosine; the cosine from which a patch is at a label rather than nowhere
MARKING, STEEP = 0.5, 8.0  # weight of the marks; how sure half the way to a mark is
PLACING = 0.5  # weight of where in the picture a patch is, which would drown in what it is on
EVERYWHERE = places(torch.arange(GRID * GRID))


@dataclass(frozen=True)
class Start:
    """What tuning begins with: `layers` and `projector` are trained in place."""

    tower: Any  # a `Dinov2Model`, of which only what is below `layers` is used
    layers: nn.ModuleList
    projector: Projector
    aims: Aims
    mark: Tensor  # (D,)


@dataclass(frozen=True)
class Source:
    """Pictures of one kind, and how often they are drawn."""

    weight: float
    draw: Draw


def tune_tower(start: Start, sources: Sequence[Source], steps: int, folder: Path, seed: int = 0) -> None:
    """Run to the last step; a checkpoint in `folder` is gone on from."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = nn.ModuleList([start.layers, start.projector])
    parameters = [value for value in trained.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.98), weight_decay=DECAY)
    first = resume(folder / "checkpoint.pt", trained, optimiser)
    for step in track(range(first, steps), "tuning"):
        optimiser.param_groups[0]["lr"] = RATE * rate_share(step, steps, WARM_UP, LOWEST)
        began = time.monotonic()
        losses = tuning_losses(start, pictures(sources, seed, step))
        loss = losses["belonging"] + MARKING * losses["marking"] + PLACING * losses["placing"]
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        figures = {name: round(value.item(), 4) for name, value in losses.items()}
        append_log(folder, {"step": step, "seconds": round(time.monotonic() - began, 2), **figures})
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save(folder / "checkpoint.pt", trained, optimiser, step + 1)


def pictures(sources: Sequence[Source], seed: int, step: int) -> list[Drawn]:
    """The pictures of a step: any of the train split."""
    rng = random.Random(f"{seed}/{step}")
    chosen = rng.choices(sources, [item.weight for item in sources], k=ROWS)
    return [item.draw("train", rng.randrange(PICTURES)) for item in chosen]


def tuned_features(start: Start, drawn: Sequence[Drawn]) -> Tensor:  # -> (B, N, F)
    """What the projector reads of some pictures, through the layers as they stand."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        lower = start.tower.embeddings((pixels_of(drawn) / 255 - MEAN) / STD)
        for layer in start.tower.encoder.layer[: FEATURE_LAYERS[0]]:
            lower = layer(lower)
    x = lower
    with torch.autocast("cpu", torch.bfloat16):
        for layer in start.layers:
            x = layer(x)
    return torch.cat([lower[:, 1:], x[:, 1:]], -1).float()


def tuning_losses(start: Start, drawn: Sequence[Drawn]) -> dict[str, Tensor]:
    """How far patches are from where they belong, and how well those that are marked are told from others."""
    features = tuned_features(start, drawn)
    examples = [Fresh(*pair) for pair in zip(drawn, features, strict=True)]
    targets = targets_of(examples)
    with torch.autocast("cpu", torch.bfloat16):
        projected = start.projector(features).float()
    off = projected - aimed_at(start.aims, targets)
    way = way_to(start.mark, off)
    marked = torch.stack([marks(*pair) for pair in zip(examples, way.detach(), strict=True)])
    moved = marked[..., None] * start.mark
    return {
        "belonging": belonging_loss(start.aims, projected - moved, off - moved, targets),
        "marking": marking_loss(way, marked),
        "placing": placing_loss(start.aims, off - moved, targets),
    }


def aimed_at(aims: Aims, targets: Targets) -> Tensor:  # -> (B, N, D)
    """Where patches belong but for their marks; the middle of everything for those that belong nowhere."""
    known = torch.cat([aims.labels, aims.middle[None]])  # NONE, -1, is the last
    where: Tensor = known[targets.aim.long()] + EVERYWHERE @ aims.shift
    return where


def belonging_loss(aims: Aims, projected: Tensor, off: Tensor, targets: Targets) -> Tensor:  # 2 x (B, N, D) -> ()
    """Cross-entropy over the embeddings and "none of them", and a pull to the right one; `off`: how far it is."""
    scores = aims.scores(projected, EVERYWHERE)
    scores = torch.cat([scores, scores.new_full((*scores.shape[:-1], 1), NEAR * aims.temperature)], -1)
    wanted = torch.where(targets.aim == NONE, scores.shape[-1] - 1, targets.aim.long())
    entropy = F.cross_entropy(scores.flatten(0, 1), wanted.flatten(), reduction="none").view_as(wanted)
    distance = off.pow(2).sum(-1) / aims.spread * (targets.aim != NONE)
    loss: Tensor = (targets.weight * (entropy + PULL * distance)).sum() / targets.weight.sum()
    return loss


def placing_loss(aims: Aims, off: Tensor, targets: Targets) -> Tensor:  # (B, N, D) -> ()
    """How far off patches that belong somewhere tell where in the picture they are, squared."""
    wrong = (off @ torch.linalg.pinv(aims.shift)).pow(2).sum(-1)
    weight = targets.weight * (targets.aim != NONE)
    loss: Tensor = (wrong * weight).sum() / weight.sum().clamp(min=1e-6)
    return loss


def way_to(mark: Tensor, off: Tensor) -> Tensor:  # (D,), (B, N, D) -> (B, N)
    """How much of the way to a mark each patch is moved."""
    return off @ mark / mark.pow(2).sum()


def marking_loss(way: Tensor, marked: Tensor) -> Tensor:  # 2 x (B, N) -> ()
    """How wrong the marks are, per object; all patches weigh the same, so that marks add up to how many there are."""
    wrong = F.binary_cross_entropy_with_logits(STEEP * (way - 0.5), marked.float(), reduction="sum")
    loss: Tensor = wrong / marked.sum().clamp(min=1)
    return loss


def save(path: Path, trained: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    """Write everything needed to go on, whole or not at all."""
    values = {name: value for name, value in trained.named_parameters() if value.requires_grad}
    save_whole({"trained": values, "optimiser": optimiser.state_dict(), "step": step}, path)


def resume(path: Path, trained: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Take up a checkpoint when there is one; gives the step to go on with."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    trained.load_state_dict(state["trained"], strict=False)
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])
