"""Pixels of whole processors, LLaVA's, Qwen2-VL's, Idefics3's and SmolVLM's, against Hugging Face's own.

Theirs come in two backends. Pillow's is met exactly where Pillow resizes across first and then down, as here it is
made to for all shapes; Pillow 13 itself picks an order by the sizes. Torchvision's rounds the filter's weights
otherwise, which is seen as up to 2/255 after one resize, 3/255 after the three of Idefics3's whole view.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import models

from photos import odd_images, photos
from vlmprune_export.processor.geometric_steps import grid_steps, single_view_steps, tile_steps
from vlmprune_export.processor.image import steps_of
from vlmprune_runtime import resampling
from vlmprune_runtime.image_loading import to_rgb
from vlmprune_runtime.preprocess import ImageView, preprocess_views
from vlmprune_runtime.schema import ImageSpec

Array = np.ndarray
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "LLaVA, padded": ("Llava", {"do_pad": True, "size": {"shortest_edge": 140}, "crop_size": 140}),
    "LLaVA, padded and cropped": ("Llava", {"do_pad": True, "size": {"shortest_edge": 151}, "crop_size": 140}),
    "LLaVA, padded with one mean": (
        "Llava",
        {"do_pad": True, "size": {"height": 90, "width": 140}, "do_center_crop": False, "image_mean": [0.5] * 3},
    ),
    "Qwen2-VL": ("Qwen2VL", {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 60}),
    "Qwen2-VL, coarse": ("Qwen2VL", {"min_pixels": 200 * 200, "max_pixels": 230 * 230, "patch_size": 16}),
    "Idefics3": ("Idefics3", {"size": {"longest_edge": 300}, "max_image_size": {"longest_edge": 96}}),
    "SmolVLM": ("SmolVLM", {"size": {"longest_edge": 257}, "max_image_size": {"longest_edge": 64}}),
    "SmolVLM, one tile": ("SmolVLM", {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 64}}),
    "SmolVLM, not split": (
        "SmolVLM",
        {"size": {"longest_edge": 200}, "max_image_size": {"longest_edge": 64}, "do_image_splitting": False},
    ),
}
LEAST, STEP = 1e-6, 1 / 255
IMAGES = {
    name: to_rgb(image)
    for name, image in (photos() | odd_images()).items()
    if image.width * image.height < 500_000 and max(image.size) < 200 * min(image.size)
}


def processor_of(family: str, backend: str) -> Any:
    """Hugging Face's image processor with the family's settings."""
    name, settings = FAMILIES[family]
    folder = {"Llava": "llava", "Qwen2VL": "qwen2_vl", "Idefics3": "idefics3", "SmolVLM": "smolvlm"}[name]
    module = getattr(models, folder)
    kind = f"{name}ImageProcessor" + ("Pil" if backend == "pillow" else "")
    return getattr(module, kind)(**settings)


def spec_of(processor: Any) -> ImageSpec:
    """What the exporter writes for it."""
    if hasattr(processor, "do_image_splitting"):
        moves = tuple(tile_steps(processor))
    elif hasattr(processor, "merge_size"):
        moves = tuple(grid_steps(processor))
    else:
        moves = tuple(single_view_steps(processor, pad=True))
    return ImageSpec(steps=steps_of(processor, moves))


def views_of(processor: Any, image: Image.Image) -> list[Array]:
    """Hugging Face's pixels, a (3, H, W) for each view."""
    found = processor(image, return_tensors="np")
    if "image_grid_thw" in found:
        return [unpatched(found["pixel_values"], found["image_grid_thw"][0], processor)]
    pixels = found["pixel_values"]
    return list(pixels[0]) if pixels.ndim == 5 else list(pixels)


def unpatched(patches: Array, grid: Array, processor: Any) -> Array:  # (N * m * m, 3 * t * p * p) -> (3, H, W)
    """The image whose patches these are; both moments of time are the same."""
    size, merge, (_, high, wide) = processor.patch_size, processor.merge_size, grid
    cut = patches.reshape(high // merge, wide // merge, merge, merge, 3, processor.temporal_patch_size, size, size)
    assert (cut[:, :, :, :, :, :1] == cut).all()
    return cut[:, :, :, :, :, 0].transpose(4, 0, 2, 5, 1, 3, 6).reshape(3, high * size, wide * size)


def furthest(ours: tuple[ImageView, ...], theirs: list[Array], spec: ImageSpec) -> float:
    """The greatest difference before normalisation."""
    assert [view.pixels.shape for view in ours] == [pixels.shape for pixels in theirs]
    std = np.array(spec.normalise.std)[:, None, None]
    return max(float(np.abs((a.pixels - b) * std).max()) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture
def across_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow, resizing across and then down."""
    resize: Callable[..., Image.Image] = Image.Image.resize

    def in_order(image: Image.Image, size: tuple[int, int], resample: Any = None, *rest: Any, **more: Any) -> Any:
        if rest or more.get("box"):
            return resize(image, size, resample, *rest, **more)
        return resize(resize(image, (size[0], image.height), resample), size, resample)

    monkeypatch.setattr(Image.Image, "resize", in_order)


@pytest.mark.usefixtures("across_first")
@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_pillow_processors(family: str) -> None:
    processor = processor_of(family, "pillow")
    spec = spec_of(processor)
    for name, image in IMAGES.items():
        ours = preprocess_views(image, spec)
        assert furthest(ours, views_of(processor, image), spec) <= LEAST, name


@pytest.mark.parametrize("family", FAMILIES)
def test_near_torchvision(family: str) -> None:
    pytest.importorskip("torchvision")
    processor = processor_of(family, "torchvision")
    spec = spec_of(processor)
    for name, image in IMAGES.items():
        ours = preprocess_views(image, spec)
        assert furthest(ours, views_of(processor, image), spec) <= 3 * STEP + LEAST, name


@pytest.mark.parametrize("family", ["Idefics3", "SmolVLM", "SmolVLM, one tile", "SmolVLM, not split"])
def test_rows_and_columns_are_the_processors(family: str) -> None:
    processor = processor_of(family, "pillow")
    for image in IMAGES.values():
        found = processor(image, return_row_col_info=True)
        views = [view.view for view in preprocess_views(image, spec_of(processor))]
        tiles = [(view.row, view.column) for view in views if view.role == "tile"]
        rows, columns = found["rows"][0][0], found["cols"][0][0]
        assert tiles == [(row, column) for row in range(rows) for column in range(columns)]
        assert views[-1].role == ("whole" if tiles else "only")


def test_the_grid_is_the_processors() -> None:
    processor = processor_of("Qwen2-VL", "pillow")
    for image in IMAGES.values():
        patches = processor(image)["image_grid_thw"][0][1:]
        view = preprocess_views(image, spec_of(processor))[0].view
        assert [view.height_px, view.width_px] == [count * processor.patch_size for count in patches]


@pytest.mark.parametrize("family", ["LLaVA, padded", "LLaVA, padded and cropped", "SmolVLM"])
@pytest.mark.parametrize("size", [(400, 30), (30, 400), (90, 61)])
def test_huge_images_are_met_in_parts(family: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done where the padded image would take too much memory, here on images that can be padded whole."""
    spec, dice = spec_of(processor_of(family, "pillow")), np.random.default_rng(5)
    image = Image.fromarray(dice.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    whole = preprocess_views(image, spec)
    monkeypatch.setattr(resampling, "_is_small", lambda image, place: False)
    monkeypatch.setattr(resampling, "STRIP_PX", 500)
    parts = preprocess_views(image, spec)
    assert furthest(parts, [view.pixels for view in whole], spec) <= STEP + LEAST
