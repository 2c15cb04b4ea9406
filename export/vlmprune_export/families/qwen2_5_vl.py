"""Qwen2.5-VL: a tower with windows over images of several shapes, and a decoder whose positions have three axes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.vision_utils import get_vision_position_ids, get_vision_window_index

from vlmprune_export.decoder_attention import ATTENTION
from vlmprune_export.families.family import DecoderTraits, ImageGrid, LayerKind
from vlmprune_export.families.text_model import check_text_model, dimensions_of, max_positions_of
from vlmprune_export.families.window_attention import WINDOW_ATTENTION
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema import Positions

TEXT_MODELS = ("qwen2_5_vl_text",)
ONE_GRID = ((16, 16),)
"""In merged visual tokens, where none is chosen; an export chooses by the processor's limits."""


class TowerOrder(NamedTuple):
    """What the tower knows of a grid: in which order it takes patches and gives tokens, their places, the windows.

    `patches` (P,) are rows of patches row by row, `tokens` (N,) bring the merged tokens back into rows; `cosines` and
    `sines` (P, dh) are of the places of the ordered patches, `windows` the lengths of the windows in patches.
    """

    patches: Tensor
    tokens: Tensor
    cosines: Tensor
    sines: Tensor
    windows: tuple[int, ...]


class Qwen25VlFamily:
    """`Qwen2_5_VLForConditionalGeneration`. Its grids are chosen when it is exported, in merged visual tokens."""

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration, grids: Sequence[tuple[int, int]] = ONE_GRID) -> None:
        text: Any = model.config.text_config
        check_text_model(text, "qwen2_5_vl", TEXT_MODELS)
        self.model: nn.Module = model
        self._tower, self._decoder = model.model.visual, model.model.language_model
        model.set_attn_implementation({"text_config": ATTENTION, "vision_config": WINDOW_ATTENTION})
        self.layers: nn.ModuleList = self._decoder.layers
        self.layer_kinds: tuple[LayerKind, ...] = tuple[LayerKind, ...]("full" for _ in self.layers)
        self.traits = DecoderTraits()
        self.norm: nn.Module = self._decoder.norm
        self.lm_head: nn.Linear = model.lm_head
        self._patches = _still(self._tower.patch_embed.proj)
        self.vision_modules: tuple[nn.Module, ...] = (self._patches, self._tower.blocks, self._tower.merger)
        self.projector: nn.Module = self._tower.merger
        self.tower_shapes: Mapping[str, tuple[int, ...]] = {}
        self.embed_modules: tuple[nn.Module, ...] = (self._decoder.embed_tokens,)
        side_px = self._tower.patch_size * self._tower.spatial_merge_size
        self.grids: tuple[ImageGrid, ...] = tuple(
            ImageGrid(height, width, height * side_px, width * side_px) for height, width in grids
        )
        self._orders = [_order(self._tower, grid) for grid in self.grids]
        self.positions = Positions(axes=3, image="grid")
        self.logit_cap: float | None = None
        self.text_model = dimensions_of(text)
        self.max_positions = max_positions_of(text)
        self.images = 2

    def features(self, pixels: Tensor, grid: int) -> Tensor:
        """Returns what tower and merger give for an image, row by row over the grid, (1, 3, h, w) -> (N, D)."""
        order = self._orders[grid]
        hidden = self._patches(pixels).flatten(2)[0].transpose(0, 1)
        hidden = hidden.index_select(0, order.patches.to(pixels.device))
        places = order.cosines.to(hidden), order.sines.to(hidden)
        whole = np.array([0, len(order.patches)])
        for nth, block in enumerate(self._tower.blocks):
            windows = None if nth in self._tower.fullatt_block_indexes else order.windows
            hidden = block(hidden, cu_seqlens=whole, position_embeddings=places, windows=windows)
        merged: Tensor = self._tower.merger(hidden)
        return merged.index_select(0, order.tokens.to(pixels.device))

    def read_tower(self, pixels: Tensor, grid: int, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Returns `features`; the tensors of this tower, whose rows are ordered by windows, are not shown."""
        if names:
            raise BadRequest("the tower of qwen2_5_vl shows nothing to pruners but its visual embeddings")
        return (self.features(pixels, grid),)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Returns the embeddings of text, (S,) -> (S, D)."""
        embeddings: Tensor = self._decoder.embed_tokens(token_ids)
        return embeddings

    def rotary(self, hidden: Tensor, positions: Tensor, kind: LayerKind) -> tuple[Tensor, Tensor]:
        """Returns the decoder's own rotary embedding, (1, S, D), (3, 1, S) -> 2 x (1, S, dh)."""
        cos_sin: tuple[Tensor, Tensor] = self._decoder.rotary_emb(hidden, positions)
        return cos_sin


def _still(patches: nn.Conv3d) -> nn.Conv2d:
    """Returns the embedding of patches for a still image: its moments are the same, so that their weights add up."""
    size = (patches.kernel_size[1], patches.kernel_size[2])
    still = nn.Conv2d(patches.in_channels, patches.out_channels, size, size, bias=False, device="meta")
    still.weight = nn.Parameter(patches.weight.detach().sum(2), requires_grad=False)
    return still


@torch.no_grad()
def _order(tower: Any, grid: ImageGrid) -> TowerOrder:
    """Returns the order that the tower's own functions give for a grid."""
    merge, patch_px = tower.spatial_merge_size, tower.patch_size
    shape = torch.tensor([[1, grid.height * merge, grid.width * merge]])
    places = get_vision_position_ids(shape, merge)  # (P, 2), block by block
    window, ends = get_vision_window_index(
        shape, spatial_merge_size=merge, window_size=tower.window_size, patch_size=patch_px
    )
    order = torch.arange(len(places)).view(-1, merge**2)[window].flatten()
    rows = places[order]
    cosines, sines = tower.rotary_pos_emb(tower.patch_embed.proj.weight, rows)
    return TowerOrder(
        rows[:, 0] * grid.width * merge + rows[:, 1], window.argsort(), cosines, sines, tuple(ends.diff().tolist())
    )
