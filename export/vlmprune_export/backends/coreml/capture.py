"""Captures stages as exported programs of one length each, because Core ML takes functions for dynamic dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from vlmprune_export.backends.coreml.cache import PrefillCache, StateLayout
from vlmprune_export.backends.coreml.decompositions import DECOMPOSITIONS
from vlmprune_export.backends.coreml.function_lengths import Function
from vlmprune_export.backends.coreml.rotary_table import rotary_from_table
from vlmprune_export.pruners import Pruner
from vlmprune_export.pruners.fixed import FixedPruner
from vlmprune_export.stage_modules import DecoderStage
from vlmprune_export.stage_table import StageEntry
from vlmprune_runtime.errors import CaptureError
from vlmprune_runtime.schema import Input


@dataclass(frozen=True)
class CapturedFunction:
    """A captured function of a stage: its program, the tensors that it takes, names of its outputs, and its states."""

    program: ExportedProgram
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    states: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


class WithLeadingOne(nn.Module):
    """A stage that takes and gives rows with a leading dimension of one."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, values: Tensor) -> Tensor:  # (1, S, ...) -> (1, S, ...)
        """Returns the stage's output."""
        output: Tensor = self.stage(values[0])
        return output[None]


class DecoderPrefill(nn.Module):
    """A decoder stage over a whole prompt, which may be padded at its end."""

    def __init__(self, stage: DecoderStage, layout: StateLayout) -> None:
        super().__init__()
        self.stage, self.layout = stage, layout
        layout.add_to(self)

    def forward(self, rows: Tensor, positions: Tensor, last_row: Tensor | None = None) -> tuple[Tensor, ...]:
        """Returns the stage's outputs with a leading one, (1, S, D), (1, S), (1,) -> ...

        `last_row` is the index of the last real token.
        """
        cache = PrefillCache()
        outputs = _outputs(self.stage, rows[0], positions[0], cache, last_row)
        self.layout.write(self, cache.rows)
        return tuple(output[None] for output in outputs)


class DecoderDecode(nn.Module):
    """A decoder stage over tokens behind `past_tokens` others, which may be padded at their end."""

    def __init__(self, stage: DecoderStage, layout: StateLayout) -> None:
        super().__init__()
        self.stage, self.layout = stage, layout
        layout.add_to(self)

    def forward(
        self, rows: Tensor, positions: Tensor, past_tokens: Tensor, last_row: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Returns the stage's outputs with a leading one, (1, T, D), (1, T), (1,), (1,) -> ...

        `last_row` is the index of the last real token of several.
        """
        cache = self.layout.decode_cache(self, past_tokens)
        outputs = _outputs(self.stage, rows[0], positions[0], cache, last_row)
        self.layout.write(self, cache.rows, past_tokens)
        return tuple(output[None] for output in outputs)


def _outputs(
    stage: DecoderStage, rows: Tensor, positions: Tensor, cache: Any, last_row: Tensor | None
) -> tuple[Tensor, ...]:
    """Returns what a stage gives; its logits are those of the last real row, if there may be others."""
    if last_row is None:
        outputs: tuple[Tensor, ...] = stage(rows, positions, cache)
        return outputs
    hidden = stage.hidden(rows, positions, cache)
    return (stage.logits(hidden.index_select(0, last_row))[0],)


def capture(
    entry: StageEntry, inputs: tuple[Input, ...], function: Function, *, layout: StateLayout | None, unrolled: bool
) -> CapturedFunction:
    """Returns one function of a stage, which takes those inputs. Raises `CaptureError`.

    `layout` is that of the caches, if the stage has any.
    """
    examples = {tensor.name: _example(tensor, function) for tensor in inputs}
    try:
        with torch.no_grad():
            if layout is not None:
                return _decoder(entry, examples, function, layout)
            if isinstance(entry.module, Pruner):
                return capture_pruner(entry.module, examples, unrolled=unrolled)
            module = WithLeadingOne(entry.module) if entry.declared.role == "embed" else entry.module
            return _program(module, examples, entry.output_names)
    except Exception as cause:
        raise CaptureError(entry.name, cause) from cause


def capture_pruner(pruner: Pruner, examples: Mapping[str, Tensor], *, unrolled: bool) -> CapturedFunction:
    """Returns a pruner: N tokens in, K out."""
    tokens = examples["hidden"].shape[0] if "hidden" in examples else None
    if tokens is not None and tokens <= getattr(pruner, "keep", 0):  # Core ML cannot give back an input as it is
        pruner, examples = FixedPruner(range(tokens), pruner.settings), {"hidden": examples["hidden"]}
    before, pruner.control_flow = pruner.control_flow, "unrolled" if unrolled else "while-cond"
    try:
        return _program(pruner, examples, pruner.outputs)
    finally:
        pruner.control_flow = before


def _decoder(
    entry: StageEntry, examples: Mapping[str, Tensor], function: Function, layout: StateLayout
) -> CapturedFunction:
    """Captures the prefill of a fixed number of tokens, or the decode of some behind others."""
    stage = entry.decoder
    module = (DecoderDecode if function.phase == "decode" else DecoderPrefill)(stage, layout)
    with rotary_from_table(stage, layout.capacity_tokens):
        return _program(module, examples, entry.output_names, layout)


def _example(tensor: Input, function: Function) -> Tensor:
    """Returns an example in the graph's shape: distinct features for a pruner to choose from, zeros for indices."""
    free = {"tokens": function.tokens or 1, "text_tokens": function.text_tokens or 1}
    shape = [size if isinstance(size, int) else free[size] for size in tensor.in_graph]
    if tensor.dtype == "int32":
        return torch.zeros(shape, dtype=torch.int32)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _program(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...], layout: StateLayout | None = None
) -> CapturedFunction:
    states = {} if layout is None else dict.fromkeys(layout.names, layout.shape)
    program = torch.export.export(module.eval(), tuple(inputs.values()), strict=False)
    return CapturedFunction(program.run_decompositions(dict(DECOMPOSITIONS)), inputs, outputs, states)
