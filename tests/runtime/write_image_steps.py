"""Writes `tests/golden/image_steps`: what each kind of image step makes of images of odd shapes.

Run `PYTHONPATH=tests python tests/runtime/write_image_steps.py` after a change here; runners in other languages are
tested with the files.
"""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from photos import photos
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.preprocess import ImageView, preprocess_views
from vlmprune_runtime.schema import (
    Crop,
    Exact,
    ImageSpec,
    Kernel,
    LongestEdge,
    NearestGrid,
    Pad,
    Resize,
    ShortestEdge,
    SmartMultiple,
    Split,
    WholeTiles,
    image_steps,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "image_steps"
SIZES = ((61, 97), (61, 20), (1, 97), (33, 33), (7, 5), (61, 1))
CUBIC = Kernel.of("bicubic")
LANCZOS = Kernel.of("lanczos")

STEPS = {
    **{
        f"exact {name}": (Resize(to=Exact(height_px=23, width_px=40), kernel=Kernel.of(name)),)
        for name in ("nearest", "bilinear", "bicubic", "lanczos")
    },
    "shortest edge and crop": (Resize(to=ShortestEdge(edge_px=28), kernel=CUBIC), Crop(height_px=28, width_px=28)),
    "a crop that pads": (Crop(height_px=40, width_px=45, colour=(9, 8, 7)),),
    "pad to a square": (Pad(colour=(122, 116, 104)), Resize(to=Exact(height_px=28, width_px=28), kernel=CUBIC)),
    "smart multiple": (Resize(to=SmartMultiple(multiple_px=4, min_area_px=256, max_area_px=1600), kernel=CUBIC),),
    "nearest grid": (Resize(to=NearestGrid(multiple_px=7, grids=((4, 4), (4, 6), (6, 4))), kernel=CUBIC),),
    "tiles": (
        Resize(to=LongestEdge(edge_px=64, limit_px=60), kernel=LANCZOS),
        Resize(to=WholeTiles(tile_px=16), kernel=LANCZOS),
        Split(tile_px=16, kernel=LANCZOS),
    ),
}


def case(name: str, size: tuple[int, int], pixels: np.ndarray) -> dict[str, object]:
    """One row: the steps, the size of the image (cut from the corner of `pixels`), and hashes of what comes out."""
    spec = ImageSpec(steps=image_steps(STEPS[name], mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28)))
    row: dict[str, object] = {"name": name, "size": size, "steps": spec.model_dump(mode="json")["steps"]}
    image = Image.fromarray(np.ascontiguousarray(pixels[: size[0], : size[1]]))
    try:
        views = preprocess_views(image, spec)
    except BadRequest:
        return {**row, "refused": True}
    return {**row, "views": [view_row(view) for view in views]}


def view_row(seen: ImageView) -> dict[str, object]:
    """Says what comes out of a view, and where it lies in the image."""
    view = seen.view
    row: dict[str, object] = {
        "size": seen.pixels.shape[1:],
        "sha256": sha256(seen.pixels.astype("<f4").tobytes()).hexdigest(),
        "role": view.role,
        "box": view.box,
    }
    return row if view.row is None else {**row, "row": view.row, "column": view.column}


def main() -> None:
    """Writes the image and all cases."""
    GOLDEN.mkdir(parents=True, exist_ok=True)
    image = np.asarray(photos()["coffee"].resize((97, 61)))
    np.savez_compressed(GOLDEN / "picture.npz", picture=image)
    rows = [case(name, size, image) for name in STEPS for size in SIZES]
    (GOLDEN / "cases.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
