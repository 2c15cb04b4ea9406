"""Pixels against the Hugging Face image processors of the installed transformers, before normalisation.

Their two backends do not agree with each other: Pillow and torchvision round the filter's weights differently
(2/255 in a few pixels), and Pillow 13 resizes some images down first, then across (7/255 in a few pixels).
We go across first: at most 1/255 from Pillow where it does so too, at most 2/255 from torchvision. Where
torchvision is not installed its resize is done by the torch operation that it calls.
"""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image

from photos import odd_images, photos
from vlmprune_runtime import resampling
from vlmprune_runtime.image_loading import to_rgb
from vlmprune_runtime.preprocess import preprocess, view_image
from vlmprune_runtime.resize_modes import resized_size
from vlmprune_runtime.schema import Crop, Exact, ImageSpec, Kernel, Resize, ShortestEdge, image_steps

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil  # noqa: E402
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil  # noqa: E402
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil  # noqa: E402

from vlmprune_export.processor.geometric_steps import FILTERS  # noqa: E402

STEP = 1 / 255 + 1e-6
EDGE = {"shortest_edge": 336}
PROCESSORS: dict[str, Any] = {
    "clip": CLIPImageProcessorPil(size=EDGE, crop_size={"height": 336, "width": 336}),
    "bit": BitImageProcessorPil(size=EDGE, crop_size={"height": 200, "width": 301}, resample=2),
    "siglip": SiglipImageProcessorPil(size={"height": 384, "width": 378}),
    "lanczos": CLIPImageProcessorPil(size={"shortest_edge": 257}, crop_size={"height": 101, "width": 98}, resample=1),
    "nearest": CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}, resample=0),
}
IMAGES = photos() | odd_images()


def spec_of(processor: Any) -> ImageSpec:
    """What the exporter would write for a processor."""
    size, crop = processor.size, processor.crop_size if processor.do_center_crop else None
    edge = size.shortest_edge
    to = ShortestEdge(edge_px=edge) if edge else Exact(height_px=size.height, width_px=size.width)
    cut = [Crop(height_px=crop.height, width_px=crop.width)] if crop else []
    return ImageSpec(
        steps=image_steps(
            [Resize(to=to, kernel=Kernel.of(FILTERS[int(processor.resample)])), *cut],
            factor=processor.rescale_factor,
            mean=tuple(processor.image_mean),
            std=tuple(processor.image_std),
        ),
    )


def across_first(image: Image.Image, spec: ImageSpec) -> bool:
    """Whether Pillow's whole resize is across and then down."""
    resize = spec.geometric_steps[0]
    height, width = resized_size(image.height, image.width, resize.to)
    resample = Image.Resampling[resize.kernel.filter.upper()]
    steps = image.resize((width, image.height), resample).resize((width, height), resample)
    return np.array_equal(np.asarray(steps), np.asarray(image.resize((width, height), resample)))


def apart(ours: np.ndarray, theirs: np.ndarray, spec: ImageSpec) -> np.ndarray:
    """Differences before normalisation."""
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs) * np.array(spec.normalise.std)[None, :, None, None]


def test_there_are_enough_photos() -> None:
    """And none of them is skipped below for a processor that keeps the aspect ratio, as LLaVA's does."""
    assert len(photos()) >= 20
    assert all(across_first(to_rgb(image), spec_of(PROCESSORS["clip"])) for image in photos().values())


