"""Pruning configs: each pruner at each rate, and the unpruned model, on the same weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from vlmprune_export.cuts import PruneOptions, mean_visual_tokens
from vlmprune_export.pruners import Need, Pruner, build_pruner, pruner_kind, pruner_name
from vlmprune_export.pruners.mosaic import TilesPruner, order_of_tiles
from vlmprune_export.pruners.resize import RESIZE
from vlmprune_export.pruners.settings import read_settings
from vlmprune_export.stage_table import source_of
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.positions import PruneGroup
from vlmprune_runtime.prefill import Prefill, stages_before_tail
from vlmprune_runtime.schema import Cut, Grid, Mosaic, Pipeline
from vlmprune_runtime.sources import Array, read_source
from vlmprune_tools.evaluation.loaded_model import LoadedModel
from vlmprune_tools.evaluation.method_pipeline import (
    MethodPipeline,
    SharedVision,
    equal_mean_keep,
    family_of,
    keeps_of_family,
    method_pipeline,
    unpruned_pipeline,
)
from vlmprune_tools.evaluation.variants import Variant

UNPRUNED, BLIND = "unpruned", "blind"
DEFAULT_RATES = (0.667, 0.778, 0.889)  # the paper's
Prune = Callable[[Prefill], None]


@dataclass(frozen=True)
class PruningConfig:
    """One pruner at one rate. Without `prune` all tokens are kept; `pruned_in` names what ran the pruner.

    `pipeline` is there instead of `prune` where the method has stages of its own. `keep` is the rate that the configs
    of one comparison share; `kept_tokens` is the number K of this method's own, None where it is `keep`.
    """

    method: str
    keep: int
    prune: Prune | None = None
    pruned_in: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    pipeline: MethodPipeline | None = None
    kept_tokens: int | None = None

    @property
    def name(self) -> str:
        """Returns a name that no other config of the same evaluation has."""
        return f"{self.method}@{self.keep}"

    @property
    def adaptive(self) -> bool:
        """Returns whether K is an upper bound, and the image decides how many tokens stay."""
        return bool(self.settings.get("adaptive", False))


def build_configs(
    model: LoadedModel, variants: Sequence[Variant], keeps: Sequence[int], layer: int | None = None
) -> list[PruningConfig]:
    """Returns the unpruned model, then all pruners by falling K. K = N is the unpruned model, which is always there.

    On a checkpoint every method cuts where it does itself, or before `layer`, and keeps as many tokens as give it the
    mean number of visual tokens over all layers that a cut before the model's layer has with K.
    """
    tokens = model.visual_tokens
    for keep in keeps:
        if not 1 <= keep <= tokens:
            raise BadRequest(f"keeps: got {keep}; allowed: 1 to {tokens} (the image's visual tokens)")
    requested = keeps or [round(tokens * (1 - rate)) for rate in DEFAULT_RATES]
    pruned = sorted({keep for keep in requested if keep < tokens}, reverse=True)
    if model.staged is not None:
        return pipeline_configs(model, variants, pruned, layer)
    configs = [build_config(model, variant, keep) for keep in pruned for variant in variants]
    return [PruningConfig(UNPRUNED, tokens), *configs]


def pipeline_configs(
    model: LoadedModel, variants: Sequence[Variant], keeps: Sequence[int], layer: int | None
) -> list[PruningConfig]:
    """Returns the configs of a checkpoint, each in a pipeline of its own; they share what the vision tower gives."""
    family, configs = family_of(model), list[PruningConfig]()
    vision = SharedVision(family)
    for keep in keeps:
        mean = mean_at_the_models_layer(model, keep)
        for variant in variants:
            options = PruneOptions(variant.pruner, layer, settings=variant.settings)
            own = equal_mean_keep(family, options, keep, mean)
            built = method_pipeline(model, replace(options, keep=keeps_of_family(family, own)), vision)
            kept = built.grid.kept_tokens
            settings = built.settings
            configs.append(PruningConfig(variant.label, keep, None, "pytorch", settings, built, kept))
    unpruned = PruningConfig(UNPRUNED, model.visual_tokens, pipeline=unpruned_pipeline(model, vision))
    return [unpruned, *configs]


def mean_at_the_models_layer(model: LoadedModel, keep: int) -> float:
    """Returns the mean number of visual tokens over all layers if `keep` of them are left from the model's layer on."""
    layer, layers = model.identity.layer, model.identity.decoder_layers
    return mean_visual_tokens([model.visual_tokens, keep], [layer], layers)


