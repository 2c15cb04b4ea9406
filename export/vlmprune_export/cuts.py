"""Plans where visual tokens are dropped, from a user's options, for a family's grids and layers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from vlmprune_export.families import Family
from vlmprune_export.families.family import DropsInTower
from vlmprune_export.pruners import ModelParts, Need, Place, Pruner, build_pruner, pruner_kind, pruner_name
from vlmprune_export.pruners.mosaic import TilesPruner, order_of_tiles
from vlmprune_export.pruners.needs import TOWER_TENSORS, CutPlace, TensorName
from vlmprune_export.pruners.pruner import KEPT
from vlmprune_export.pruners.resize import RESIZE
from vlmprune_export.pruners.settings import read_settings
from vlmprune_runtime.errors import BadRequest

DEFAULT_RATE = 0.889  # 64 of 576, the paper's hardest setting
PRUNE = "prune"
"""The name of a method's last prune stage; an earlier one is called by its place as well."""


@dataclass(frozen=True)
class PruneOptions:
    """The pruner, the decoder layer it runs before, how many visual tokens stay, and the method's own settings.

    Layer 0 is the language model's input; None stands for the method's own choice. `keep` is for every grid, or for
    grids of so many visual tokens each. `mosaics` are the (rows, columns) of tiles that are pruned together; without
    them every view is pruned on its own.
    """

    method: str = "vlm-pruner"
    layer: int | None = None
    keep: int | Mapping[int, int] | None = None
    rate: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    mosaics: tuple[tuple[int, int], ...] = ()

    def keep_of(self, visual_tokens: int) -> int:
        """Returns K, from `keep` or as round(N * (1 - rate)); 88.9 % of 576 is 64. Raises `BadRequest`.

        >>> PruneOptions(rate=0.889).keep_of(576)
        64
        """
        if self.keep is not None and self.rate is not None:
            raise BadRequest("give keep or rate, not both")
        if self.rate is not None and not 0 <= self.rate < 1:
            raise BadRequest(f"rate: got {self.rate}; allowed: 0 <= rate < 1")
        rate = DEFAULT_RATE if self.rate is None else self.rate
        requested = self.keep if isinstance(self.keep, int | None) else self.keep[visual_tokens]
        keep = round(visual_tokens * (1 - rate)) if requested is None else requested
        if not 1 <= keep <= visual_tokens:
            raise BadRequest(f"keep: got {keep}; allowed: 1 to {visual_tokens} (the image's visual tokens)")
        return keep


