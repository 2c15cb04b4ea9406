"""Captures the stages as exported programs with tensors as inputs and outputs, and caches inside."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from vlmprune_export.backends.executorch.cache import SelfCachedStage
from vlmprune_export.backends.executorch.vision_attention import vision_attention
from vlmprune_export.pruners import Pruner
from vlmprune_export.pruners.mosaic import TilesPruner
from vlmprune_export.stage_modules import DecoderStage
from vlmprune_export.stage_table import StageEntry
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.errors import CaptureError


def capture(staged: StagedModel, entry: StageEntry, module: nn.Module, context_tokens: int) -> ExportedProgram:
    """Returns a stage with one of its modules; a decoder serves prefill and decode. Raises `CaptureError`."""
    vision = entry.runs_tower
    try:
        with torch.no_grad(), vision_attention(staged.family.model) if vision else nullcontext(), _scanning(module):
            return _capture(staged, entry, module, context_tokens)
    except Exception as cause:
        raise CaptureError(entry.name, cause) from cause


def _capture(staged: StagedModel, entry: StageEntry, module: nn.Module, context_tokens: int) -> ExportedProgram:
    tokens = {name: Dim(name, min=1, max=context_tokens) for name in ("tokens", "text_tokens")}
    dynamic: tuple[Any, ...] = tuple(_dynamic(tensor.shape, tokens) for tensor in entry.declared.inputs)
    if isinstance(module, TilesPruner):
        dynamic = (dynamic,)  # its tensors are one argument of variable length
    if isinstance(module, DecoderStage):
        module = SelfCachedStage(module, staged.family.text_model, context_tokens)
    examples = tuple(entry.examples().values())
    return torch.export.export(module.eval(), examples, dynamic_shapes=dynamic, strict=False)


def _dynamic(shape: Sequence[int | str], tokens: dict[str, Any]) -> dict[int, Any] | None:
    return {axis: tokens[size] for axis, size in enumerate(shape) if isinstance(size, str)} or None


@contextmanager
def _scanning(module: nn.Module) -> Iterator[None]:
    """Makes a pruner's loop a scan while the block runs: ExecuTorch has scan and cond, but no while_loop."""
    if not isinstance(module, Pruner):
        yield
        return
    before, module.control_flow = module.control_flow, "scan"
    try:
        yield
    finally:
        module.control_flow = before
