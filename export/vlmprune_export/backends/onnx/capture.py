"""Captures stages for the ONNX exporter, with caches among their input and output tensors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vlmprune_export.backends.onnx.cache import GroupQueryCache
from vlmprune_export.pruners.mosaic import TilesPruner
from vlmprune_export.stage_modules import DecoderStage
from vlmprune_export.stage_table import StageEntry
from vlmprune_runtime.errors import CaptureError
from vlmprune_runtime.schema import Cache

LAST_HIDDEN = "last_hidden"  # (D,), normed: the last stage's output before the language-model head
_EXAMPLE_CAPACITY = 40  # different from the example's tokens, and neither 0 nor 1


class CallerCachedStage(nn.Module):
    """A decoder stage with its cache buffers as inputs and outputs."""

    def __init__(self, stage: DecoderStage) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, rows: Tensor, positions: Tensor, past_tokens: Tensor, *rest: Any) -> list[Tensor]:
        """Returns the stage's outputs, then key and value buffer of each layer; the buffers are the last argument."""
        *extra, past = rest
        indices = self.stage.layer_indices
        buffers = {index: (past[2 * at], past[2 * at + 1]) for at, index in enumerate(indices)}
        total = (past_tokens + rows.shape[0]).to(torch.int32)
        cache = GroupQueryCache(buffers, total)
        return [*self.stage(rows, positions, cache, *extra), *cache.presents()]


@dataclass(frozen=True)
class CapturedStage:
    """A captured stage, the names of its tensors in order, and its cache; `of_text` are the inputs by text token."""

    program: ExportedProgram
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    cache: Cache | None = None
    of_text: tuple[str, ...] = ()


def capture(entry: StageEntry, module: nn.Module) -> CapturedStage:
    """Returns the stage of a row of the table, with one of its modules. Raises `CaptureError`."""
    if isinstance(module, DecoderStage):
        return _capture_decoder(entry, module)
    examples = entry.examples()
    dynamic: tuple[Any, ...] = tuple(_dynamic(tensor.shape) for tensor in entry.declared.inputs)
    if isinstance(module, TilesPruner):
        dynamic = (dynamic,)  # its tensors are one argument of variable length
    program = _capture(entry.name, module, tuple(examples.values()), dynamic)
    of_text = tuple(tensor.name for tensor in entry.declared.inputs if "text_tokens" in tensor.shape)
    return CapturedStage(program, tuple(examples), entry.output_names, of_text=of_text)


def capture_without_head(entry: StageEntry) -> CapturedStage:
    """Returns the last stage without the language-model head: that matrix is attached where it is stored."""
    with _headless(entry.decoder):
        captured = capture(entry, entry.module)
    return CapturedStage(captured.program, captured.inputs, (LAST_HIDDEN, *captured.outputs[1:]), captured.cache)


def _capture_decoder(entry: StageEntry, module: DecoderStage) -> CapturedStage:
    """Captures with free numbers of tokens and of cache rows, so that one graph serves prefill and decode."""
    declared = entry.declared.cache
    assert declared is not None
    cache = _caller_cache(declared)
    examples = entry.examples()
    buffers = [torch.zeros(1, cache.kv_heads, _EXAMPLE_CAPACITY, cache.head_dim) for _ in cache.inputs]
    first, rest = 3, [*(_dynamic(tensor.shape) for tensor in entry.declared.inputs), [{2: Dim.AUTO}] * len(buffers)]
    dynamic = (*rest[:first], tuple(rest[first:]))  # those behind the first three are one argument of variable length
    program = _capture(entry.name, CallerCachedStage(module), (*examples.values(), buffers), dynamic)
    return CapturedStage(program, (*examples, *cache.inputs), (*entry.output_names, *cache.outputs), cache)


def _caller_cache(declared: Cache) -> Cache:
    """Returns the cache with a key and a value buffer of each layer among the graph's tensors."""

    def names(prefix: str) -> tuple[str, ...]:
        return tuple(f"{prefix}_{kind}_{layer.layer}" for layer in declared.layers for kind in ("key", "value"))

    update = {"owner": "caller", "capacity_tokens": None, "inputs": names("past"), "outputs": names("present")}
    return declared.model_copy(update=update)


@contextmanager
def _headless(stage: DecoderStage) -> Iterator[None]:
    """Ends the stage with its norm while the block runs."""
    before = stage.lm_head, stage.logit_cap
    stage.lm_head, stage.logit_cap = nn.Identity(), None
    try:
        yield
    finally:
        stage.lm_head, stage.logit_cap = before


def _dynamic(shape: Sequence[int | str]) -> dict[int, Any] | None:
    return {axis: Dim.AUTO for axis, size in enumerate(shape) if isinstance(size, str)} or None


def _capture(name: str, module: nn.Module, inputs: tuple[Any, ...], dynamic: Any) -> ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic, strict=False)
    except Exception as cause:
        raise CaptureError(name, cause) from cause