@dataclass(frozen=True)
class PlannedCut:
    """A cut: its stage's name, where it stands, and per grid its pruner and the tokens before and after it.

    Behind the pruners of the grids, `modules` has those of the mosaics.
    """

    stage: str
    at: CutPlace
    layer: int
    modules: tuple[Pruner, ...]
    tokens: tuple[int, ...]
    keep: tuple[int, ...]
    mosaics: tuple[tuple[int, int], ...] = ()

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Returns the tokens before and after the cut, per grid and then per mosaic, whose tiles are on the first."""
        tiles = (rows * columns for rows, columns in self.mosaics)
        grids = zip(self.tokens, self.keep, strict=True)
        return (*grids, *((count * self.tokens[0], count * self.keep[0]) for count in tiles))

    @property
    def needs(self) -> tuple[Need, ...]:
        """Returns the tensors that the pruner reads."""
        return self.modules[0].needs


def plan_cuts(family: Family, options: PruneOptions, context_tokens: int | None = None) -> tuple[PlannedCut, ...]:
    """Returns the cuts of a method on a family, None standing for a context of all positions that the model has.

    Raises `BadRequest` for a place that the method cannot stand at.
    """
    if options.method == RESIZE:
        return ()
    kind = pruner_kind(options.method)
    layer = kind.layer(len(family.layers)) if options.layer is None else options.layer
    _check_layer(family, layer)
    options = replace(options, layer=layer)
    places = kind.places(read_settings(kind.settings, options.method, options.settings), layer)
    tokens, parts = tuple(grid.tokens for grid in family.grids), model_parts(family, context_tokens)
    cuts = list[PlannedCut]()
    for place in places:
        cuts.append(_planned(family, options, place, tokens, parts))
        tokens = cuts[-1].keep
    return (*(replace(cut, stage=f"{PRUNE}_{cut.at}") for cut in cuts[:-1]), cuts[-1])


def mean_of_options(family: Family, options: PruneOptions) -> float:
    """Returns the mean number of visual tokens over all decoder layers, of a view on the first grid.

    It builds no pruner, so that many K can be tried. Raises `BadRequest` as `plan_cuts` does.
    """
    kind = pruner_kind(options.method)
    layer = kind.layer(len(family.layers)) if options.layer is None else options.layer
    tokens = [family.grids[0].tokens]
    places = kind.places(read_settings(kind.settings, options.method, options.settings), layer)
    for place in places:
        tokens.append(_keep(options, place, family.grids[0].tokens, tokens[-1]))
    layers = [layer if place.at == "layer" else 0 for place in places]
    return mean_visual_tokens(tokens, layers, len(family.layers))


def mean_visual_tokens(tokens: Sequence[float], cut_layers: Sequence[int], layers: int) -> float:
    """Returns the mean over all decoder layers of the visual tokens before, between and behind cuts.

    >>> mean_visual_tokens([576, 64], [2], 32)
    96.0
    """
    borders = [0, *cut_layers, layers]
    return sum(count * (end - start) for count, (start, end) in zip(tokens, pairwise(borders), strict=True)) / layers


def pruner_settings(cuts: tuple[PlannedCut, ...]) -> dict[str, Any]:
    """Returns every setting of the method, defaults included."""
    return asdict(cuts[-1].modules[0].settings) if cuts else {}


def _planned(
    family: Family, options: PruneOptions, place: Place, tokens: tuple[int, ...], parts: ModelParts
) -> PlannedCut:
    whole = tuple(grid.tokens for grid in family.grids)
    keep = tuple(_keep(options, place, *counts) for counts in zip(whole, tokens, strict=True))
    modules = []
    for grid, count, kept in zip(family.grids, tokens, keep, strict=True):
        # Behind another cut the tokens lie on no grid any more.
        shape = (grid.height, grid.width) if count == grid.tokens else (1, count)
        modules.append(_built(options, place, shape, kept, parts))
    _check_needs(family, options, place, {need.tensor for need in modules[0].needs})
    modules += _of_tiles(family, options, place, tokens[0], keep[0], parts)
    layer = options.layer if place.at == "layer" else 0
    assert layer is not None
    return PlannedCut(PRUNE, place.at, layer, tuple(modules), tokens, keep, options.mosaics)


def _built(options: PruneOptions, place: Place, shape: tuple[int, int], keep: int, parts: ModelParts) -> Pruner:
    return build_pruner(options.method, grid=shape, keep=keep, settings=options.settings, at=place.at, parts=parts)


def _of_tiles(
    family: Family, options: PruneOptions, place: Place, tokens: int, keep: int, parts: ModelParts
) -> list[Pruner]:
    """Returns the pruner of each mosaic, which keeps as much as its tiles would one by one."""
    pruners, grid = list[Pruner](), family.grids[0]
    for rows, columns in options.mosaics:
        tiles = rows * columns
        shape, order = (1, tiles * tokens), torch.arange(tiles * tokens)
        if tokens == grid.tokens:  # behind another cut the tokens lie on no grid any more
            shape = rows * grid.height, columns * grid.width
            order = order_of_tiles((rows, columns), (grid.height, grid.width))
        within = _built(options, place, shape, tiles * keep, parts)
        if within.outputs != KEPT:
            name = pruner_name(options.method)
            raise BadRequest(f"{name} chooses how many tokens stay; allowed: each tile on its own, or a fixed number")
        pruners.append(TilesPruner(within, order))
    return pruners


def model_parts(family: Family, context_tokens: int | None) -> ModelParts:
    """Returns the parts of a model that pruning methods use; `context_tokens` None stands for all its positions."""

    def rope(positions: Tensor) -> Tensor:  # (P,) -> (P, head_dim)
        return family.rotary(torch.zeros(1, 1), positions[None], family.layer_kinds[0])[0][0].float()

    text, one_axis = family.text_model, family.positions.axes == 1
    return ModelParts(
        text.attention_heads, text.kv_heads, text.head_dim, family.projector, family.norm, rope if one_axis else None,
        context_tokens or family.max_positions, family.dropping_tower if isinstance(family, DropsInTower) else None,
    )  # fmt: skip


def _check_needs(family: Family, options: PruneOptions, place: Place, needs: set[TensorName]) -> None:
    """Raises `BadRequest` if the pruner reads what is not there where it stands."""
    name, last = pruner_name(options.method), len(family.layers) - 1
    if place.at != "layer" and needs & {"keys", "query"} and last < 1:
        raise BadRequest(f"{name} cuts before a decoder layer behind the first, and this model has {last + 1}")
    if (place.at != "layer" or "embeddings" in needs) and family.grids[0].prefix_tokens:
        raise BadRequest("the tower has tokens that belong to no place in the image; allowed: a cut before a layer")
    if place.at != "layer" and needs & {"keys", "query"}:
        raise BadRequest(f"layer: got 0; {name} reads what a decoder layer computes; allowed: 1 to {last}")
    if hidden := sorted(needs & set(TOWER_TENSORS) - family.tower_shapes.keys()):
        model_type = family.model.config.model_type  # type: ignore[union-attr]
        raise BadRequest(f"{name} reads the vision tower; the tower of {model_type} does not show {', '.join(hidden)}")
    if place.at == "layer" and needs & set(TOWER_TENSORS):
        raise BadRequest(f"{name} reads the vision tower; allowed: a cut before the first decoder layer")
    if "pixels" in needs and options.mosaics:
        raise BadRequest(f"{name} prunes inside the vision tower, which sees one tile; allowed: each tile on its own")
    if "joint" in needs:
        raise BadRequest(f"{name} needs CLIP's text tower, which the checkpoint does not have; allowed: {name}-embed")


def _keep(options: PruneOptions, place: Place, whole: int, tokens: int) -> int:
    """Returns how many of `tokens` stay, of a grid that had `whole` tokens before any cut."""
    keep = place.keep
    if not isinstance(keep, int):
        requested = options.keep_of(whole)
        keep = requested if keep is None else keep(whole, requested)
    if not 1 <= keep <= tokens:
        raise BadRequest(f"keep: got {keep}; allowed: 1 to {tokens} (the image's visual tokens)")
    return keep


def _check_layer(family: Family, layer: int) -> None:
    layers = len(family.layers)
    if not 0 <= layer < layers:
        raise BadRequest(f"layer: got {layer}; allowed: 0 to {layers - 1} (of {layers} decoder layers)")
