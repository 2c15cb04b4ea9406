"""Stages as exported programs of one length each: Core ML has functions where other targets have free dimensions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from vlmprune_export.backends.coreml.cache import Layout, PrefillCache
from vlmprune_export.backends.coreml.decompositions import DECOMPOSITIONS
from vlmprune_export.backends.coreml.rotary import from_table
from vlmprune_export.backends.coreml.select_op import selecting_at_once
from vlmprune_export.pruners import Pruner
from vlmprune_export.pruners.fixed import FixedPruner
from vlmprune_export.staged import StagedModel
from vlmprune_export.stages import HeadStage, TailStage
from vlmprune_runtime.errors import CaptureError


@dataclass(frozen=True)
class Captured:
    """One function of a stage: its program, the tensors it takes, the names of those it gives, and its states."""

    program: ExportedProgram
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    states: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class HeadPrefill(nn.Module):
    """`head` over a whole prompt."""

    def __init__(self, stage: HeadStage, layout: Layout) -> None:
        super().__init__()
        self.stage, self.layout = stage, layout
        layout.add_to(self)

    def forward(self, embeddings: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """(1, S, D), (1, S) -> (1, S, D), (1, S, Dk)."""
        cache = PrefillCache()
        hidden, keys = self.stage(embeddings[0], positions[0], cache)
        self.layout.write(self, cache.rows)
        return hidden[None], keys[None]


class HeadDecode(nn.Module):
    """`head` over one token."""

    def __init__(self, stage: HeadStage, layout: Layout) -> None:
        super().__init__()
        self.stage, self.layout = stage, layout
        layout.add_to(self)

    def forward(self, embeddings: Tensor, positions: Tensor, slot: Tensor) -> tuple[Tensor, Tensor]:
        """(1, 1, D), (1, 1), (1,) -> (1, 1, D), (1, 1, Dk)."""
        cache = self.layout.decode_cache(self, slot)
        hidden, keys = self.stage(embeddings[0], positions[0], cache)
        self.layout.write(self, cache.rows, slot)
        return hidden[None], keys[None]


class TailPrefill(nn.Module):
    """`tail` over a whole prompt; the last real token is told, for padding follows it."""

    def __init__(self, stage: TailStage, layout: Layout) -> None:
        super().__init__()
        self.stage, self.layout = stage, layout
        layout.add_to(self)

    def forward(self, hidden: Tensor, positions: Tensor, last: Tensor) -> Tensor:
        """(1, S, D), (1, S), (1,) -> (1, V)."""
        cache = PrefillCache()
        rows = self.stage.decoder(hidden[0], positions[0], cache)
        self.layout.write(self, cache.rows)
        return _logits(self.stage, rows.index_select(0, last))


class TailDecode(nn.Module):
    """`tail` over one token."""

    def __init__(self, stage: TailStage, layout: Layout) -> None:
        super().__init__()
        self.stage, self.layout = stage, layout
        layout.add_to(self)

    def forward(self, hidden: Tensor, positions: Tensor, slot: Tensor) -> Tensor:
        """(1, 1, D), (1, 1), (1,) -> (1, V)."""
        cache = self.layout.decode_cache(self, slot)
        row = self.stage.decoder(hidden[0], positions[0], cache)
        self.layout.write(self, cache.rows, slot)
        return _logits(self.stage, row)


class Embed(nn.Module):
    """`embed` with a leading dimension of one."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, token_ids: Tensor) -> Tensor:
        """(1, S) -> (1, S, D)."""
        return self.stage(token_ids)  # type: ignore[no-any-return]


def _logits(stage: TailStage, row: Tensor) -> Tensor:
    logits: Tensor = stage.lm_head(stage.norm(row))
    return logits


def capture(
    staged: StagedModel, name: str, tokens: int | None, *, layout: Layout | None, unrolled: bool
) -> Captured:  # fmt: skip
    """One function of the stage of that name; errors are `CaptureError`.

    `tokens` 1 is decode, None the only length there is; `layout` is that of the caches, if the stage has any.
    """
    try:
        with torch.no_grad():
            if layout is not None and tokens is not None:
                return _decoder(staged, name, tokens, layout)
            if name == "embed":
                return _program(Embed(staged.embed), {"token_ids": _indices(tokens)}, ("embeddings",))
            return _vision(staged) if name == "vision" else _prune(staged, unrolled)
    except Exception as cause:
        raise CaptureError(name, cause) from cause


def _vision(staged: StagedModel) -> Captured:
    """One image of the tower's size."""
    pixels = torch.zeros(1, 3, *staged.adapter.image_size_px)
    return _program(staged.vision, {"pixels": pixels}, ("visual",))


def _prune(staged: StagedModel, unrolled: bool) -> Captured:
    text = staged.adapter.text_model
    widths = (text.hidden_size, text.kv_heads * text.head_dim)
    return capture_pruner(staged.prune, staged.adapter.grid, widths, unrolled=unrolled)


def capture_pruner(pruner: Pruner, grid: tuple[int, int], widths: tuple[int, int], *, unrolled: bool) -> Captured:
    """N tokens in, K out; `widths` are those of hidden states and keys."""
    generator = torch.Generator().manual_seed(0)
    hidden, keys = (torch.randn(grid[0] * grid[1], width, generator=generator) for width in widths)
    if grid[0] * grid[1] <= getattr(pruner, "keep", 0):  # Core ML cannot give back an input as it is
        pruner = FixedPruner(range(grid[0] * grid[1]), pruner.settings)
    with selecting_at_once(pruner, grid=grid, unrolled=unrolled):
        return _program(pruner, {"hidden": hidden, "keys": keys}, ("kept", "fused", "order"))


def _decoder(staged: StagedModel, name: str, tokens: int, layout: Layout) -> Captured:
    """Prefill of so many tokens, or decode of one."""
    stage: HeadStage | TailStage = staged.modules()[name]  # type: ignore[assignment]
    first, outputs = ("embeddings", ("hidden", "keys")) if name == "head" else ("hidden", ("logits",))
    rows = torch.zeros(1, tokens, staged.adapter.text_model.hidden_size)
    inputs = {first: rows, "positions": _indices(tokens)}
    if tokens == 1:
        inputs["slot"] = torch.zeros(1, dtype=torch.int32)
    elif name == "tail":
        inputs["last"] = torch.zeros(1, dtype=torch.int32)
    module = _MODULES[name, tokens == 1](stage, layout)
    with from_table(stage.decoder, layout.capacity_tokens):
        return _program(module, inputs, outputs, layout)


_MODULES: Mapping[tuple[str, bool], Callable[..., nn.Module]] = {
    ("head", False): HeadPrefill,
    ("head", True): HeadDecode,
    ("tail", False): TailPrefill,
    ("tail", True): TailDecode,
}


def _indices(tokens: int | None) -> Tensor:
    return torch.zeros(1, tokens or 1, dtype=torch.int32)


def _program(
    module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...], layout: Layout | None = None
) -> Captured:
    states = {} if layout is None else dict.fromkeys(layout.names, layout.shape)
    program = torch.export.export(module.eval(), tuple(inputs.values()), strict=False)
    return Captured(program.run_decompositions(dict(DECOMPOSITIONS)), inputs, outputs, states)
