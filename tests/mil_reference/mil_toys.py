"""Small programs converted and saved by coremltools, which the MIL reference reads back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from torch import Tensor, nn

CAPACITY, HEADS, WIDTH = 32, 2, 8


def convert(
    module: nn.Module, examples: Sequence[Tensor], out: Path, *, half: bool = False, states: Sequence[str] = ()
) -> Path:
    """The module as a package at `out`: inputs x0, x1, .. and outputs y0, y1, .. in the examples' dtypes."""
    with torch.no_grad():
        results = module(*examples)
    exported = torch.export.export(module.eval(), tuple(examples)).run_decompositions({})
    inputs = [
        ct.TensorType(f"x{nth}", one.shape, dtype=np.int32 if one.dtype != torch.float32 else np.float32)
        for nth, one in enumerate(examples)
    ]
    count = len(results) if isinstance(results, tuple) else 1
    buffers = dict(module.named_buffers())
    kept = [ct.StateType(ct.TensorType(shape=buffers[name].shape, dtype=np.float16), name) for name in states]
    converted = ct.convert(
        exported,
        inputs=inputs,
        outputs=[ct.TensorType(f"y{nth}") for nth in range(count)],
        states=kept or None,
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        skip_model_load=True,
    )
    converted.save(str(out))
    return out


def save(program: Any, out: Path, *, half: bool = False) -> Path:
    """A program made with coremltools' builder."""
    precision = ct.precision.FLOAT16 if half else ct.precision.FLOAT32
    made = ct.convert(
        program, minimum_deployment_target=ct.target.iOS18, compute_precision=precision, skip_model_load=True
    )
    made.save(str(out))
    return out


def join(parts: dict[str, Path], out: Path) -> Path:
    """Several packages as functions of one."""
    wanted = ct.utils.MultiFunctionDescriptor()
    for name, path in parts.items():
        wanted.add_function(str(path), "main", name)
    wanted.default_function_name = next(iter(parts))
    ct.utils.save_multifunction(wanted, str(out))
    return out


class Cached(nn.Module):
    """Attention with a cache of rows: `rows` tokens at `slot`, the others masked."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.rows = rows
        self.into = nn.Linear(HEADS * WIDTH, 3 * HEADS * WIDTH)
        self.register_buffer("k_toy", torch.zeros(HEADS, CAPACITY, WIDTH))
        self.register_buffer("v_toy", torch.zeros(HEADS, CAPACITY, WIDTH))

    def forward(self, rows: Tensor, slot: Tensor) -> Tensor:  # (1, T, C), (1,) -> (1, T, C)
        """Rows after attention; both states written."""
        parts = self.into(rows[0]).reshape(self.rows, 3, HEADS, WIDTH).permute(1, 2, 0, 3)
        if self.rows > 1:
            self.k_toy[:, 0 : self.rows] = parts[1]
            self.v_toy[:, 0 : self.rows] = parts[2]
            places = torch.arange(self.rows)
        else:
            self.k_toy[:, slot] = parts[1]
            self.v_toy[:, slot] = parts[2]
            places = slot
        seen = torch.arange(CAPACITY)[None] <= places[:, None]
        mask = torch.where(seen, torch.tensor(0.0), torch.tensor(-1e4))
        mixed = nn.functional.scaled_dot_product_attention(
            parts[0][None], self.k_toy[None], self.v_toy[None], attn_mask=mask[None, None]
        )
        return mixed[0].permute(1, 0, 2).reshape(1, self.rows, -1)


class Block(nn.Module):
    """Convolution, layer norm, gelu and matrix products, as a vision tower has them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.patches = nn.Conv2d(3, 64, 4, 4)
        self.norm, self.up, self.down = nn.LayerNorm(64), nn.Linear(64, 128), nn.Linear(128, 64)

    def forward(self, pixels: Tensor) -> Tensor:  # (1, 3, 16, 16) -> (1, 16, 64)
        """Patch rows."""
        rows = self.patches(pixels).flatten(2).transpose(1, 2)
        return rows + self.down(nn.functional.gelu(self.up(self.norm(rows))))
