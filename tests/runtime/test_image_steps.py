"""The steps of the manifest, followed in plain numpy from their descriptions alone, and where their views lie."""

from math import floor, pi, sin

import numpy as np
import pytest
from PIL import Image

from photos import photos
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.geometry import views_of
from vlmprune_runtime.preprocess import preprocess, preprocess_views, view_image
from vlmprune_runtime.resize_modes import resized_size
from vlmprune_runtime.schema import (
    Crop,
    Exact,
    ImageSpec,
    Kernel,
    NearestGrid,
    Pad,
    Resize,
    ShortestEdge,
    SmartMultiple,
    Split,
    WholeTiles,
    image_steps,
)


def spec_of(*moves: object) -> ImageSpec:
    """These steps, nothing scaled."""
    return ImageSpec(steps=image_steps(moves, factor=1.0))


def weight(kernel: Kernel, x: float) -> float:
    """The filter's value, from the textbook."""
    x = abs(x)
    if kernel.filter == "bilinear":
        return max(1 - x, 0.0)
    if kernel.filter == "lanczos":
        return 1.0 if x == 0 else 3 * sin(pi * x) * sin(pi * x / 3) / (pi * x) ** 2 if x < 3 else 0.0
    a = kernel.cubic_a
    assert a is not None
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def one_pass(pixels: np.ndarray, resized: int, kernel: Kernel) -> np.ndarray:  # (given, ...) -> (resized, ...)
    """Rows of the image resized as `Kernel` describes it."""
    given, out = len(pixels), []
    scale = given / resized
    for i in range(resized):
        centre, wide = (i + 0.5) * scale, kernel.support_px * max(scale, 1)
        if kernel.filter == "nearest":
            out.append(pixels[floor(centre)])
            continue
        rows = range(max(floor(centre - wide + 0.5), 0), min(floor(centre + wide + 0.5), given))
        weights = np.array([weight(kernel, (j + 0.5 - centre) / max(scale, 1)) for j in rows])
        whole = np.trunc(weights / weights.sum() * 2**22 + np.copysign(0.5, weights)).astype(np.int64)
        mixed = np.tensordot(whole, pixels[rows.start : rows.stop].astype(np.int64), 1)
        out.append(((mixed + 2**21) >> 22).clip(0, 255))
    return np.stack(out)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(31, 44), (140, 9)])
def test_a_resize_follows_its_description(name: str, size: tuple[int, int]) -> None:
    kernel = Kernel.of(name)
    image = photos()["coffee"].resize((97, 61))
    across = one_pass(np.asarray(image).transpose(1, 0, 2), size[1], kernel).transpose(1, 0, 2)
    expected = one_pass(across, size[0], kernel)
    spec = spec_of(Resize(to=Exact(height_px=size[0], width_px=size[1]), kernel=kernel))
    found = np.asarray(view_image(image, spec))
    np.testing.assert_array_equal(found, expected)


def test_a_crop_without_a_resize_takes_the_centre() -> None:
    given = np.arange(7 * 9 * 3, dtype=np.uint8).reshape(7, 9, 3)
    seen = np.asarray(view_image(Image.fromarray(given), spec_of(Crop(height_px=4, width_px=3))))
    np.testing.assert_array_equal(seen, given[1:5, 3:6])


