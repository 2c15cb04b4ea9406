"""The five stages as exported programs: tensors in, tensors out, caches inside."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from vlmprune_export.backends.executorch.cache import CachedStage
from vlmprune_export.backends.executorch.tower import tower_attention
from vlmprune_export.staged import StagedModel
from vlmprune_runtime.errors import CaptureError
from vlmprune_runtime.schema import Tensor

TOKENS = "tokens"
_EXAMPLE_TOKENS = 6  # any length but 0 and 1


@dataclass(frozen=True)
class Captured:
    """A captured stage and what the manifest says of its tensors."""

    program: ExportedProgram
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def capture(staged: StagedModel, name: str, context_tokens: int) -> Captured:
    """The stage of that name; errors are `CaptureError`."""
    capture_stage = {"vision": _vision, "embed": _embed, "head": _head, "prune": _prune, "tail": _tail}[name]
    try:
        with torch.no_grad():
            return capture_stage(staged, context_tokens)
    except Exception as cause:
        raise CaptureError(name, cause) from cause


def _vision(staged: StagedModel, _: int) -> Captured:
    """Static: one image of the tower's size."""
    pixels = torch.zeros(1, 3, *staged.adapter.image_size_px)
    with tower_attention(staged.adapter.model):
        program = _export(staged.vision, {"pixels": pixels})
    return _described(program, {"pixels": pixels}, ("visual",))


def _embed(staged: StagedModel, context_tokens: int) -> Captured:
    token_ids = torch.zeros(_EXAMPLE_TOKENS, dtype=torch.int64)
    program = _export(staged.embed, {"token_ids": token_ids}, ({0: _tokens(context_tokens)},))
    return _described(program, {"token_ids": token_ids}, ("embeddings",), dynamic=True)


def _head(staged: StagedModel, context_tokens: int) -> Captured:
    return _decoder(staged, "head", "embeddings", ("hidden", "keys"), context_tokens)


def _tail(staged: StagedModel, context_tokens: int) -> Captured:
    return _decoder(staged, "tail", "hidden", ("logits",), context_tokens)


def _decoder(staged: StagedModel, name: str, first: str, outputs: tuple[str, ...], context_tokens: int) -> Captured:
    """Dynamic in tokens: one method serves prefill and decode."""
    text = staged.adapter.text_model
    module = CachedStage(staged.modules()[name], text, context_tokens)  # type: ignore[arg-type]
    inputs = {
        first: torch.zeros(_EXAMPLE_TOKENS, text.hidden_size),
        "positions": torch.arange(_EXAMPLE_TOKENS),
        "past_tokens": torch.zeros(1, dtype=torch.int32),
    }
    tokens = _tokens(context_tokens)
    program = _export(module, inputs, ({0: tokens}, {0: tokens}, None))
    return _described(program, inputs, outputs, dynamic=True)


def _prune(staged: StagedModel, _: int) -> Captured:
    """Static: N tokens in, K out. ExecuTorch has scan and cond, but no while_loop."""
    text, (height, width) = staged.adapter.text_model, staged.adapter.grid
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(height * width, text.hidden_size, generator=generator)
    keys = torch.randn(height * width, text.kv_heads * text.head_dim, generator=generator)
    before, staged.prune.loop = staged.prune.loop, "scan"
    try:
        program = _export(staged.prune, {"hidden": hidden, "keys": keys})
    finally:
        staged.prune.loop = before
    return _described(program, {"hidden": hidden, "keys": keys}, ("kept", "fused", "order"))


def _tokens(context_tokens: int) -> Any:
    return Dim(TOKENS, min=1, max=context_tokens)


def _export(module: nn.Module, inputs: dict[str, torch.Tensor], dynamic: Any = None) -> ExportedProgram:
    return torch.export.export(module, tuple(inputs.values()), dynamic_shapes=dynamic, strict=False)


def _described(
    program: ExportedProgram, inputs: dict[str, torch.Tensor], outputs: tuple[str, ...], *, dynamic: bool = False
) -> Captured:
    """With the tensors that go in and come out, the dynamic dimension by its name."""
    produced = [node.meta["val"] for node in program.graph.output_node().args[0]][-len(outputs) :]
    given = tuple(_tensor(name, value, dynamic and name != "past_tokens") for name, value in inputs.items())
    made = tuple(_tensor(name, value, False) for name, value in zip(outputs, produced, strict=True))
    return Captured(program, given, made)


def _tensor(name: str, value: torch.Tensor, dynamic: bool) -> Tensor:
    sizes: list[int | str] = [size if isinstance(size, int) else TOKENS for size in value.shape]
    if dynamic:
        sizes[0] = TOKENS
    return Tensor(name=name, dtype=str(value.dtype).removeprefix("torch."), shape=tuple(sizes))  # type: ignore[arg-type]
