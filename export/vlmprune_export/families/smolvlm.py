"""SmolVLM and Idefics3: a tower over square tiles, a projector that joins patches, a decoder of the Llama kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Idefics3ForConditionalGeneration, SmolVLMForConditionalGeneration

from vlmprune_export.decoder_attention import ATTENTION
from vlmprune_export.families.family import DecoderTraits, ImageGrid, LayerKind
from vlmprune_export.families.text_model import check_text_model, dimensions_of, max_positions_of
from vlmprune_export.families.tower import Tower
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema import Positions


class SmolVlmFamily:
    """`SmolVLMForConditionalGeneration` and `Idefics3ForConditionalGeneration`, whose modules have the same names.

    Every view of an image, a tile or the whole, is a square of `image_size` pixels. The projector joins
    `scale_factor` x `scale_factor` patches to one visual token.
    """

    def __init__(self, model: SmolVLMForConditionalGeneration | Idefics3ForConditionalGeneration) -> None:
        text: Any = model.config.text_config
        vision: Any = model.config.vision_config
        check_text_model(text, model.config.model_type)
        self.model: nn.Module = model
        self._tower, self._connector = model.model.vision_model, model.model.connector
        self._decoder = model.model.text_model
        model.set_attn_implementation({"text_config": ATTENTION})
        self.layers: nn.ModuleList = self._decoder.layers
        self.layer_kinds: tuple[LayerKind, ...] = tuple[LayerKind, ...]("full" for _ in self.layers)
        self.traits = DecoderTraits()
        self.norm: nn.Module = self._decoder.norm
        self.lm_head: nn.Linear = model.lm_head
        self.vision_modules: tuple[nn.Module, ...] = (self._tower, self._connector)
        self.projector: nn.Module = self._connector.modality_projection
        self.tower = Tower(self._tower, self.projector, -1, has_cls=False, join=self._join)
        self.tower_shapes: Mapping[str, tuple[int, ...]] = self.tower.widths(
            vision.hidden_size * model.config.scale_factor**2
        )
        self.embed_modules: tuple[nn.Module, ...] = (self._decoder.embed_tokens,)
        self.grids: tuple[ImageGrid, ...] = (_grid(model.config),)
        self.positions = Positions()
        self.logit_cap: float | None = None
        self.text_model = dimensions_of(text)
        self.max_positions = max_positions_of(text)
        self.images = 2
        self._places = _places(self._tower.embeddings, self.grids[0])

    def features(self, pixels: Tensor, grid: int) -> Tensor:
        """Returns what tower and projector give for one view without padding, (1, 3, h, w) -> (N, D)."""
        embeddings = self._tower.embeddings
        patches = embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
        states = patches + embeddings.position_embedding(self._places.to(pixels.device))
        states = self._tower.encoder(inputs_embeds=states, attention_mask=None).last_hidden_state
        features: Tensor = self._connector(self._tower.post_layernorm(states))
        return features[0]

    def read_tower(self, pixels: Tensor, grid: int, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Returns `features` and the tensors of the tower of those names, each with a row for every visual token."""
        return self.tower.read(lambda: self.features(pixels, grid), names)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Returns the embeddings of text, (S,) -> (S, D)."""
        embeddings: Tensor = self._decoder.embed_tokens(token_ids)
        return embeddings

    def rotary(self, hidden: Tensor, positions: Tensor, kind: LayerKind) -> tuple[Tensor, Tensor]:
        """Returns the decoder's own rotary embedding, (1, S, D), (1, S) -> 2 x (1, S, dh)."""
        cos_sin: tuple[Tensor, Tensor] = self._decoder.rotary_emb(hidden, positions)
        return cos_sin

    def _join(self, rows: Tensor) -> Tensor:  # (patches, c) -> (N, c)
        """Returns the mean over the patches of each visual token."""
        factor = self._connector.scale_factor
        shuffled: Tensor = self._connector.pixel_shuffle(rows[None], factor)[0]
        joined: Tensor = shuffled.view(shuffled.shape[0], factor**2, -1).mean(1)
        return joined


def _grid(config: Any) -> ImageGrid:
    vision, factor = config.vision_config, config.scale_factor
    patches, left = divmod(vision.image_size, vision.patch_size)
    if left or patches % factor:
        raise BadRequest(
            f"image_size {vision.image_size}, patch_size {vision.patch_size} and scale_factor {factor} of config.json; "
            "allowed: an image_size that is a multiple of patch_size * scale_factor"
        )
    side = patches // factor
    return ImageGrid(side, side, vision.image_size, vision.image_size)


@torch.no_grad()
def _places(embeddings: Any, grid: ImageGrid) -> Tensor:  # -> (1, patches)
    """Returns the rows of the table of positions that the tower takes for a view without padding.

    They are the same for every view, and the operators that find them (bucketize) are not on every target.
    """
    found = list[Tensor]()
    hook = embeddings.position_embedding.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    pixels = torch.zeros(1, 3, grid.height_px, grid.width_px).to(embeddings.patch_embedding.weight)
    size = embeddings.patch_size
    patches = torch.ones(1, grid.height_px // size, grid.width_px // size, dtype=torch.bool, device=pixels.device)
    embeddings(pixels, patches)
    hook.remove()
    return found[0]
