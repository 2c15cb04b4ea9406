"""The vision tower's upper layers and the projector, tuned together so that patches lie at their labels' embeddings.

`sharpen` can only bend what the frozen tower tells. Its patches end up between labels (cosine to their own about
0.34), which the language model has to make out; it names almost everything when they lie at them. Trained on cached
features: those of the lower layer are where the upper layers begin. The cache holds no class token, so the mean of
some stands for it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmprune_export.pocket.tower import CONFIG, FEATURE_LAYERS, GRID
from vlmprune_tools.pocket.drawing import Group
from vlmprune_tools.pocket.features import MEAN, STD, Example, Seen, pixels_of
from vlmprune_tools.pocket.labels import grid_labels, places
from vlmprune_tools.pocket.progress import track
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.runs import rate_share, save_whole
from vlmprune_tools.pocket.scenes import CLEAN, Drawn
from vlmprune_tools.pocket.sharpen import Aims

WIDTH: int = CONFIG["hidden_size"]
ROWS, RATE, DECAY, PULL, WARM_UP, LOWEST, SAVE_EVERY = 4, 2.5e-4, 0.02, 0.3, 30, 0.02, 50
TEMPERATURE = 15.0
EVERYWHERE = places(torch.arange(GRID * GRID))


@dataclass(frozen=True)
class Start:
    """What tuning begins with: `layers` and `projector` are trained in place."""

    layers: nn.ModuleList
    projector: Projector
    before: Projector  # where patches on nothing are held
    aims: Aims
    class_token: Tensor  # (1, 1, WIDTH)


def tune_tower(start: Start, groups: Sequence[Group], steps: int, folder: Path, seed: int = 0) -> None:
    """Run to the last step; a checkpoint in `folder` is gone on from."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = nn.ModuleList([start.layers, start.projector])
    parameters = [value for value in trained.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.98), weight_decay=DECAY)
    first = resume(folder / "checkpoint.pt", trained, optimiser)
    for step in track(range(first, steps), "tuning"):
        rng = random.Random(f"{seed}/{step}")
        chosen = rng.choices(groups, [group.weight for group in groups], k=ROWS)
        optimiser.param_groups[0]["lr"] = RATE * rate_share(step, steps, WARM_UP, LOWEST)
        loss = tuning_loss(start, [rng.choice(group.examples) for group in chosen])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save(folder / "checkpoint.pt", trained, optimiser, step + 1)


def projected_through(start: Start, features: Tensor) -> Tensor:  # (B, N, F) -> (B, N, D)
    """What tower and projector make of cached features, of which only the lower layer's are used."""
    lower = features[..., :WIDTH].float()
    x = torch.cat([start.class_token.expand(len(lower), -1, -1), lower], 1)
    with torch.autocast("cpu", torch.bfloat16):
        for layer in start.layers:
            x = layer(x)
        projected: Tensor = start.projector(torch.cat([lower, x[:, 1:].float()], -1))
    return projected.float()


def tuning_loss(start: Start, examples: Sequence[Example]) -> Tensor:
    """Cross-entropy over the labels and a pull to the label's embedding; patches on nothing stay."""
    features = torch.stack([example.features() for example in examples])
    label, weight = (torch.stack(part) for part in zip(*map(balanced, examples), strict=True))
    projected, on = projected_through(start, features), label >= 0
    place, weight = EVERYWHERE.expand(len(examples), -1, -1)[on], weight[on]
    entropy = F.cross_entropy(start.aims.scores(projected[on], place), label[on], reduction="none")
    distance = (projected[on] - start.aims.target(label[on], place)).pow(2).sum(1) / start.aims.spread
    off = torch.stack([example.owner for example in examples]) == CLEAN
    with torch.no_grad():
        held_at = start.before(features[off].float())
    held = (projected[off] - held_at).pow(2).sum(1).mean() / start.aims.spread
    loss: Tensor = (weight * (entropy + PULL * distance)).sum() / weight.sum().clamp(min=1e-6) + held
    return loss


def balanced(example: Seen) -> tuple[Tensor, Tensor]:  # -> (N,), (N,)
    """Labels of all patches and their weights: a large object counts more than a small one, but by its root only."""
    label, weight = grid_labels(example)
    patches = (label + 1).bincount(weights=weight).clamp(min=1)
    return label, weight / patches[label + 1].sqrt()


@torch.inference_mode()
def mean_class_token(tower: nn.Module, drawn: Sequence[Drawn]) -> Tensor:  # -> (1, 1, WIDTH)
    """The class token where the upper layers begin, mean over some pictures."""
    states = tower((pixels_of(drawn) / 255 - MEAN) / STD, output_hidden_states=True).hidden_states
    token: Tensor = states[FEATURE_LAYERS[0]][:, :1].mean(0, keepdim=True)
    return token.clone()


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
