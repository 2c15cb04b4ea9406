"""The assembled checkpoint against independent readings of its weight_packages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sessions import session_of
from vlmprune_export.pocket_model import language_model, vision_tower
from vlmprune_export.pocket_model.assembly import pocket_checkpoint
from vlmprune_export.pocket_model.trained_weights import trained_weights
from vlmprune_export.pocket_model.weight_packages import LANGUAGE_MODEL, VISION_TOWER, package_file

pytestmark = pytest.mark.pocket
QUESTION = "What color is the background?"
# "<|im_start|>", 576 image tokens, then what SmolLM2's tokenizer makes of "Q: What color is the background? A:".
QUESTION_IDS = [65, 42, 1812, 2380, 314, 260, 3969, 47, 330, 42]


def silent(line: str) -> None:
    pass


def encoded(processor: Any, image: Image.Image) -> Any:
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return processor(text=text, images=image, return_tensors="pt")


def test_ids_are_exactly_those_of_training(pocket: tuple[Any, Any]) -> None:
    inputs = encoded(pocket[1], Image.new("RGB", (640, 480), "red"))
    assert inputs["input_ids"].tolist() == [[1] + [4] * 576 + QUESTION_IDS]
    assert inputs["pixel_values"].shape == (1, 3, 336, 336)


def test_an_answer_is_written_as_in_training(pocket: tuple[Any, Any]) -> None:
    messages = [{"role": "user", "content": "Is it red?"}, {"role": "assistant", "content": "yes"}]
    assert pocket[1].apply_chat_template(messages) == "<|im_start|>Q: Is it red? A: yes<|im_end|>"


def test_it_answers_and_stops(pocket: tuple[Any, Any]) -> None:
    model, processor = pocket
    noise = np.random.default_rng(0).integers(-12, 13, (336, 336, 1))  # flat images were not in the training
    inputs = encoded(processor, Image.fromarray((noise + np.array([200, 40, 40])).astype(np.uint8)))
    answer = model.generate(**inputs, max_new_tokens=5)[0, inputs["input_ids"].shape[1] :]
    assert answer.tolist()[-1] == language_model.END_ID
    assert processor.decode(answer, skip_special_tokens=True).strip() == "red"


def test_embedding_is_tied(pocket: tuple[Any, Any], pocket_folder: Path) -> None:
    model, _ = pocket
    assert model.lm_head.weight.data_ptr() == model.model.language_model.embed_tokens.weight.data_ptr()
    assert (pocket_folder / "model.safetensors").stat().st_size < 320e6


def test_pixels_are_those_of_the_training_pipeline(pocket: tuple[Any, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (336, 336, 3), np.uint8)
    got = encoded(pocket[1], Image.fromarray(pixels))["pixel_values"][0].permute(1, 2, 0).numpy()
    want = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert np.abs(got - want).max() < 1e-5


def test_language_model_equals_transformers_own_gguf_reading(pocket: tuple[Any, Any]) -> None:
    from transformers import AutoModelForCausalLM

    path = package_file(LANGUAGE_MODEL, silent)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    trained, layers = trained_weights(), dict(model.model.named_parameters())
    with torch.no_grad():
        for name in [name for name in trained if name.startswith("language_") and name.endswith("lora_A.weight")]:
            target = layers[name.removeprefix("language_model.").replace(".lora_A", "")]
            update = trained[name.replace("lora_A", "lora_B")].float() @ trained[name].float()
            target.add_(update, alpha=2.0)
    ids = torch.tensor([[language_model.START_ID, *QUESTION_IDS]])
    with torch.inference_mode():
        want, got = model(input_ids=ids).logits, pocket[0](input_ids=ids).logits
    assert (want - got).abs().max() < 0.05  # the checkpoint is fp16; logits go up to about 30
    assert torch.equal(want.argmax(-1), got.argmax(-1))


def test_tower_equals_the_onnx_graph(tmp_path: Path) -> None:
    import onnx
    from transformers import Dinov2Config, Dinov2Model

    path = package_file(VISION_TOWER, silent)
    graph = onnx.load(str(path))
    before = "/backbone/encoder/layer.10/norm1/"
    state = next(node.input[0] for node in graph.graph.node if node.name == f"{before}ReduceMean")
    graph.graph.output.append(onnx.helper.make_tensor_value_info(state, onnx.TensorProto.FLOAT, None))
    session = session_of(graph.SerializeToString())
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 4 - 2
    (want,) = session.run([state], {"input_image": pixels.numpy()})
    model = Dinov2Model(Dinov2Config(**vision_tower.CONFIG | {"image_size": 224})).eval()
    model.load_state_dict(vision_tower.tower_weights(path, grid=16))
    with torch.inference_mode():
        got = model(pixels, output_hidden_states=True).hidden_states[10]
    assert np.abs(got.numpy() - want).max() < 1e-3


def test_the_tower_is_the_packages_with_what_was_tuned_added(pocket: tuple[Any, Any]) -> None:
    plain, trained = vision_tower.tower_weights(package_file(VISION_TOWER, silent)), trained_weights()
    found = pocket[0].model.vision_tower.state_dict()
    tuned = {name.removeprefix("vision_tower.") for name in trained if name.startswith("vision_tower.")}
    assert len(tuned) == 72
    for name, value in plain.items():
        stem = name.removesuffix(".weight")
        if f"{stem}.lora_A.weight" in tuned:
            lora_a, lora_b = (trained[f"vision_tower.{stem}.lora_{part}.weight"].float() for part in "AB")
            assert (found[name] - value - 2.0 * lora_b @ lora_a).abs().max() < 2e-3  # the checkpoint is fp16
            assert (found[name] - value).abs().max() > 2e-3
        else:
            assert (found[name] - value).abs().max() < 6e-3 * value.abs().max().clamp(min=1e-3)


def test_positions_are_what_hf_would_interpolate(pocket: tuple[Any, Any]) -> None:
    from transformers import Dinov2Config, Dinov2Model

    path = package_file(VISION_TOWER, silent)
    model = Dinov2Model(Dinov2Config(**vision_tower.CONFIG | {"image_size": 518})).eval()
    model.load_state_dict(vision_tower.tower_weights(path, grid=37))
    pixels = torch.rand(1, 3, 336, 336, generator=torch.Generator().manual_seed(0)) * 4 - 2
    with torch.inference_mode():
        want = model(pixels, output_hidden_states=True).hidden_states[10]
        model = Dinov2Model(Dinov2Config(**vision_tower.CONFIG)).eval()
        model.load_state_dict(vision_tower.tower_weights(path))
        got = model(pixels, output_hidden_states=True).hidden_states[10]
    assert (want - got).abs().max() < 1e-4


def test_it_is_made_once(pocket_folder: Path) -> None:
    shown: list[str] = []
    assert pocket_checkpoint(progress=shown.append) == pocket_folder
    assert shown == []
