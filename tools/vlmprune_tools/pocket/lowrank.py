"""A low-rank update of a vision tower's upper layers: what is trained of them, and its shipped form."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmprune_export.pocket.tower import FEATURE_LAYERS
from vlmprune_export.pocket.trained import LORA_SCALE

RANK = 96
LINEARS = {"attention": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("fc1", "fc2")}
TOWER = "vision_tower.encoder.layer"
TAG_LENGTH = 8


class LowRank(nn.Module):
    """A frozen linear and its trainable update: W + scale * B A."""

    def __init__(self, base: nn.Linear, rank: int = RANK) -> None:
        """The update starts at zero."""
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """(.., in) -> (.., out)."""
        update = F.linear(F.linear(x, self.lora_a), self.lora_b)
        changed: Tensor = self.base(x) + LORA_SCALE * update
        return changed


def upper_layers(tower: Any) -> nn.ModuleList:
    """The layers of a `Dinov2Model` above the first that the projector reads, frozen but for their updates."""
    layers = nn.ModuleList(tower.encoder.layer[FEATURE_LAYERS[0] :]).requires_grad_(False)
    for layer in layers:
        for part, names in LINEARS.items():
            for name in names:
                setattr(getattr(layer, part), name, LowRank(getattr(getattr(layer, part), name)))
    return layers


def updates(layers: nn.ModuleList) -> Iterator[tuple[str, LowRank]]:
    """Every update under the name that its linear has in the model."""
    for number, layer in enumerate(layers, FEATURE_LAYERS[0]):
        for part, names in LINEARS.items():
            for name in names:
                yield f"{TOWER}.{number}.{part}.{name}", getattr(getattr(layer, part), name)


def packed_tower(layers: nn.ModuleList) -> dict[str, Tensor]:
    """The updates under HF's names, fp16."""
    tensors = {}
    for name, update in updates(layers):
        tensors[f"{name}.lora_A.weight"] = update.lora_a.detach().half().clone()
        tensors[f"{name}.lora_B.weight"] = update.lora_b.detach().half().clone()
    return tensors


@torch.no_grad()
def take_up_tower(tensors: Mapping[str, Tensor], layers: nn.ModuleList) -> None:
    """Put shipped updates back, also those of a lower rank: the rest stays at zero, as all of it does without any."""
    for name, update in updates(layers):
        if f"{name}.lora_A.weight" in tensors:
            rank = len(lora_a := tensors[f"{name}.lora_A.weight"])
            update.lora_a[:rank].copy_(lora_a)
            update.lora_b[:, :rank].copy_(tensors[f"{name}.lora_B.weight"])


def tower_updates(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of shipped tensors that belong to the tower."""
    return {name: value for name, value in tensors.items() if name.startswith(TOWER)}


def tower_tag(tensors: Mapping[str, Tensor]) -> str:
    """A few hex digits that tell towers apart, for features are good for one only; none for the untuned one."""
    digest = hashlib.sha256()
    for name, value in sorted(found := tower_updates(tensors).items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:TAG_LENGTH] if found else ""
