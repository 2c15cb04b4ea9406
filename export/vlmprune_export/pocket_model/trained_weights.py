"""The weights that we trained: the projector, and low-rank updates (LoRA) of tower and language model."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from vlmprune_export.pocket_model.weight_packages import verify

LORA_SCALE = 2.0
TRAINED = Path(__file__).with_name("trained.safetensors")


def trained_record() -> dict[str, Any]:
    """Returns the record of the training: sha256, steps, seeds, measured figures."""
    record: dict[str, Any] = json.loads(TRAINED.with_suffix(".json").read_text(encoding="utf-8"))
    return record


def trained_weights() -> dict[str, Tensor]:
    """Returns the shipped tensors in fp16. Raises `VlmPruneError` if the file is not the recorded one."""
    verify(TRAINED, trained_record()["sha256"])
    return load_file(TRAINED)


def projector_weights(trained: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the part that belongs to HF's `multi_modal_projector`, in fp32."""
    return {name: value.float() for name, value in trained.items() if name.startswith("multi_modal_projector.")}


def merged(weights: dict[str, Tensor], trained: dict[str, Tensor], part: str = "language_model") -> dict[str, Tensor]:
    """Returns `weights` of one part of the model, with W + scale * B A in place of each W that was trained."""
    out = dict(weights)
    for name, lora_a in trained.items():  # (R, in)
        if name.startswith(f"{part}.") and name.endswith(".lora_A.weight"):
            lora_b = trained[name.replace("lora_A", "lora_B")]  # (out, R)
            target = name.removeprefix(f"{part}.").replace(".lora_A", "")
            out[target] = weights[target] + LORA_SCALE * lora_b.float() @ lora_a.float()
    return out
