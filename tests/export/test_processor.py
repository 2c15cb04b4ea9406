"""Processors as data: what is read from them, and what is refused."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import SiglipImageProcessor

from tiny import TEMPLATE, tiny_llava, tiny_processor
from vlmprune_export.adapters import build_adapter
from vlmprune_export.processor import image_spec, prompt_spec
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.prompt import encode_prompt
from vlmprune_runtime.schema import Exact


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llava()


def test_the_spec_gives_the_processors_pixels(model: Any) -> None:
    processor = tiny_processor("clip").image_processor
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8))
    ours = preprocess(picture, image_spec(processor, build_adapter(model)))
    theirs = processor(picture, return_tensors="np")["pixel_values"]
    step = 1 / 255 / min(processor.image_std)
    assert np.abs(ours - theirs).max() <= step + 1e-6


def test_exact_resize_is_read(model: Any) -> None:
    processor = SiglipImageProcessor(size={"height": 56, "width": 56})
    spec = image_spec(processor, build_adapter(model))
    assert [step.step for step in spec.moves] == ["resize"]
    assert spec.moves[0].to == Exact(height_px=56, width_px=56)


def test_a_size_that_is_not_the_towers_is_refused(model: Any) -> None:
    processor = SiglipImageProcessor(size={"height": 64, "width": 64})
    with pytest.raises(BadRequest, match="the vision tower takes 56 x 56 px"):
        image_spec(processor, build_adapter(model))


def test_padding_to_a_size_is_refused(model: Any) -> None:
    processor = tiny_processor("clip").image_processor
    processor.do_pad, processor.pad_size = True, {"height": 64, "width": 64}
    with pytest.raises(BadRequest, match="pad_size"):
        image_spec(processor, build_adapter(model))


def test_the_prompt_gives_the_processors_ids(model: Any) -> None:
    processor = tiny_processor("clip")
    question = "what is left of the dog ?"
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    picture = Image.new("RGB", (56, 56))
    expected = processor(text=text, images=picture, add_special_tokens=False)["input_ids"][0]
    spec = prompt_spec(processor, model)
    ours = encode_prompt(processor.tokenizer.backend_tokenizer, spec, 49, question)
    assert ours.token_ids.tolist() == list(expected)
    assert ours.token_ids.tolist().count(model.config.image_token_id) == 49


def test_older_checkpoints_have_the_vicuna_prompt(model: Any) -> None:
    processor = tiny_processor("clip")
    processor.chat_template = None
    assert prompt_spec(processor, model).template == "USER: <image>\n{prompt} ASSISTANT:"


def test_a_template_that_loses_the_question_is_refused(model: Any) -> None:
    processor = tiny_processor("clip")
    processor.chat_template = TEMPLATE.replace("{{ part['text'] }}", "")
    with pytest.raises(BadRequest, match="chat template"):
        prompt_spec(processor, model)


def test_stop_tokens_may_be_several_or_missing(model: Any) -> None:
    def named(ids: Any) -> Any:
        nothing = SimpleNamespace(eos_token_id=None)
        config = SimpleNamespace(eos_token_id=None, text_config=nothing, image_token_id=3)
        return SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=ids), config=config)

    assert prompt_spec(tiny_processor("clip"), named([2, 7])).stop_token_ids == (2, 7)
    with pytest.raises(BadRequest, match="eos_token_id"):
        prompt_spec(tiny_processor("clip"), named(None))
