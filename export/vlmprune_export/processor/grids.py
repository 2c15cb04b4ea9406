"""The grids of visual tokens that images are resized to, where a processor follows each image's own shape."""

from math import sqrt
from typing import Any

from vlmprune_export.processor.geometric_steps import given

USUAL_TOKENS = 256
_SHAPES = ((16, 16), (12, 16), (16, 12), (12, 20), (20, 12))
"""Square, landscape and portrait shapes of about `USUAL_TOKENS`, all of whole windows of 4 x 4."""


def default_grids(image_processor: Any) -> tuple[tuple[int, int], ...]:
    """Returns a few shapes (height, width) within the processor's limits of area; none for one of fixed sizes.

    The shapes have about 256 tokens, or are shrunk or enlarged as far as the processor's limits ask for.

    >>> from types import SimpleNamespace
    >>> size = {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 64}
    >>> default_grids(SimpleNamespace(patch_size=14, merge_size=2, size=size))
    ((8, 8), (6, 8), (8, 6), (6, 10), (10, 6))
    """
    if not hasattr(image_processor, "merge_size"):
        return ()
    size, token_px = given(image_processor.size), (image_processor.patch_size * image_processor.merge_size) ** 2
    fewest, most = size["shortest_edge"] / token_px, size["longest_edge"] / token_px
    scale = sqrt(min(max(USUAL_TOKENS, fewest), most) / USUAL_TOKENS)
    shapes = [(max(1, round(height * scale)), max(1, round(width * scale))) for height, width in _SHAPES]
    return tuple(dict.fromkeys(shapes))
