"""Checks that a checkpoint fits into this machine's memory before any of its weights is read."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from vlmprune_export.checkpoint.file_checks import stored_shapes, weight_files
from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.errors import BadRequest

LOADED_BYTES = 4.0  # bytes a weight in fp32
LOWERED_BYTES = 8.0  # while a stage is lowered: the model, and a copy of that stage in the target's form
QUANTISED_BYTES = 11.6  # as measured of ONNX int8, whose quantiser holds copies of its own

_STORED_BYTES: Mapping[str, float] = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
_GROUP = Path("/sys/fs/cgroup")


def check_memory(name: str, folder: Path, config: Mapping[str, Any], bytes_per_weight: float) -> None:
    """Raises `BadRequest` for a checkpoint that takes more memory than is free, swap included.

    The message says how much is needed and free, and what helps.
    """
    weights = sum(_weights(path, config) for path in weight_files(folder))
    needed, free = weights * bytes_per_weight, free_bytes()
    if needed <= free:
        return
    unquantised = bytes_per_weight == QUANTISED_BYTES and weights * LOWERED_BYTES <= free
    less = f"--quant none (about {format_bytes(weights * LOWERED_BYTES)}), " if unquantised else ""
    raise BadRequest(
        f"{name!r} has {weights / 1e9:.2f} billion weights and takes about {format_bytes(needed)} of memory "
        f"({bytes_per_weight:g} bytes a weight), but {format_bytes(free)} are free; what helps: {less}more memory or "
        "swap, ending other programs, or exporting on a larger machine and copying the bundle"
    )


def free_bytes() -> float:
    """Returns the memory and swap that this process can still take; a container's limit counts."""
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    try:
        limit, used = ((_GROUP / f"memory.{which}").read_text().strip() for which in ("max", "current"))
    except OSError:
        return float(free)
    return float(free if limit == "max" else min(free, max(int(limit) - int(used), 0)))


def _weights(path: Path, config: Mapping[str, Any]) -> int:
    """Counts the numbers in a file; packed numbers of quantised checkpoints count as they are stored."""
    if path.suffix == ".safetensors":
        return sum(math.prod(shape) for _, shape in stored_shapes(path).values())
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return int(path.stat().st_size / _STORED_BYTES.get(dtype, 4))
