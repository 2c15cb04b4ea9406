"""The model with the weights that are trained: the projector, and low-rank updates of tower and language model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlmprune_export.pocket_model.trained_weights import LORA_SCALE
from vlmprune_export.pocket_model.vision_tower import FEATURE_LAYERS
from vlmprune_runtime.errors import BadRequest

TOWER_RANK, LANGUAGE_RANK = 96, 16
PROJECTOR = "multi_modal_projector"


class LowRank(nn.Module):
    """A frozen linear in bf16 and its trainable update in fp32: W + scale * B A."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        """Starts with an update of zero."""
        super().__init__()
        self.base = base.requires_grad_(False).bfloat16()
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (.., in) to (.., out)."""
        update = F.linear(F.linear(x, self.lora_a), self.lora_b)
        changed: Tensor = self.base(x) + LORA_SCALE * update
        return changed


def adapt(model: Any) -> Any:
    """Freezes a `LlavaModel` but for its projector, and puts updates beside the linears that training changes."""
    model.requires_grad_(False)
    getattr(model, PROJECTOR).requires_grad_(True)
    _adapt_linears(model.vision_tower.encoder.layer[FEATURE_LAYERS[0] :], TOWER_RANK)
    _adapt_linears(model.language_model.layers, LANGUAGE_RANK)
    return model.eval()


def _adapt_linears(layers: nn.Module, rank: int) -> None:
    for parent in [module for module in layers.modules() if not isinstance(module, LowRank)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                setattr(parent, name, LowRank(child, rank))


def updates(model: Any) -> Iterator[tuple[str, LowRank]]:
    """Yields every update under the name that its linear has in the model."""
    return ((name, module) for name, module in model.named_modules() if isinstance(module, LowRank))


def parameters_of(model: Any, part: str) -> list[nn.Parameter]:
    """Returns the trainable parameters of the tower, the projector or the language model."""
    return [value for value in getattr(model, part).parameters() if value.requires_grad]


def packed(model: Any) -> dict[str, Tensor]:
    """Returns the trained tensors under Hugging Face's names in fp16, as they are shipped."""
    tensors = {f"{PROJECTOR}.{name}": value for name, value in getattr(model, PROJECTOR).state_dict().items()}
    for name, update in updates(model):
        tensors |= {f"{name}.lora_A.weight": update.lora_a, f"{name}.lora_B.weight": update.lora_b}
    return {name: value.detach().half().clone() for name, value in tensors.items()}


@torch.no_grad()
def load_packed(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Loads packed tensors; an update of a lower rank, or none, leaves the rest at zero."""
    for name, value in getattr(model, PROJECTOR).named_parameters():
        if f"{PROJECTOR}.{name}" in tensors:
            value.copy_(tensors[f"{PROJECTOR}.{name}"])
    for name, update in updates(model):
        if f"{name}.lora_A.weight" in tensors:
            rank = len(lora_a := tensors[f"{name}.lora_A.weight"])
            update.lora_a[:rank].copy_(lora_a)
            update.lora_b[:, :rank].copy_(tensors[f"{name}.lora_B.weight"])


def averaged(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the mean of packed tensors; raises `BadRequest` unless all have the same names and shapes.

    A and B are averaged apart, so the mean is useful only where one run went on from another.
    """
    shapes = [{name: value.shape for name, value in part.items()} for part in parts]
    if any(shape != shapes[0] for shape in shapes):
        raise BadRequest("average: the phases have different tensors; name phases that went on from one another")
    return {
        name: torch.stack([part[name].float() for part in parts]).mean(0).to(value.dtype)
        for name, value in parts[0].items()
    }
