"""Exports the unpruned model in the layout that ExecuTorch's own multimodal runner loads, as a baseline.

Methods `vision_encoder` (1, 3, H, W) -> (1, N, D), `token_embedding` (1, S) -> (1, S, D) and
`text_decoder` (1, S, D), cache_position (1,) -> (1, V): logits of the last token, positions counted on from
`cache_position`, one cache for all layers. Operators, quantisation and delegates are those of the stages.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vlmprune_export.backends.executorch.cache import SelfCachedStage
from vlmprune_export.backends.executorch.quantise import quantised
from vlmprune_export.backends.executorch.vision_attention import vision_attention
from vlmprune_export.stage_modules import DecoderStage
from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.errors import CaptureError

FILE = "stock.pte"
METHODS = ("vision_encoder", "token_embedding", "text_decoder")
_EXAMPLE_TOKENS = 6  # any length but 0 and 1


class BatchOfOne(nn.Module):
    """A stage with a batch of one around it."""

    def __init__(self, stage: nn.Module, *, inputs: bool) -> None:
        """`inputs` says that the stage's input has no batch either."""
        super().__init__()
        self.stage, self.inputs = stage, inputs

    def forward(self, values: Tensor) -> Tensor:  # (1, ...) -> (1, ...)
        """Returns the stage's output with a batch of one."""
        outputs: Tensor | tuple[Tensor, ...] = self.stage(values[0] if self.inputs else values)
        return (outputs if isinstance(outputs, Tensor) else outputs[0])[None]


class StockDecoder(nn.Module):
    """All decoder layers, norm and language-model head over one cache."""

    def __init__(self, staged: StagedModel, context_tokens: int) -> None:
        super().__init__()
        family = staged.family
        whole = DecoderStage(family, 0, len(family.layers))
        whole.lm_head = staged.tail.decoder.lm_head  # quantised or not, as the stage has it
        self.cached = SelfCachedStage(whole, family.text_model, context_tokens)

    def forward(self, embeddings: Tensor, cache_position: Tensor) -> Tensor:  # (1, S, D), (1,) -> (1, V)
        """Returns the logits of the last token."""
        positions = torch.arange(embeddings.shape[1]) + cache_position
        (logits,) = self.cached(embeddings[0], positions, cache_position)
        return logits[None]  # type: ignore[no-any-return]


def capture_stock(staged: StagedModel, plan: Mapping[str, str], context_tokens: int) -> dict[str, ExportedProgram]:
    """Returns the three methods by name. Raises `CaptureError`."""
    text, grid = staged.family.text_model, staged.family.grids[0]
    pixels = torch.zeros(1, 3, grid.height_px, grid.width_px)
    token_ids = torch.zeros(1, _EXAMPLE_TOKENS, dtype=torch.int64)
    embeddings = torch.zeros(1, _EXAMPLE_TOKENS, text.hidden_size)
    tokens = {1: Dim("tokens", min=1, max=context_tokens)}
    with _quantised(staged, plan), torch.no_grad():
        with vision_attention(staged.family.model):
            vision = _export(
                "vision_encoder", BatchOfOne(staged.stages["vision"].module, inputs=False), (pixels,), None
            )
        embed = _export(
            "token_embedding", BatchOfOne(staged.stages["embed"].module, inputs=True), (token_ids,), (tokens,)
        )
        decoder = StockDecoder(staged, context_tokens)
        start = torch.zeros(1, dtype=torch.int64)
        text_decoder = _export("text_decoder", decoder, (embeddings, start), (tokens, None))
    return dict(zip(METHODS, (vision, embed, text_decoder), strict=True))


@contextmanager
def _quantised(staged: StagedModel, plan: Mapping[str, str]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, kind in plan.items():
            stack.enter_context(quantised(staged, name, kind))
        yield


def _export(name: str, module: nn.Module, inputs: tuple[Tensor, ...], dynamic: Any) -> ExportedProgram:
    try:
        return torch.export.export(module.eval(), inputs, dynamic_shapes=dynamic, strict=False)
    except Exception as cause:
        raise CaptureError(name, cause) from cause
