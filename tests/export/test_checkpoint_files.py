"""Checkpoints as people have them: damaged files, configs that do not fit, code of their own."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny import write_checkpoint
from vlmprune_export.backends import TARGETS, backend_for
from vlmprune_export.checkpoint import Checkpoint, load_checkpoint
from vlmprune_export.checkpoint.memory_check import LOADED, MemoryNeed, need_of
from vlmprune_export.families import build_family
from vlmprune_export.processor import generation_settings, image_spec
from vlmprune_runtime.errors import BadRequest

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 9\n"
FIRST_FORMAT = {
    "architectures": ["LlavaLlamaForCausalLM"],
    "model_type": "llava",
    "mm_vision_tower": "openai/clip-vit-large-patch14",
    "hidden_size": 48,
    "vocab_size": 320,
}


def load(folder: Path) -> Checkpoint:
    return load_checkpoint(str(folder), progress=lambda line: None)


def edit(folder: Path, file: str, **changes: Any) -> None:
    content = json.loads((folder / file).read_text())
    for name, value in changes.items():
        *outer, last = name.split("__")
        place = content
        for key in outer:
            place = place[key]
        place[last] = value
    (folder / file).write_text(json.dumps(content))


def cut(name: str) -> Callable[[Path], None]:
    def shorten(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])

    return shorten


def put(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def as_shards(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def as_cut_pytorch(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    cut("pytorch_model.bin")(folder)


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("ran",)


def with_pickled_code(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors") | {"code": Code()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def restore(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    stored = {name: change(weight) for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights are a pointer": (put("model.safetensors", POINTER), "model.safetensors is a git-lfs pointer.*lfs pull"),
    "tokenizer is a pointer": (put("tokenizer.json", POINTER), "tokenizer.json is a git-lfs pointer"),
    "weights are cut": (cut("model.safetensors"), r"model.safetensors is cut short: [\d,]+ bytes of [\d,]+; fetch it"),
    "weights are empty": (put("model.safetensors", ""), "model.safetensors is no safetensors file"),
    "weights are a page": (put("model.safetensors", "<html>not found</html>"), "model.safetensors is no safetensors"),
    "tokenizer is cut": (cut("tokenizer.json"), "tokenizer.json is no JSON file, or is cut short"),
    "config is cut": (cut("config.json"), "config.json is no JSON file, or is cut short"),
    "a shard is missing": (as_shards, "model-00002-of-00002.safetensors is missing, which .*index.json names"),
    "PyTorch weights are cut": (as_cut_pytorch, "pytorch_model.bin is no file of PyTorch weights, or is cut short"),
    "PyTorch weights with code": (with_pickled_code, "its pickled weights hold more than tensors, which may run code"),
    "quantisation as a word": (
        lambda folder: edit(folder, "config.json", quantization_config="x"),
        "quantization_config: got 'x', allowed: an object",
    ),
    "unknown rope": (
        lambda folder: edit(folder, "config.json", text_config__rope_scaling={"type": "mine"}),
        "its settings name 'mine', which transformers does not know",
    ),
    "no text_config": (
        lambda folder: edit(folder, "config.json", text_config=None),
        r"config.json describes a model of [\d,]+ weights \(are text_config .*the files hold about [\d,]+; config and",
    ),
    "first format": (put("config.json", json.dumps(FIRST_FORMAT)), r"LLaVA's first format \(LlavaLlamaForCausalLM\)"),
    "vocabulary of the config": (
        lambda folder: edit(folder, "config.json", text_config__vocab_size=100),
        r"(embed_tokens|lm_head).weight is 96 x 48 in the weights but 100 x 48 by config.json \(text_config.vocab_size",
    ),
    "image size of the config": (
        lambda folder: edit(folder, "config.json", vision_config__image_size=64),
        r"position_embedding.weight is 50 x 32 in the weights but 65 x 32 by config.json \(vision_config.image_size",
    ),
    "quantised with GPTQ": (
        lambda folder: edit(folder, "config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
        "is quantised with gptq, which cannot be undone here .*give --quant",
    ),
    "quantised with AWQ": (
        lambda folder: edit(folder, "config.json", quantization_config={"quant_method": "awq", "bits": 4}),
        "is quantised with awq",
    ),
    "weights of whole numbers": (
        lambda folder: restore(folder, lambda weight: weight.to(torch.int8)),
        r"\.weight is stored as I8, and config.json names no quantisation",
    ),
    "a layer too many": (
        lambda folder: edit(folder, "config.json", text_config__num_hidden_layers=3),
        "holds 1 layers that config.json does not describe .*'model.language_model.layers.3' among them",
    ),
    "GGUF": (
        lambda folder: (folder / "model.safetensors").rename(folder / "q4.gguf"),
        "has no weights, but q4.gguf, which are not read; allowed: model.safetensors or",
    ),
    "quantised with MLX": (
        lambda folder: edit(folder, "config.json", quantization={"group_size": 64, "bits": 4}),
        "is quantised with mlx",
    ),
    "quantised tower": (
        lambda folder: edit(folder, "config.json", vision_config__quantization_config={"quant_method": "awq"}),
        "is quantised with awq",
    ),
    "heads that do not divide": (
        lambda folder: edit(folder, "config.json", text_config__num_attention_heads=7),
        r"The hidden size \(48\) is not a multiple of the number of attention heads \(7\)",
    ),
    "a word for a number": (
        lambda folder: edit(folder, "config.json", text_config__num_attention_heads="six"),
        "Field 'num_attention_heads' expected int, got str",
    ),
    "no size of patches": (
        lambda folder: edit(folder, "config.json", vision_config__patch_size=0),
        "cannot be loaded as a checkpoint: integer division",
    ),
    "an unknown tower": (
        lambda folder: edit(folder, "config.json", vision_config__model_type="supervit"),
        r"Unrecognized model type for subconfig: supervit\.$",
    ),
    "a tokenizer of a kind to come": (
        lambda folder: edit(folder, "tokenizer.json", model__type="SuperBPE"),
        "cannot be loaded as a checkpoint: ",
    ),
    "another family": (
        lambda folder: edit(folder, "config.json", model_type="gpt2"),
        "unknown model type 'gpt2'; choose one of: .*llava",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_checkpoint_that_cannot_be_right_is_refused_in_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_checkpoint(tmp_path / "checkpoint")
    damage, message = DAMAGE[case]
    damage(folder)
    with pytest.raises(BadRequest, match=message) as refused:
        load(folder)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
    assert not (tmp_path / "ran").exists()


def test_flash_attention_in_a_config_changes_nothing(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    pixels = torch.randn(1, 3, 56, 56)
    before: Any = load(folder).model
    edit(folder, "config.json", _attn_implementation="flash_attention_2", attn_implementation="flash_attention_2")
    edit(folder, "config.json", text_config___attn_implementation="flash_attention_2")
    edit(folder, "config.json", vision_config___attn_implementation="flash_attention_2")
    after: Any = load(folder).model
    features = [model.get_image_features(pixels, return_dict=True).pooler_output[0] for model in (before, after)]
    assert torch.equal(*features)


MODULE = "from pathlib import Path\nPath({marker!r}).write_text('run')\nclass Mine: pass\n"
NAMES = ("AutoConfig", "AutoModelForImageTextToText", "AutoProcessor", "AutoTokenizer", "AutoImageProcessor")
OWN = {name: ["mine.Mine", "mine.Mine"] if name == "AutoTokenizer" else "mine.Mine" for name in NAMES}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config.json": {}, "tokenizer_config.json": {}, "processor_config.json": {}}, None),
        ({"config.json": {"model_type": "mine"}}, "of model type 'mine', which needs Python code of its own"),
        ({"tokenizer_config.json": {"tokenizer_class": "Mine"}}, None),  # tokenizer.json says it all
        ({"processor_config.json": {"processor_class": "Mine"}}, "needs Python code of its own"),
    ],
)
def test_code_from_a_checkpoint_is_neither_run_nor_asked_for(
    changes: dict[str, dict[str, Any]], message: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "y")
    folder, marker = write_checkpoint(tmp_path / "checkpoint"), tmp_path / "marker"
    (folder / "mine.py").write_text(MODULE.format(marker=str(marker)))
    for file, entries in changes.items():
        edit(folder, file, auto_map=OWN, **entries)
    if message is None:
        assert type(load(folder).model).__module__.startswith("transformers.")
    else:
        with pytest.raises(BadRequest, match=f"{message}.*never run"):
            load(folder)
    assert not marker.exists()
    assert asked == []


def huge_weights(folder: Path, weights: int) -> None:
    """A file of that many bf16 weights, none of which takes room on the disk."""
    entry = {"dtype": "BF16", "shape": [weights], "data_offsets": [0, 2 * weights]}
    header = json.dumps({"model.lm_head.weight": entry}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 2 * weights)


@pytest.mark.parametrize(
    ("free", "need", "message"),
    [
        (
            24e9,
            LOADED,
            "7.00 billion weights and takes about 40.05 GiB of memory .*, but 22.35 GiB are free; .* swap",
        ),
        (110e9, need_of("coreml", "none"), r"takes about 115.11 GiB .*what helps: --quant int8 \(about 98.91 GiB\)"),
        (24e9, need_of("onnx", "int8"), "what helps: more memory or swap.*--ignore-memory tries it all the same"),
        (24e9, need_of("coreml", "none"), "what helps: more memory or swap"),
    ],
)
def test_what_does_not_fit_into_memory_is_not_loaded(
    free: float, need: MemoryNeed, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    huge_weights(folder, 7_000_000_000)
    monkeypatch.setattr("vlmprune_export.checkpoint.memory_check.free_bytes", lambda: free)
    with pytest.raises(BadRequest, match=message):
        load_checkpoint(str(folder), progress=lambda line: None, need=need)


def test_what_seems_too_big_is_loaded_if_memory_is_to_be_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    monkeypatch.setattr("vlmprune_export.checkpoint.memory_check.free_bytes", lambda: 10.0)
    with pytest.raises(BadRequest, match="--ignore-memory"):
        load(folder)
    assert load_checkpoint(str(folder), progress=lambda line: None, need=None).name == "checkpoint"


@pytest.mark.parametrize("target", TARGETS)
def test_every_quantisation_of_every_target_has_an_estimate(target: str) -> None:
    pytest.importorskip({"onnx": "onnx", "coreml": "coremltools"}.get(target, target))
    for quantisation in backend_for(target).QUANTISATIONS:
        assert need_of(target, quantisation).bytes(10**9) > 4e9


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("generation_config.json", {"eos_token_id": "x"}, "generation_config.json: a setting has a value of a wrong"),
        ("generation_config.json", {"top_k": "many", "do_sample": True}, "generation_config.json: "),
        ("processor_config.json", {"image_processor__size": {"shortest_edge": -5}}, "the image processor's config: "),
        ("processor_config.json", {"image_processor__image_mean": ["a", 0, 0]}, "the image processor's config: "),
        ("processor_config.json", {"image_processor__rescale_factor": "half"}, "the image processor's config: "),
        ("processor_config.json", {"image_processor__resample": 77}, "the image processor's config: |resample"),
    ],
)
def test_settings_of_a_wrong_kind_are_refused_in_one_line(
    file: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    edit(folder, file, **changes)
    with pytest.raises(BadRequest, match=message) as refused:
        checkpoint = load(folder)
        generation_settings(checkpoint.model)
        image_spec(checkpoint.processor.image_processor, build_family(checkpoint.model))
    assert "\n" not in str(refused.value)