def build_config(model: LoadedModel, variant: Variant, keep: int) -> PruningConfig:
    """Returns a config that prunes in the bundle's own graph if that holds the same pruner, otherwise in PyTorch."""
    if model.staged is not None:
        return build_configs(model, [variant], [keep])[1]
    if variant.pruner == RESIZE:
        raise BadRequest("resize: the graphs of a bundle have their own sizes of image; allowed: a checkpoint")
    settings = asdict(read_settings(pruner_kind(variant.pruner).settings, variant.pruner, variant.settings))
    exported = model.exported_pruner
    own = None if exported is None else (exported.method, model.pipeline.keep, exported.settings)
    if own == (pruner_name(variant.pruner), keep, settings):
        return PruningConfig(variant.label, keep, run_exported_pruner, model.identity.engine, settings)
    return PruningConfig(variant.label, keep, torch_pruner(model, variant, keep), "pytorch", settings)


def torch_pruner(model: LoadedModel, variant: Variant, keep: int) -> "TorchPruner":
    """Returns a pruner that PyTorch runs at a bundle's cut. Raises `BadRequest` for one that does not stand there."""
    pipeline, kind = model.pipeline, pruner_kind(variant.pruner)
    places = kind.places(read_settings(kind.settings, variant.pruner, variant.settings), model.identity.layer)
    for whose, count in (("the bundle", len(pipeline.cuts)), ("the method", len(places))):
        if count != 1:
            raise BadRequest(f"{variant.label}: {whose} has {count} cuts; allowed: the bundle's own pruner, or one cut")
    [place], [cut] = places, pipeline.cuts
    if place.at == "vision" and cut.at != "vision":
        raise BadRequest(f"{variant.label}: cuts after the vision stage, the bundle does not; give the checkpoint")
    build = partial(build_pruner, variant.pruner, settings=variant.settings, parts=model.parts)
    grids = zip(pipeline.grids, keeps_of_grids(pipeline, keep), strict=True)
    pruners = tuple(build(grid=(grid.height, grid.width), keep=count) for grid, count in grids)
    if any(pruner.uses_modules for pruner in pruners):
        raise BadRequest(f"{variant.label}: uses weights that a bundle has in its graphs only; give the checkpoint")
    pruners += tuple(_of_tiles(build, mosaic, pipeline.grids[mosaic.grid], keep) for mosaic in pipeline.mosaics)
    return TorchPruner(pruners, variant.label)


def _of_tiles(build: Callable[..., Pruner], mosaic: Mosaic, grid: Grid, keep: int) -> Pruner:
    """Returns a pruner of tiles that are pruned together; `keep` is the share of each."""
    high, wide = mosaic.rows * grid.height, mosaic.columns * grid.width
    within = build(grid=(high, wide), keep=mosaic.tiles * keep)
    return TilesPruner(within, order_of_tiles((mosaic.rows, mosaic.columns), (grid.height, grid.width)))


def keeps_of_grids(pipeline: Pipeline, keep: int) -> list[int]:
    """Returns how many tokens stay of a view on each grid: the same share as `keep` of the first, one at least.

    >>> from types import SimpleNamespace
    >>> grids = [SimpleNamespace(visual_tokens=tokens) for tokens in (20, 24, 3)]
    >>> keeps_of_grids(SimpleNamespace(grids=grids), 5)
    [5, 6, 1]
    """
    first = pipeline.grids[0].visual_tokens
    return [max(1, round(keep * grid.visual_tokens / first)) for grid in pipeline.grids]


def run_exported_pruner(run: Prefill) -> None:
    """Runs the pipeline's own prune stages where they stand, and the decoder stages between them."""
    for name in stages_before_tail(run.pipeline):
        if name not in run.outputs:
            for _ in run.run(name):
                pass


@dataclass(frozen=True)
class TorchPruner:
    """Runs any pruner in PyTorch at the model's only cut, whatever engine ran the stages before it.

    `pruners` has one for each grid of the model, and then for each mosaic.
    """

    pruners: tuple[Pruner, ...]
    label: str

    @torch.inference_mode()
    def __call__(self, run: Prefill) -> None:
        """Prunes with the tensors that the pruner needs, in fp32, as all engines return them."""
        [cut] = run.pipeline.cuts
        for group in run.tokens.groups:
            pruner = self.pruners[group.grid]
            tensors = [torch.from_numpy(self._read(run, cut, need, group).astype(np.float32)) for need in pruner.needs]
            outputs = zip(pruner.outputs, pruner(*tensors), strict=True)
            run.prune(cut.stage, group, {name: value.numpy() for name, value in outputs})

    def _read(self, run: Prefill, cut: Cut, need: Need, group: PruneGroup) -> Array:
        if cut.at != "layer" and need.tensor in ("keys", "query"):
            raise BadRequest(
                f"{self.label}: reads {need.tensor}, which there are none of before the first decoder layer"
            )
        source = source_of(cut.at, need)
        try:
            return read_source(run, source, cut.stage, group)
        except KeyError:
            raise BadRequest(
                f"{self.label}: reads {source}, which the bundle does not give; give the checkpoint"
            ) from None
