"""Stages in the form the ONNX exporter captures: tensors in, tensors out, caches among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vlmprune_export.backends.onnx.cache import GroupQueryCache
from vlmprune_export.staged import StagedModel
from vlmprune_export.stages import HeadStage, TailStage
from vlmprune_runtime.errors import CaptureError
from vlmprune_runtime.schema import Cache, TextModel

LAST_HIDDEN = "last_hidden"  # (D,), normed: the tail's output before the language-model head
_NAMES = {"head": ("embeddings", ("hidden", "keys")), "tail": ("hidden", (LAST_HIDDEN,))}
_TOKENS, _CAPACITY = 6, 40  # example sizes of the dynamic dimensions: different, and neither 0 nor 1


class CachedStage(nn.Module):
    """`head` or `tail` with its cache buffers as inputs and outputs."""

    def __init__(self, stage: HeadStage | TailStage, text: TextModel) -> None:
        super().__init__()
        self.stage, self.text = stage, text

    def forward(self, hidden: Tensor, positions: Tensor, past_tokens: Tensor, past: Sequence[Tensor]) -> list[Tensor]:
        """The stage's outputs, then key and value buffer of each layer."""
        indices = self.stage.decoder.layer_indices
        buffers = {index: (past[2 * at], past[2 * at + 1]) for at, index in enumerate(indices)}
        total = (past_tokens + hidden.shape[0]).to(torch.int32)
        cache = GroupQueryCache(buffers, total, self.text)
        outputs = self.stage(hidden, positions, cache)
        return [*(outputs if isinstance(outputs, tuple) else (outputs,)), *cache.presents()]


@dataclass(frozen=True)
class Captured:
    """A captured stage, the names of its tensors and its cache."""

    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    cache: Cache | None = None


def capture_vision(staged: StagedModel) -> Captured:
    """Static: one image of the tower's size."""
    height_px, width_px = staged.adapter.image_size_px
    pixels = torch.zeros(1, 3, height_px, width_px)
    return Captured(_capture("vision", staged.vision, (pixels,), None), ("pixels",), ("visual",))


def capture_prune(staged: StagedModel) -> Captured:
    """Static: N tokens in, K out. Leaves the loop as soon as K are chosen."""
    text, (height, width) = staged.adapter.text_model, staged.adapter.grid
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(height * width, text.hidden_size, generator=generator)
    keys = torch.randn(height * width, text.kv_heads * text.head_dim, generator=generator)
    program = _capture("prune", staged.prune, (hidden, keys), None)
    return Captured(program, ("hidden", "keys"), ("kept", "fused", "order"))


def capture_decoder(staged: StagedModel, name: str) -> Captured:
    """`head` or `tail` as it stands, dynamic in tokens and cache capacity."""
    stage: HeadStage | TailStage = staged.modules()[name]  # type: ignore[assignment]
    text, layers = staged.adapter.text_model, len(stage.decoder.layer_indices)
    hidden = torch.zeros(_TOKENS, text.hidden_size)
    buffers = [torch.zeros(1, text.kv_heads, _CAPACITY, text.head_dim) for _ in range(2 * layers)]
    inputs = (hidden, torch.arange(_TOKENS), torch.zeros(1, dtype=torch.int32), buffers)
    dynamic = ({0: Dim.AUTO}, {0: Dim.AUTO}, None, [{2: Dim.AUTO}] * len(buffers))
    program = _capture(name, CachedStage(stage, text), inputs, dynamic)
    cache = _cache(text, stage.decoder.layer_indices)
    first, outputs = _NAMES[name]
    names = (first, "positions", "past_tokens", *cache.inputs)
    return Captured(program, names, (*outputs, *cache.outputs), cache)


def capture_tail(staged: StagedModel) -> Captured:
    """`tail` without the language-model head: that matrix is attached where it is stored."""
    lm_head, staged.tail.lm_head = staged.tail.lm_head, nn.Identity()
    try:
        return capture_decoder(staged, "tail")
    finally:
        staged.tail.lm_head = lm_head


def _cache(text: TextModel, layers: range) -> Cache:
    def names(prefix: str) -> tuple[str, ...]:
        return tuple(f"{prefix}_{kind}_{index}" for index in layers for kind in ("key", "value"))

    return Cache(
        layers=len(layers),
        kv_heads=text.kv_heads,
        head_dim=text.head_dim,
        dtype="float32",
        inputs=names("past"),
        outputs=names("present"),
    )


def _capture(name: str, module: nn.Module, inputs: tuple[Any, ...], dynamic: Any) -> ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(module, inputs, dynamic_shapes=dynamic, strict=False)
    except Exception as cause:
        raise CaptureError(name, cause) from cause
