"""LLaVA-1.5-style models: a vision tower, an MLP projector, a decoder of the Llama kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from vlmprune_export.decoder_attention import ATTENTION
from vlmprune_export.families.dropping_tower import DroppingTower
from vlmprune_export.families.family import DecoderTraits, ImageGrid, LayerKind
from vlmprune_export.families.position_tables import PositionTable
from vlmprune_export.families.text_model import check_text_model, dimensions_of, max_positions_of
from vlmprune_export.families.tower import Tower
from vlmprune_runtime.errors import BadRequest, short_repr
from vlmprune_runtime.schema import Positions

NATIVE_SIZES = ("pixtral",)  # towers whose features follow each image's own size


class LlavaFamily:
    """`LlavaForConditionalGeneration` with a square grid of patches and one rope for all layers."""

    def __init__(self, model: LlavaForConditionalGeneration, smaller: Sequence[tuple[int, int]] = ()) -> None:
        """`smaller` grids than the tower's own are reached by interpolating its position embeddings."""
        text: Any = model.config.text_config
        vision: Any = model.config.vision_config
        check_text_model(text, "llava")
        self.model: nn.Module = model
        self._llava = model
        model.set_attn_implementation({"text_config": ATTENTION})
        decoder = model.model.language_model
        self.layers: nn.ModuleList = decoder.layers
        self.layer_kinds: tuple[LayerKind, ...] = tuple[LayerKind, ...]("full" for _ in decoder.layers)
        self.traits = DecoderTraits()
        self.norm: nn.Module = decoder.norm
        self.lm_head: nn.Linear = model.lm_head
        self.vision_modules: tuple[nn.Module, ...] = (model.model.vision_tower, model.model.multi_modal_projector)
        self.embed_modules: tuple[nn.Module, ...] = (decoder.embed_tokens,)
        patch_px, prefix = _pair(vision.patch_size), _prefix(model.config)
        self.grids: tuple[ImageGrid, ...] = (
            ImageGrid(*_grid(model.config), *_pair(vision.image_size), prefix),
            *(ImageGrid(high, wide, high * patch_px[0], wide * patch_px[1], prefix) for high, wide in smaller),
        )
        self._position_tables = [
            PositionTable(model.model.vision_tower, grid.height_px, grid.width_px) for grid in self.grids[1:]
        ]
        self.projector: nn.Module = model.model.multi_modal_projector
        self.tower = Tower(
            model.model.vision_tower, self.projector, _layers_of_features(model.config)[-1], has_cls=_has_cls(vision)
        )  # fmt: skip
        self.dropping_tower = DroppingTower(model.model.vision_tower, self.tower, _layers_of_features(model.config))
        self.tower_shapes: Mapping[str, tuple[int, ...]] = self.tower.widths(
            len(_layers_of_features(model.config)) * vision.hidden_size
        )
        self.positions = Positions()
        self.logit_cap: float | None = None
        self.text_model = dimensions_of(text)
        self.max_positions = max_positions_of(text)
        self.images = 1

    def features(self, pixels: Tensor, grid: int) -> Tensor:
        """Returns what tower, feature layers and projector give as Hugging Face runs them, (1, 3, h, w) -> (N, D)."""
        if not grid:
            features: Tensor = self._llava.model.get_image_features(pixels, return_dict=True).pooler_output[0]
            return features
        table = self._position_tables[grid - 1]
        with table.used():
            made = self._llava.model.get_image_features(pixels, return_dict=True, **table.options)
        smaller: Tensor = made.pooler_output[0]
        return smaller

    def read_tower(self, pixels: Tensor, grid: int, names: Sequence[str]) -> tuple[Tensor, ...]:
        """Returns `features` and the tensors of the tower of those names, each with a row for every visual token."""
        return self.tower.read(lambda: self.features(pixels, grid), names)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Returns the embeddings of text, (S,) -> (S, D)."""
        embeddings: Tensor = self._llava.get_input_embeddings()(token_ids)
        return embeddings

    def rotary(self, hidden: Tensor, positions: Tensor, kind: LayerKind) -> tuple[Tensor, Tensor]:
        """Returns the decoder's own rotary embedding, (1, S, D), (1, S) -> 2 x (1, S, dh)."""
        cos_sin: tuple[Tensor, Tensor] = self._llava.model.language_model.rotary_emb(hidden, positions)
        return cos_sin


def _grid(config: Any) -> tuple[int, int]:  # -> (height, width) in patches
    vision = config.vision_config
    if vision.model_type in NATIVE_SIZES:
        raise BadRequest(
            f"vision tower {vision.model_type!r} has a grid of each image's own size, which is not supported; "
            "allowed: towers with one grid for all images, such as clip_vision_model, siglip_vision_model or dinov2"
        )
    height_px, width_px = _pair(vision.image_size)
    patch_height_px, patch_width_px = _pair(vision.patch_size)
    if config.vision_feature_select_strategy == "default" and vision.model_type == "siglip_vision_model":
        raise BadRequest(
            "vision_feature_select_strategy 'default' drops a patch of a tower without CLS; allowed: 'full'"
        )
    return height_px // patch_height_px, width_px // patch_width_px


def _prefix(config: Any) -> int:
    """Counts the rows of features before the patches: the CLS row where the strategy keeps it, and register tokens."""
    vision = config.vision_config
    kept_cls = int(_has_cls(vision) and config.vision_feature_select_strategy == "full")
    return kept_cls + int(getattr(vision, "num_register_tokens", 0) or 0)


def _has_cls(vision: Any) -> bool:
    return bool(vision.model_type != "siglip_vision_model")


def _layers_of_features(config: Any) -> tuple[int, ...]:
    """Returns the hidden states of the tower that make its features, 0 being the embedding of patches.

    Raises `BadRequest` for those that the tower does not have, and for a 0 that is not in a list, which transformers
    takes for none.
    """
    layers, most = config.vision_feature_layer, int(config.vision_config.num_hidden_layers)
    several = tuple(layers) if isinstance(layers, list | tuple) else (layers,)
    if layers == 0 or not several or not all(type(one) is int and -most - 1 <= one <= most for one in several):
        raise BadRequest(
            f"vision_feature_layer: got {short_repr(layers)}; allowed: {-most - 1} to -1, 1 to {most}, or a list of "
            f"such, for the vision tower has {most} layers"
        )
    return several


def _pair(size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
