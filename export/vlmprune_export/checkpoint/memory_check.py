"""Checks that a checkpoint fits into this machine's memory before any of its weights is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from vlmprune_export.checkpoint.file_checks import stored_shapes, weight_files
from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.errors import BadRequest


@dataclass(frozen=True)
class MemoryNeed:
    """Memory that a command takes at its peak: a part for Python and its libraries, and one for every weight."""

    fixed_bytes: float
    bytes_per_weight: float

    def bytes(self, weights: int) -> float:
        """Returns the bytes for a model of so many weights."""
        return self.fixed_bytes + weights * self.bytes_per_weight


LOADED = MemoryNeed(1.0e9, 6.0)  # while a bf16 checkpoint becomes fp32, both are in memory
# Peaks of exports of random checkpoints of 43 and 143 million weights, as docs/measurements.md has them.
_NEEDS: Mapping[tuple[str, str], MemoryNeed] = {
    ("onnx", "none"): MemoryNeed(1.0e9, 7.0),
    ("onnx", "int8"): MemoryNeed(1.0e9, 7.0),
    ("onnx", "int4"): MemoryNeed(1.0e9, 7.0),
    ("executorch", "none"): MemoryNeed(1.0e9, 14.0),
    ("executorch", "8da8w"): MemoryNeed(1.0e9, 12.0),
    ("executorch", "8da4w"): MemoryNeed(1.0e9, 14.0),  # not measured
    ("coreml", "none"): MemoryNeed(1.1e9, 17.5),
    ("coreml", "int8"): MemoryNeed(1.2e9, 15.0),
    ("coreml", "int4"): MemoryNeed(1.2e9, 17.5),  # not measured
    ("coreml", "pal4"): MemoryNeed(1.2e9, 17.5),  # not measured
}


def need_of(target: str, quantisation: str) -> MemoryNeed:
    """Returns what an export takes."""
    return _NEEDS[target, quantisation]


_STORED_BYTES: Mapping[str, float] = {"float32": 4, "float16": 2, "bfloat16": 2, "float64": 8}
_GROUP = Path("/sys/fs/cgroup")


def check_memory(name: str, folder: Path, config: Mapping[str, Any], need: MemoryNeed) -> None:
    """Raises `BadRequest` for a checkpoint that takes more memory than is free, swap included.

    The message says what is needed, what is free, and what helps.
    """
    weights = count_weights(folder, config)
    needed, free = need.bytes(weights), free_bytes()
    if needed <= free:
        return
    raise BadRequest(
        f"{name!r} has {weights / 1e9:.2f} billion weights and takes about {format_bytes(needed)} of memory "
        f"({format_bytes(need.fixed_bytes)} and {need.bytes_per_weight:g} bytes a weight), but {format_bytes(free)} "
        f"are free; what helps: {_cheaper(need, weights, free)}more memory or swap, ending other programs, or "
        "exporting on a larger machine and copying the bundle; --ignore-memory tries it all the same"
    )


def count_weights(folder: Path, config: Mapping[str, Any]) -> int:
    """Counts the weights in a checkpoint's files without reading them."""
    return sum(_weights(path, config) for path in weight_files(folder))


def _cheaper(need: MemoryNeed, weights: int, free: float) -> str:
    """Names the quantisations of the same target that fit, as advice."""
    target = next((target for (target, _), known in _NEEDS.items() if known is need), None)
    fits = {kind: known.bytes(weights) for (other, kind), known in _NEEDS.items() if other == target}
    return "".join(f"--quant {kind} (about {format_bytes(size)}), " for kind, size in fits.items() if size <= free)


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
