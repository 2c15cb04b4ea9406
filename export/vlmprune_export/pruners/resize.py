"""The floor `resize`: no tokens are dropped; the image is scaled down until the tower gives no more than K.

It is no `Pruner`, because nothing is chosen: a bundle has a second, smaller grid, and steps that lead images there.
"""

from collections.abc import Iterator

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema import Crop, Exact, ImageSpec, Resize, ShortestEdge
from vlmprune_runtime.schema.image import Step

RESIZE = "resize"


def smaller_grid(grid: tuple[int, int], keep: int) -> tuple[int, int]:
    """Returns the largest grid (height, width) of about the same shape that has no more than `keep` tokens.

    Raises `BadRequest` if `keep` tokens are all that there are.

    >>> [smaller_grid((24, 24), keep) for keep in (192, 128, 64, 32)], smaller_grid((12, 20), 60)
    ([(13, 13), (11, 11), (8, 8), (5, 5)], (6, 10))
    """
    height, width = grid
    if keep >= height * width:
        raise BadRequest(f"keep: got {keep}; resize needs fewer than the {height * width} tokens of the whole image")
    sizes = ((high, max(1, round(high * width / height))) for high in range(height, 0, -1))
    return next((high, wide) for high, wide in sizes if high * wide <= keep)


def smaller_image(image: ImageSpec, factor: float, size_px: tuple[int, int]) -> ImageSpec:
    """Returns the steps that lead to an image of `size_px` (height, width), `factor` times as large as before.

    Raises `BadRequest` for steps whose result depends on the image.
    """
    spec = ImageSpec(steps=tuple(_smaller(image, factor, size_px)))
    seen = spec.view_size
    if seen is None or (seen.height_px, seen.width_px) != size_px:
        raise BadRequest("resize: the image processor gives no single size of image; allowed: square resize or crop")
    return spec


def _smaller(image: ImageSpec, factor: float, size_px: tuple[int, int]) -> Iterator[Step]:
    height_px, width_px = size_px
    for step in image.steps:
        if isinstance(step, Resize) and isinstance(step.to, Exact):
            yield step.model_copy(update={"to": Exact(height_px=height_px, width_px=width_px)})
        elif isinstance(step, Resize) and isinstance(step.to, ShortestEdge):
            edge_px = max(1, round(step.to.edge_px * factor))
            yield step.model_copy(update={"to": ShortestEdge(edge_px=edge_px)})
        elif isinstance(step, Crop):
            yield step.model_copy(update={"height_px": height_px, "width_px": width_px})
        else:
            yield step
