"""Merges LoRA adapters into the weights of their base model: W + scale * B A, in fp32.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685, section 4.1; file format and
scaling as of PEFT. What these lines do not cover is refused, for a setting that is passed over changes the answers.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vlmprune_export.checkpoint.file_checks import check_weights, read_json
from vlmprune_runtime.errors import BadRequest

CONFIG = "adapter_config.json"
_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_PREFIX = "base_model.model."
_MERGE = "merge it with PEFT (merge_and_unload, save_pretrained) and export the result"
# Settings of which the arithmetic below takes account, and those that matter in training only.
_COVERED = {
    *("alpha_pattern", "base_model_name_or_path", "bias", "fan_in_fan_out", "lora_alpha", "modules_to_save"),
    *("peft_type", "r", "rank_pattern", "revision", "target_modules", "use_rslora"),
    *("auto_mapping", "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode", "init_lora_weights"),
    *("layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size"),
    *("runtime_config", "task_type"),
}
_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # the others change the base model's weights first
_PARTS = ("lora_A.weight", "lora_B.weight", "lora_embedding_A", "lora_embedding_B")


def adapter_weights(folder: Path) -> Path:
    """Returns the file of an adapter's weights.

    Raises `BadRequest` when there is none, or when the folder holds trained weights beside it.
    """
    beside = folder / "non_lora_trainables.bin"
    if beside.is_file():
        raise BadRequest(f"{beside} holds weights that LLaVA's own code trained beside the adapter; {_MERGE}")
    for name in _WEIGHTS:
        if (folder / name).is_file():
            check_weights(folder / name)
            return folder / name
    raise BadRequest(f"{folder / CONFIG} has no weights beside it; allowed: {' or '.join(_WEIGHTS)}")


def merge_adapter(model: Any, folder: Path) -> None:
    """Adds the adapter in `folder` to the weights of `model`, in place.

    Raises `BadRequest` for a kind of adapter that is not covered, and for weights that do not fit the model.
    """
    settings = read_json(folder / CONFIG)
    _check_covered(folder, settings)
    stored = dict(_renamed(model, _read(adapter_weights(folder))))
    if not stored:
        raise BadRequest(f"{folder / CONFIG} has no weights beside it that change the model")
    with torch.no_grad():
        for name, parts in _by_weight(stored).items():
            try:
                _merge(model, name, parts, settings)
            except (AttributeError, KeyError, RuntimeError) as cause:
                raise BadRequest(f"adapter {folder}: {name!r} does not fit the model: {cause}"[:400]) from cause


def _check_covered(folder: Path, settings: Mapping[str, Any]) -> None:
    kind = str(settings.get("peft_type"))[:60]
    if kind != "LORA":
        raise BadRequest(f"adapter {folder} is of kind {kind}; allowed: LORA; {_MERGE}")
    start = settings.get("init_lora_weights")
    if start not in _STARTS:
        raise BadRequest(
            f"adapter {folder} starts from weights changed by {str(start)[:60]!r}, not the base's; {_MERGE}"
        )
    other = sorted(name for name, value in settings.items() if value and name not in _COVERED)
    if other:
        raise BadRequest(f"adapter {folder} has {other[0][:60]} set, which is not merged here; {_MERGE}")


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = (
        load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    )
    return weights


def _renamed(model: Any, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Renames weights as the model has them today: adapters keep the names in use when they were trained."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming

    renamings = [rule for rule in get_model_conversion_mapping(model) if isinstance(rule, WeightRenaming)]
    known = dict(model.named_parameters())
    for key, weight in weights.items():
        name = key.removeprefix(_PREFIX).replace(".base_layer.", ".")
        if _target(name) not in known:
            for rule in renamings:
                name, _ = rule.rename_source_key(name)
        yield name, weight


def _target(name: str) -> str:
    """Returns the model's weight that a stored one belongs to."""
    for part in _PARTS:
        if name.endswith(f".{part}"):
            return f"{name.removesuffix(part)}weight"
    return name


def _by_weight(stored: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Groups stored tensors by the model's weight: two LoRA parts, or the whole weight under ''."""
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, weight in stored.items():
        part = next((part for part in _PARTS if name.endswith(f".{part}")), "")
        grouped.setdefault(_target(name), {})[part] = weight
    return grouped


def _merge(model: nn.Module, name: str, parts: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    module_name, _, attribute = name.rpartition(".")
    module = model.get_submodule(module_name)
    weight: Tensor = getattr(module, attribute)
    merged = parts[""].float() if "" in parts else weight.float()
    if len(parts) > ("" in parts):
        merged = merged + _update(module_name, module, parts, settings)
    if merged.shape != weight.shape:
        raise RuntimeError(f"{tuple(merged.shape)} where the model has {tuple(weight.shape)}")
    # A weight of its own, even where the model ties it to another: PEFT changes the named one alone.
    setattr(module, attribute, nn.Parameter(merged.to(weight.dtype), requires_grad=False))


def _update(module_name: str, module: nn.Module, parts: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Tensor:
    embedding = isinstance(module, nn.Embedding)
    first, second = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A.weight", "lora_B.weight")
    down, up = parts[first].float(), parts[second].float()
    update = _scale(module_name, down.shape[0], settings) * (up @ down)
    return update.t() if embedding else update


def _scale(module_name: str, rank: int, settings: Mapping[str, Any]) -> float:
    patterns: Mapping[str, float] = settings.get("alpha_pattern") or {}
    own = (alpha for key, alpha in patterns.items() if re.match(rf"(.*\.)?({key})$", module_name))
    alpha = float(next(own, settings.get("lora_alpha", rank)))
    return alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank
