"""How the stages of a model work together, as the manifest says it: grids, cuts, positions, and the order of stages."""

from collections.abc import Mapping, Sequence

from vlmprune_export.cuts import PlannedCut, mean_visual_tokens
from vlmprune_export.families import Family
from vlmprune_runtime import schema
from vlmprune_runtime.schema import Stage


def pipeline_of(
    family: Family, cuts: Sequence[PlannedCut], stages: Mapping[str, Stage], vision_flops: Sequence[int] = ()
) -> schema.Pipeline:
    """Returns how the stages work together, as the manifest says it; `vision_flops` are those of each grid."""
    order = tuple(stages)
    return schema.Pipeline(
        grids=tuple(_grid(family, cuts, nth, vision_flops[nth : nth + 1]) for nth in range(len(family.grids))),
        mosaics=tuple(schema.Mosaic(rows=rows, columns=columns) for rows, columns in cuts[0].mosaics) if cuts else (),
        cuts=tuple(schema.Cut(stage=cut.stage, at=cut.at, layer=cut.layer) for cut in cuts),
        positions=family.positions,
        stages=dict(stages),
        prefill=order,
        decode=tuple(name for name in order if stages[name].role in ("embed", "decoder")),
    )


def _grid(family: Family, cuts: Sequence[PlannedCut], nth: int, vision_flops: Sequence[int]) -> schema.Grid:
    grid, layers = family.grids[nth], len(family.layers)
    tokens = [grid.tokens, *(cut.keep[nth] for cut in cuts)]
    mean = mean_visual_tokens(tokens, [cut.layer for cut in cuts], layers)
    return schema.Grid(
        height=grid.height, width=grid.width, height_px=grid.height_px, width_px=grid.width_px,
        prefix_tokens=grid.prefix_tokens, keep=tuple(cut.keep[nth] for cut in cuts), mean_visual_tokens=round(mean, 3),
        vision_flops=vision_flops[0] if vision_flops else None,
    )  # fmt: skip