@pytest.mark.parametrize("photo", IMAGES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_equals_the_pillow_processors(name: str, photo: str) -> None:
    processor, image = PROCESSORS[name], IMAGES[photo]
    spec = spec_of(processor)
    if not across_first(to_rgb(image), spec):
        pytest.skip("this Pillow resizes this image down first")
    ours = preprocess(to_rgb(image), spec)
    theirs = processor(image, return_tensors="np", input_data_format="channels_last")["pixel_values"]
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    assert apart(ours, theirs, spec).max() <= STEP


@pytest.mark.parametrize("photo", IMAGES)
@pytest.mark.parametrize("name", ["clip", "bit", "siglip"])
def test_near_the_torchvision_processors(name: str, photo: str) -> None:
    spec = spec_of(PROCESSORS[name])
    image = to_rgb(IMAGES[photo])
    found = apart(preprocess(image, spec), by_torch(image, spec), spec)
    assert found.max() <= 2 * STEP
    assert (found > STEP).mean() < 1e-4


def by_torch(image: Image.Image, spec: ImageSpec) -> np.ndarray:
    """What the torchvision backend does, with the operation on uint8 that its resize calls."""
    seen, resize = spec.view_size, spec.geometric_steps[0]
    height, width = resized_size(image.height, image.width, resize.to)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    pixels = torch.nn.functional.interpolate(pixels, (height, width), mode=resize.kernel.filter, antialias=True)
    top, left = int((height - seen.height_px) / 2.0), int((width - seen.width_px) / 2.0)
    cut = pixels[..., top : top + seen.height_px, left : left + seen.width_px].numpy()
    mean, std = (np.array(values)[:, None, None] for values in (spec.normalise.mean, spec.normalise.std))
    return (cut * spec.rescale.factor - mean) / std


@pytest.mark.parametrize("name", ["clip", "bit", "siglip"])
def test_near_torchvision_itself(name: str) -> None:
    pytest.importorskip("torchvision")
    kind = {"clip": "CLIPImageProcessor", "bit": "BitImageProcessor", "siglip": "SiglipImageProcessor"}[name]
    fields = {"size": PROCESSORS[name].size, "crop_size": PROCESSORS[name].crop_size}
    processor = getattr(transformers, kind)(**fields, resample=PROCESSORS[name].resample)
    assert processor.backend == "torchvision"
    spec = spec_of(processor)
    for image in IMAGES.values():
        theirs = processor(to_rgb(image), return_tensors="np")["pixel_values"]
        assert apart(preprocess(to_rgb(image), spec), theirs, spec).max() <= 2 * STEP


@pytest.mark.parametrize(("size", "crop", "before"), [(4, 7, (1, 2)), (4, 8, (2, 2)), (6, 7, (0, 1))])
def test_odd_padding_goes_after(size: int, crop: int, before: tuple[int, int]) -> None:
    steps = image_steps([Crop(height_px=crop, width_px=crop)], factor=1.0)
    spec = ImageSpec(steps=steps)
    pixels = preprocess(Image.new("RGB", (size, size), (9, 9, 9)), spec)[0, 0]
    filled = np.flatnonzero(pixels.any(axis=0))
    assert (filled[0], crop - 1 - filled[-1]) == before
    assert (pixels.sum(axis=0) > 0).sum() == size


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (2, 60_000)])
def test_hostile_shapes_cost_nothing(size: tuple[int, int]) -> None:
    spec = spec_of(PROCESSORS["clip"])
    ramp = np.broadcast_to(np.linspace(0, 255, max(size)).astype(np.uint8), (min(size), max(size)))
    image = Image.fromarray(np.ascontiguousarray(ramp if size[0] > size[1] else ramp.T)).convert("RGB")
    tracemalloc.start()
    seen = np.asarray(view_image(image, spec))
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert seen.shape == (336, 336, 3)
    assert np.abs(seen.astype(int) - 127).max() <= 1


@pytest.mark.parametrize("name", ["clip", "bit", "siglip", "lanczos"])
@pytest.mark.parametrize("size", [(900, 7), (7, 900), (20, 2000), (640, 427), (60, 50)])
def test_resizing_the_seen_part_equals_the_whole_resize(
    name: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What huge images get, on images that can be resized whole."""
    spec, dice = spec_of(PROCESSORS[name]), np.random.default_rng(5)
    image = Image.fromarray(dice.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    whole = np.asarray(view_image(image, spec)).astype(int)
    monkeypatch.setattr(resampling, "WHOLE_PX", 0)
    assert np.abs(np.asarray(view_image(image, spec)) - whole).max() <= 1
