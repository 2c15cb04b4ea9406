"""A model that sees smaller images in the pruned mode, which is what the floor `resize` does."""

from vlmprune_export.cuts import PruneOptions
from vlmprune_export.families import Family, build_family
from vlmprune_export.pruners.resize import smaller_grid, smaller_image
from vlmprune_runtime.schema import ImageSpec


def with_smaller_grid(family: Family, options: PruneOptions, image: ImageSpec) -> tuple[Family, ImageSpec]:
    """Returns the family with a second grid of no more than K tokens, and the steps that lead images there.

    `image` has the steps of the unpruned mode. Raises `BadRequest` for a model or for steps that have no such grid.
    """
    own = family.grids[0]
    small = smaller_grid((own.height, own.width), options.keep_of(own.tokens))
    both = build_family(family.model, [(own.height, own.width), small])
    size_px = (both.grids[1].height_px, both.grids[1].width_px)
    return both, smaller_image(image, size_px[0] / own.height_px, size_px)
