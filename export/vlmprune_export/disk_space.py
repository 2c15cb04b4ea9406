"""Checks whether a bundle fits on the disk before the minutes of lowering begin."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.errors import BadRequest, short_repr

FULL_BYTES = 2**20  # a disk with less counts as full, because file systems reserve some blocks
FLOAT_BYTES = 4
# Bytes of a bundle per weight, measured on the default model with its vision tower and tokenizer, rounded up.
BYTES_PER_WEIGHT = {"none": 4.8, "int8": 1.3, "8da8w": 1.3, "int4": 1.0, "8da4w": 1.0, "pal4": 1.0}
HALF_BYTES_PER_WEIGHT = 2.2  # Core ML's fp16


def needed_bytes(model: nn.Module, target: str, quantisation: str) -> int:
    """Estimates the bytes of disk that an export takes at its peak.

    Quantising for ONNX Runtime first writes the widest stage, the tail, in fp32. Core ML's functions are separate
    packages, each with all weights, until they are joined.
    """
    weights = sum(weight.numel() for weight in {id(weight): weight for weight in model.parameters()}.values())
    per_weight = BYTES_PER_WEIGHT[quantisation]
    if target == "coreml":
        return round(weights * 3 * min(per_weight, HALF_BYTES_PER_WEIGHT))
    scratch = FLOAT_BYTES / 2 if target == "onnx" and quantisation != "none" else 0.0
    return round(weights * (per_weight + scratch))


@contextmanager
def enough_disk(folder: Path, needed: int, out: Path) -> Iterator[None]:
    """Raises `BadRequest` if the disk of `folder` lacks the bytes, or if it is full when the block fails."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BadRequest(
            f"{short_repr(out)}: the export needs about {format_bytes(needed)} of disk, {format_bytes(free)} are free; "
            "free some, choose an --out on another disk, or a smaller --quant"
        )
    try:
        yield
    except Exception as error:
        if shutil.disk_usage(folder).free >= FULL_BYTES:
            raise
        raise BadRequest(
            f"{short_repr(out)}: the disk is full, {format_bytes(free)} were free when the export began; "
            "free some, or choose an --out on another disk"
        ) from error