@pytest.mark.parametrize(("size", "before"), [((5, 2), 1), ((4, 2), 1), ((3, 2), 0)])
def test_padding_is_centred_and_coloured(size: tuple[int, int], before: int) -> None:
    seen = np.asarray(view_image(Image.new("RGB", size, (9, 9, 9)), spec_of(Pad(colour=(1, 2, 3)))))
    assert seen.shape == (size[0], size[0], 3)
    rows = (seen == 9).all(axis=(1, 2))
    assert np.flatnonzero(rows).tolist() == list(range(before, before + size[1]))
    assert (seen[~rows] == [1, 2, 3]).all()


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((100, 100), (16, 16)),
        ((101, 150), (16, 24)),
        ((150, 100), (24, 16)),
        ((10, 900), (16, 24)),
        ((120, 125), (16, 16)),
    ],
)
def test_the_nearest_grid_in_shape(size: tuple[int, int], grid: tuple[int, int]) -> None:
    to = NearestGrid(multiple_px=28, grids=((16, 16), (16, 24), (24, 16), (32, 32)))
    assert resized_size(*size, to) == (grid[0] * 28, grid[1] * 28)
    view = preprocess_views(Image.new("RGB", size[::-1]), spec_of(Resize(to=to, kernel=Kernel.of("bicubic"))))[0]
    assert view.pixels.shape == (3, grid[0] * 28, grid[1] * 28)
    assert (view.view.height_px, view.view.width_px, view.view.role) == (*view.pixels.shape[1:], "only")


def test_stripes_are_refused() -> None:
    to = SmartMultiple(multiple_px=28, min_area_px=3136, max_area_px=50176)
    with pytest.raises(BadRequest, match="1 x 201 pixels; allowed: one side at most 200 times the other"):
        resized_size(201, 1, to)
    with pytest.raises(BadRequest, match="sides up to 100000"):
        view_image(Image.new("RGB", (100_001, 1)), spec_of(Pad(colour=(0, 0, 0))))


TILED = spec_of(
    Resize(to=WholeTiles(tile_px=10), kernel=Kernel.of("lanczos")), Split(tile_px=10, kernel=Kernel.of("lanczos"))
)


def test_views_lie_where_their_tiles_are() -> None:
    """Two rows of three tiles of an image that fits them as it is."""
    views = views_of(20, 30, TILED)
    assert [(view.role, view.row, view.column) for view in views[:4]] == [
        *(("tile", 0, 0), ("tile", 0, 1), ("tile", 0, 2), ("tile", 1, 0)),
    ]
    assert views[4].box == (10.0, 10.0, 20.0, 20.0)
    assert (views[-1].role, views[-1].box) == ("whole", (0.0, 0.0, 30.0, 20.0))


def test_a_image_of_several_views_has_no_single_one() -> None:
    with pytest.raises(BadRequest, match="seen as 7 views"):
        preprocess(Image.new("RGB", (30, 20)), TILED)
    assert preprocess(Image.new("RGB", (9, 9)), TILED).shape == (1, 3, 10, 10)


@pytest.mark.parametrize(("size", "box"), [((40, 20), (4, -6, 36, 26)), ((20, 40), (-6, 4, 26, 36))])
def test_a_padded_view_reaches_beyond_the_image(size: tuple[int, int], box: tuple[int, ...]) -> None:
    """Padded to 40, resized to 20 and cropped to 16: two pixels of each side are cut, which are four of the image."""
    kernel = Kernel.of("bicubic")
    spec = spec_of(
        Pad(colour=(0, 0, 0)), Resize(to=ShortestEdge(edge_px=20), kernel=kernel), Crop(height_px=16, width_px=16)
    )
    assert views_of(size[1], size[0], spec)[0].box == box


@pytest.mark.parametrize("size", [(20, 40), (40, 20)])
def test_steps_may_follow_each_other_in_any_order(size: tuple[int, int]) -> None:
    """Cropped, then padded, then resized: each group of steps is placed on the result of the one before."""
    kernel = Kernel.of("bilinear")
    moves = (
        Crop(height_px=20, width_px=10),
        Pad(colour=(0, 0, 0)),
        Resize(to=Exact(height_px=10, width_px=10), kernel=kernel),
    )
    image = Image.new("RGB", size, (200, 200, 200))
    seen = np.asarray(view_image(image, spec_of(*moves)))
    assert seen.shape == (10, 10, 3)
    assert (seen[:, 5] == 200).all()
    assert (seen[:, 0] == 0).all()
