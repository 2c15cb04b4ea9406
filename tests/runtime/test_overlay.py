"""The overlay shows kept patches as they are and dims the others, wherever the crop lies."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import Pruned
from vlmprune_runtime.geometry import views_of
from vlmprune_runtime.legend import COLOURS
from vlmprune_runtime.overlay import GridArea, draw_overlay, grid_areas, overlay
from vlmprune_runtime.schema import (
    Crop,
    Exact,
    ImageSpec,
    Kernel,
    NearestGrid,
    Resize,
    ShortestEdge,
    Split,
    WholeTiles,
    image_steps,
)

RED = (200, 30, 40)
WIDE, SMALL = Image.new("RGB", (200, 100), RED), Image.new("RGB", (4, 3))


def spec(crop: int | None = 28, mode: str = "shortest_edge", edge: int = 28) -> ImageSpec:
    to = ShortestEdge(edge_px=edge) if mode == "shortest_edge" else Exact(height_px=edge, width_px=edge)
    cut = [Crop(height_px=crop, width_px=crop)] if crop else []
    steps = image_steps([Resize(to=to, kernel=Kernel.of("bicubic")), *cut])
    return ImageSpec(steps=steps)


def areas(image: Image.Image, image_spec: ImageSpec) -> list[GridArea]:
    """Where a grid of 4 x 4 visual tokens lies in an image."""
    return [GridArea(view.box, 4, 4, view.role) for view in views_of(image.height, image.width, image_spec)]


def pruned(kept: list[int], rank: list[int], view: int = 0) -> Pruned:
    return Pruned(tuple(kept), tuple(rank), 16, view=view)


def light(shown: Image.Image, x: float, y: float) -> tuple[int, ...]:
    """A pixel at a fraction of the image above the legend."""
    height = round(shown.height / (1 + 4 * round(shown.width / 42) / (shown.height - 4 * round(shown.width / 42))))
    return shown.getpixel((round(shown.width * x), round(height * y)))


def test_kept_bright_dropped_dim_unseen_dark() -> None:
    """An image twice as wide as high: the crop is its middle half."""
    shown = overlay(WIDE, [pruned([0, 15], [1, 0])], areas(WIDE, spec()))
    kept, dropped, unseen = (light(shown, *at) for at in ((0.3, 0.17), (0.55, 0.2), (0.05, 0.5)))
    assert kept == RED
    assert max(unseen) < max(dropped) < max(RED) / 2


@pytest.mark.parametrize(("place", "at"), [(0, (0.32, 0.01)), (15, (0.69, 0.99))])
def test_frames_have_the_colour_of_their_turn(place: int, at: tuple[float, float]) -> None:
    shown = overlay(WIDE, [pruned([0, 15], [1, 0])], areas(WIDE, spec()))
    assert light(shown, *at) == (COLOURS[0] if place == 15 else COLOURS[-1])


def test_without_a_crop_everything_is_seen() -> None:
    shown = overlay(WIDE, [pruned([12], [0])], areas(WIDE, spec(None, "exact")))
    assert light(shown, 0.13, 0.92) == RED


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (1, 1), (9, 7), (5000, 3000)])
def test_any_shape_gives_a_image_of_readable_size(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, RED)
    shown = overlay(image, [pruned([3], [0])], areas(image, spec()))
    assert 300 <= min(shown.size) <= max(shown.size) <= 2700


def test_tiles_are_shown_at_their_places_and_the_whole_below_them() -> None:
    """Two tiles beside each other keep the first and the last patch, the whole image one in its middle."""
    kernel = Kernel.of("bicubic")
    moves = (Resize(to=WholeTiles(tile_px=100), kernel=kernel), Split(tile_px=100, kernel=kernel))
    kept = [pruned([0], [0]), pruned([15], [0], 1), pruned([5], [0], 2)]
    shown = overlay(WIDE, kept, areas(WIDE, ImageSpec(steps=image_steps(moves))))
    tiles, whole = (shown.crop((0, top, shown.width, top + shown.height // 2)) for top in (0, shown.height // 2))
    bright = [light(tiles, *at) == RED for at in ((0.08, 0.18), (0.97, 0.92), (0.3, 0.3), (0.7, 0.1))]
    assert bright == [True, True, False, False]
    assert [light(whole, *at) == RED for at in ((0.35, 0.4), (0.08, 0.18))] == [True, False]


def test_padding_is_shown_black() -> None:
    """28 pixels in a crop of 56: a frame of 14 padded ones all around."""
    image = Image.new("RGB", (28, 28), RED)
    shown = overlay(image, [pruned([0, 5], [0, 1])], areas(image, spec(crop=56)))
    assert light(shown, 0.2, 0.2) == (0, 0, 0)
    assert light(shown, 0.42, 0.42) == RED


@pytest.mark.parametrize(
    ("kept", "order"), [([], []), ([16], [0]), ([-1], [0]), ([1, 1], [0, 1]), ([1, 2], [0, 0]), ([1, 2], [0])]
)
def test_selections_of_another_grid(kept: list[int], order: list[int]) -> None:
    with pytest.raises(BadRequest):
        overlay(WIDE, [pruned(kept, order)], areas(WIDE, spec()))


def test_file_is_written_whole_and_alone(tmp_path: Path) -> None:
    out = tmp_path / "kept.png"
    draw_overlay(SMALL, [pruned([1, 2], [1, 0])], areas(SMALL, spec()), out)
    draw_overlay(WIDE, [pruned([1, 2], [1, 0])], areas(WIDE, spec()), out)
    with Image.open(out) as shown:
        assert shown.format == "PNG"
        assert np.asarray(shown).any()
    assert list(tmp_path.iterdir()) == [out]


def test_old_file_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "kept.png"
    draw_overlay(SMALL, [pruned([1], [0])], areas(SMALL, spec()), out)
    before = out.read_bytes()
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(BadRequest, match="No space left"):
        draw_overlay(WIDE, [pruned([1], [0])], areas(WIDE, spec()), out)
    assert out.read_bytes() == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["kept.jpg", "kept", "none/kept.png", "folder.png"])
def test_places_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(BadRequest):
        draw_overlay(WIDE, [pruned([1], [0])], areas(WIDE, spec()), tmp_path / name)


@pytest.mark.parametrize(("size", "grid"), [((30, 30), (4, 4)), ((30, 60), (8, 4)), ((300, 140), (4, 8))])
def test_grid_is_that_of_the_view(bundle_folder: Path, size: tuple[int, int], grid: tuple[int, int]) -> None:
    bundle = open_bundle(bundle_folder).manifest
    shapes = ((4, 4), (4, 8), (8, 4))
    to = NearestGrid(multiple_px=7, grids=shapes)
    several = [
        bundle.grids[0].model_copy(update={"height": h, "width": w, "height_px": 7 * h, "width_px": 7 * w})
        for h, w in shapes
    ]
    image_spec = ImageSpec(steps=image_steps([Resize(to=to, kernel=Kernel.of("bicubic"))]))
    bundle = bundle.model_copy(update={"grids": tuple(several), "image": image_spec})
    [found] = grid_areas(Image.new("RGB", size), bundle)
    assert (found.height, found.width) == grid
    assert found.box == (0, 0, *size)


def test_view_of_no_grid_is_refused(bundle_folder: Path) -> None:
    bundle = open_bundle(bundle_folder).manifest
    to = Exact(height_px=5, width_px=9)
    image_spec = ImageSpec(steps=image_steps([Resize(to=to, kernel=Kernel.of("bicubic"))]))
    with pytest.raises(BadRequest, match=r"becomes 5 x 9 px; allowed: 28 x 28"):
        grid_areas(WIDE, bundle.model_copy(update={"image": image_spec}))
