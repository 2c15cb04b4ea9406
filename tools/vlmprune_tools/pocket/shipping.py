"""Between the shipped form (one A and B per linear, HF names, fp16) and the trained one (one A per input)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.pocket.decoder import GROUPS, Decoder
from vlmprune_tools.pocket.projector import Projector

LAYERS, PROJECTOR = "language_model.layers", "multi_modal_projector."


def shipped(decoder: Decoder, projector: Projector) -> dict[str, Tensor]:
    """All trained tensors under the names of HF's modules, fp16."""
    tensors = packed_projector(projector)
    for index, layer in enumerate(decoder.frozen):
        for group, names in GROUPS.items():
            lora_a, lora_b = (decoder.lora[f"{index}_{group}_{part}"] for part in "ab")
            widths = split_widths(group, layer[group].shape[0])
            for name, part in zip(names, lora_b.split(widths), strict=True):
                tensors[f"{LAYERS}.{index}.{name}.lora_A.weight"] = lora_a
                tensors[f"{LAYERS}.{index}.{name}.lora_B.weight"] = part
    return {name: value.detach().half().clone() for name, value in tensors.items()}


def packed_projector(projector: Projector) -> dict[str, Tensor]:
    """The projector under HF's names, fp16."""
    return {f"{PROJECTOR}{name}": value.half().clone() for name, value in projector.state_dict().items()}


def take_up_projector(tensors: Mapping[str, Tensor], projector: Projector) -> None:
    """Put a shipped projector back into one that is trained."""
    found = {name: value.float() for name, value in tensors.items() if name.startswith(PROJECTOR)}
    projector.load_state_dict({name.removeprefix(PROJECTOR): value for name, value in found.items()})


def split_widths(group: str, out: int) -> list[int]:
    """Rows of each linear in a group.

    >>> split_widths("qkv", 960), split_widths("gate_up", 3072), split_widths("down", 576)
    ([576, 192, 192], [1536, 1536], [576])
    """
    count = len(GROUPS[group])
    return [out * 3 // 5, out // 5, out // 5] if group == "qkv" else [out // count] * count


def take_up(tensors: Mapping[str, Tensor], decoder: Decoder, projector: Projector) -> None:
    """Put shipped tensors back into what is trained; a projector alone leaves the update at zero."""
    take_up_projector(tensors, projector)
    if not any(name.startswith(LAYERS) for name in tensors):
        return
    with torch.no_grad():
        for index in range(len(decoder.frozen)):
            for group, names in GROUPS.items():
                paths = [f"{LAYERS}.{index}.{name}" for name in names]
                lora_b = torch.cat([tensors[f"{path}.lora_B.weight"] for path in paths])
                decoder.lora[f"{index}_{group}_a"].copy_(tensors[f"{paths[0]}.lora_A.weight"])
                decoder.lora[f"{index}_{group}_b"].copy_(lora_b)


def averaged(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several shipped forms; `BadRequest` unless all have the same tensors.

    A and B are averaged apart, so that it only means something where one run went on from another.
    """
    shapes = [{name: value.shape for name, value in part.items()} for part in parts]
    if any(shape != shapes[0] for shape in shapes):
        raise BadRequest("average: the files have different tensors; give those of runs that went on from one another")
    return {
        name: torch.stack([part[name].float() for part in parts]).mean(0).to(value.dtype)
        for name, value in parts[0].items()
    }
