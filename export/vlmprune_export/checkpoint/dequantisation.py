"""Dequantises weights of quantised checkpoints to fp32, where a library can do that on a CPU."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from vlmprune_export.checkpoint.file_checks import stored_shapes
from vlmprune_runtime.errors import BadRequest, MissingExtra, short_repr

_ADVICE = "export the checkpoint that it was made from, and give --quant, or save it dequantised first"


def _as_loaded(model: Any) -> nn.Module:
    loaded: nn.Module = model
    return loaded


def _bitsandbytes(model: Any) -> nn.Module:
    dequantised: nn.Module = model.dequantize(torch.float32)
    return dequantised


def _tensor_classes(model: Any) -> nn.Module:
    """Replaces every weight that is one of torchao's tensor classes by a plain tensor."""
    loaded: nn.Module = model
    for module in loaded.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if type(weight.data) is not Tensor:
                plain = weight.dequantize().detach().float()
                setattr(module, name, nn.Parameter(plain, requires_grad=False))
    return loaded


def _check_nothing(name: str, folder: Path) -> None:
    """Checks nothing: the format's library finds what is missing."""


def _check_fp8_scales(name: str, folder: Path) -> None:
    """Raises `BadRequest` for fp8 weights without scales, which transformers would take as they are."""
    for path in folder.glob("*.safetensors"):
        shapes = stored_shapes(path)
        for weight, (dtype, _) in shapes.items():
            if dtype.startswith("F8_E4M3") and f"{weight}_scale_inv" not in shapes:
                raise BadRequest(
                    f"{name!r}: {weight} is in fp8 and {path.name} has no scale for it (expected: {weight}_scale_inv); "
                    f"{_ADVICE}"
                )


def _check_4_bit_rows(name: str, folder: Path) -> None:
    """Raises `BadRequest` for 4-bit weights of bitsandbytes whose rows its kernel for CPUs turns into noise."""
    for path in folder.glob("*.safetensors"):
        for state in (key for key in stored_shapes(path) if ".quant_state.bitsandbytes__" in key):
            with safe_open(path, framework="pt") as tensors:
                fields = json.loads(bytes(tensors.get_tensor(state).tolist()))
            row, block = fields["shape"][-1], fields["blocksize"]
            if row % block:
                raise BadRequest(
                    f"{name!r}: {state.split('.quant_state')[0]} has rows of {row} in 4 bits, which bitsandbytes "
                    f"cannot dequantise on a CPU; allowed: multiples of {block}; {_ADVICE}"
                )


@dataclass(frozen=True)
class Format:
    """How weights of a format become plain ones.

    `library` is the package that reads it, with the extra that brings it; `config` are entries of the checkpoint's
    `quantization_config` to be changed; `plain` is called once the model is loaded, `check`
    with the checkpoint's name and folder before it is read.
    """

    library: str | None = None
    extra: str = "quantised"
    config: Mapping[str, Any] = field(default_factory=dict)
    plain: Callable[[Any], nn.Module] = _as_loaded
    check: Callable[[str, Path], None] = _check_nothing


FORMATS: Mapping[str, Format] = {
    "bitsandbytes": Format("bitsandbytes", plain=_bitsandbytes, check=_check_4_bit_rows),
    "compressed-tensors": Format("compressed_tensors", config={"dequantize": True}),
    "fp8": Format(config={"dequantize": True}, check=_check_fp8_scales),
    "torchao": Format("torchao", extra="executorch", plain=_tensor_classes),
}


def format_of(name: str, config: Mapping[str, Any]) -> Format | None:
    """Returns the format of a checkpoint's weights by its raw config, None for plain weights.

    Raises `BadRequest` for a format that cannot be dequantised here, `MissingExtra` where its library is missing.
    """
    settings = _settings(config)
    if not settings:
        return None
    if not isinstance(settings, Mapping):
        raise BadRequest(f"{name!r}: quantization_config: got {short_repr(settings)}, allowed: an object")
    method = _method(settings)
    if method not in FORMATS:
        kinds = ", ".join(sorted(FORMATS))
        raise BadRequest(f"{name!r} is quantised with {method}, which cannot be undone here (but: {kinds}); {_ADVICE}")
    weight_format = FORMATS[method]
    if weight_format.library and find_spec(weight_format.library) is None:
        raise MissingExtra(weight_format.library, weight_format.extra)
    return weight_format


def _settings(config: Mapping[str, Any]) -> Any:
    """Returns the settings of quantised weights, wherever a config has them."""
    parts = (config, *(config.get(part) for part in ("text_config", "vision_config")))
    given = [part.get("quantization_config") for part in parts if isinstance(part, Mapping)]
    if config.get("quantization"):  # as MLX writes it
        return {"quant_method": "mlx"}
    return next((settings for settings in given if settings), None)


def _method(settings: Mapping[str, Any]) -> str:
    bitsandbytes = settings.get("load_in_8bit") or settings.get("load_in_4bit")
    return "bitsandbytes" if bitsandbytes else str(settings.get("quant_method", "an unnamed method"))[:60]
