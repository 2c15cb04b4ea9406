"""Processors as data: what is read from them, and what is refused."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import SiglipImageProcessor
from transformers.models.clip import CLIPImageProcessorPil
from transformers.models.llava import LlavaImageProcessorPil

from tiny import tiny_llava, tiny_processor
from vlmprune_export.families import build_family
from vlmprune_export.processor import image_spec
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.schema import Exact


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llava()


def test_the_spec_gives_the_processors_pixels(model: Any) -> None:
    processor = tiny_processor("clip").image_processor
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8))
    ours = preprocess(image, image_spec(processor, build_family(model)))
    theirs = processor(image, return_tensors="np")["pixel_values"]
    step = 1 / 255 / min(processor.image_std)
    assert np.abs(ours - theirs).max() <= step + 1e-6


def test_exact_resize_is_read(model: Any) -> None:
    processor = SiglipImageProcessor(size={"height": 56, "width": 56})
    spec = image_spec(processor, build_family(model))
    assert [step.step for step in spec.geometric_steps] == ["resize"]
    assert spec.geometric_steps[0].to == Exact(height_px=56, width_px=56)


def test_a_size_that_is_not_the_towers_is_refused(model: Any) -> None:
    processor = SiglipImageProcessor(size={"height": 64, "width": 64})
    with pytest.raises(BadRequest, match="the vision tower takes 56 x 56 px"):
        image_spec(processor, build_family(model))


def pillow_clip() -> Any:
    """CLIP's processor with its Pillow backend, whether torchvision is installed or not."""
    return CLIPImageProcessorPil(size={"shortest_edge": 56}, crop_size=56)


def apart(processor: Any, model: Any, size: tuple[int, int] = (90, 70)) -> float:
    """The greatest difference from the processor's own pixels."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    ours = preprocess(image, image_spec(processor, build_family(model)))
    return float(np.abs(ours - np.asarray(processor(image, return_tensors="np")["pixel_values"])).max())


def test_one_number_stands_for_three_channels(model: Any) -> None:
    processor = pillow_clip()
    processor.image_mean, processor.image_std = 0.45, 0.25
    assert apart(processor, model) <= 1e-5


@pytest.mark.parametrize("value", [[0.5, 0.5], [0.5], "grey", None])
def test_other_than_one_or_three_numbers(model: Any, value: Any) -> None:
    processor = tiny_processor("clip").image_processor
    processor.image_mean = value
    with pytest.raises(BadRequest, match=r"image_mean of the image processor: got .*; allowed: one number or three"):
        image_spec(processor, build_family(model))


@pytest.mark.parametrize("size", [(90, 70), (33, 120), (64, 64)])
@pytest.mark.parametrize("crop", [True, False])
def test_llavas_own_padding(model: Any, crop: bool, size: tuple[int, int]) -> None:
    """The shorter side is padded with the mean colour before the resize."""
    edge = {"shortest_edge": 56}
    processor = LlavaImageProcessorPil(size=edge, crop_size=56, do_center_crop=crop, do_pad=True)
    assert apart(processor, model, size) <= 1e-5


def test_padding_that_only_the_config_names(model: Any) -> None:
    """As LLaVA's first configs do: the pixels are those of a `LlavaImageProcessor` that pads."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 95, 3), np.uint8))
    padding = LlavaImageProcessorPil(size={"shortest_edge": 56}, crop_size=56, do_pad=True)
    model.config.image_aspect_ratio, told = "pad", list[str]()
    try:
        ours = preprocess(image, image_spec(pillow_clip(), build_family(model), told.append))
        image_spec(padding, build_family(model), told.append)
    finally:
        del model.config.image_aspect_ratio
    assert [line.split(":")[1] for line in told] == [" images are padded to a square"]
    assert np.abs(ours - np.asarray(padding(image)["pixel_values"])).max() <= 1e-5


def test_a_shape_that_the_tower_has_no_place_for(model: Any) -> None:
    model.config.image_aspect_ratio = "anyres"
    try:
        with pytest.raises(BadRequest, match="'anyres'; choose one of: pad, square"):
            image_spec(tiny_processor("clip").image_processor, build_family(model))
    finally:
        del model.config.image_aspect_ratio


def test_padding_to_the_largest_of_a_batch_changes_nothing(model: Any) -> None:
    processor = pillow_clip()
    processor.do_pad = True
    assert apart(processor, model) <= 1e-5


def test_no_crop_says_what_to_set(model: Any) -> None:
    processor = tiny_processor("clip").image_processor
    processor.do_center_crop = False
    with pytest.raises(BadRequest, match=r"keeps each image's own shape.*do_center_crop"):
        image_spec(processor, build_family(model))


@pytest.mark.parametrize("size", [{"longest_edge": 56}, {"shortest_edge": 56, "longest_edge": 90}, {}])
def test_sizes_that_are_not_covered(model: Any, size: dict[str, int]) -> None:
    processor = tiny_processor("clip").image_processor
    processor.size = size
    with pytest.raises(BadRequest, match=r"size of the image processor: got .*; allowed: height and width, or short"):
        image_spec(processor, build_family(model))


def test_filters_that_are_not_covered(model: Any) -> None:
    processor = tiny_processor("clip").image_processor
    processor.resample = 4
    with pytest.raises(BadRequest, match=r"resample of the image processor: got 4; allowed: 0 \(nearest\), 1 "):
        image_spec(processor, build_family(model))


def test_padding_to_a_size_is_refused(model: Any) -> None:
    processor = tiny_processor("clip").image_processor
    processor.do_pad, processor.pad_size = True, {"height": 64, "width": 64}
    with pytest.raises(BadRequest, match="pad_size"):
        image_spec(processor, build_family(model))
