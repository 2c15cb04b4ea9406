"""Checkpoints whose weights are quantised are loaded as the plain weights that their format stands for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from tiny import tiny_processor, write_checkpoint
from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_runtime.errors import BadRequest, MissingExtra
from vlmprune_runtime.installation import install_command

EXTRA = install_command("quantised")


def loaded(folder: Path) -> dict[str, Tensor]:
    model: Any = load_checkpoint(str(folder), progress=lambda line: None).model
    return {name: weight.detach() for name, weight in model.named_parameters()}


def text_matrices(weights: dict[str, Tensor]) -> Iterator[str]:
    """Names of the matrices of the language model's layers, as files and models have them."""
    return (
        name for name, weight in weights.items() if "language_model" in name and ".layers." in name and weight.ndim == 2
    )


def edit_config(folder: Path, **settings: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))


def check_close(folder: Path, plain: dict[str, Tensor], relative: float) -> None:
    """Every matrix is a plain fp32 one, off by no more than the format's steps, but not equal; all else is equal."""
    weights = loaded(folder)
    assert weights.keys() == plain.keys()
    assert {type(weight.data) for weight in weights.values()} == {Tensor}
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    for name in plain:
        error = float((weights[name] - plain[name]).norm() / plain[name].norm().clamp(min=1e-9))
        assert error < relative, name
    name = next(text_matrices(plain))
    assert not torch.equal(weights[name], plain[name])


def as_fp8(folder: Path, *, scales: bool = True) -> None:
    """Stores the language model's matrices in fp8 with a scale per block of 128 x 128."""
    path = folder / "model.safetensors"
    stored = load_file(path)
    for name in list(text_matrices(stored)):
        scale = stored[name].abs().max() / 448
        stored[name] = (stored[name] / scale).to(torch.float8_e4m3fn)
        if scales:
            stored[f"{name}_scale_inv"] = scale.reshape(1, 1)
    assert any(weight.dtype == torch.float8_e4m3fn for weight in stored.values())
    save_file(stored, path, metadata={"format": "pt"})
    skipped = ["vision_tower", "multi_modal_projector", "lm_head"]
    edit_config(
        folder, quant_method="fp8", activation_scheme="dynamic", weight_block_size=[128, 128],
        modules_to_not_convert=skipped,
    )  # fmt: skip


def test_fp8_weights_are_multiplied_by_their_scales(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    plain = loaded(folder)
    as_fp8(folder)
    check_close(folder, plain, 0.05)


def test_fp8_weights_without_scales_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    as_fp8(folder, scales=False)
    with pytest.raises(BadRequest, match=r"is in fp8 and .* has no scale for it"):
        loaded(folder)


def test_compressed_tensors_are_decompressed(tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors", reason=f"compressed-tensors is not installed: {EXTRA}")
    folder = write_checkpoint(tmp_path / "checkpoint")
    plain, path = loaded(folder), folder / "model.safetensors"
    stored = load_file(path)
    for name in list(text_matrices(stored)):
        scale = stored[name].abs().amax(1, keepdim=True) / 127
        stored[name] = (stored[name] / scale).round().to(torch.int8)
        stored[f"{name}_scale"] = scale
    save_file(stored, path, metadata={"format": "pt"})
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False}
    edit_config(
        folder, quant_method="compressed-tensors", format="int-quantized", quantization_status="compressed",
        ignore=["lm_head", "re:.*vision_tower.*", "re:.*multi_modal_projector.*"],
        config_groups={"group_0": {"targets": ["Linear"], "weights": weights}},
    )  # fmt: skip
    check_close(folder, plain, 0.02)


def test_torchao_tensors_become_plain_ones(tmp_path: Path) -> None:
    torchao = pytest.importorskip("torchao.quantization", reason="torchao is not installed: vlmprune[executorch]")
    from transformers import TorchAoConfig

    folder, quantised = write_checkpoint(tmp_path / "checkpoint"), tmp_path / "quantised"
    plain = loaded(folder)
    kinds = TorchAoConfig(
        torchao.Int8WeightOnlyConfig(), modules_to_not_convert=["vision_tower", "multi_modal_projector", "lm_head"]
    )
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder, quantization_config=kinds, dtype=torch.float32)
    model.save_pretrained(quantised)
    tiny_processor("clip").save_pretrained(quantised)
    check_close(quantised, plain, 0.02)


def test_bitsandbytes_weights_are_dequantised(tmp_path: Path) -> None:
    """In 8 bits: of rows that are no multiple of 64 long, bitsandbytes' 4-bit kernel for CPUs itself makes noise."""
    pytest.importorskip("bitsandbytes", reason=f"bitsandbytes is not installed: {EXTRA}")
    from transformers import BitsAndBytesConfig

    folder, quantised = write_checkpoint(tmp_path / "checkpoint"), tmp_path / "quantised"
    plain = loaded(folder)
    kinds = BitsAndBytesConfig(
        load_in_8bit=True, llm_int8_skip_modules=["vision_tower", "multi_modal_projector", "lm_head"]
    )
    model: Any = LlavaForConditionalGeneration.from_pretrained(folder, quantization_config=kinds, dtype=torch.float32)
    model.save_pretrained(quantised)
    tiny_processor("clip").save_pretrained(quantised)
    check_close(quantised, plain, 0.02)


def test_rows_that_bitsandbytes_cannot_dequantise_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlmprune_export.checkpoint.dequantisation.find_spec", lambda name: object())
    folder = write_checkpoint(tmp_path / "checkpoint")
    edit_config(folder, quant_method="bitsandbytes", load_in_4bit=True)
    state = json.dumps({"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [80, 48]}).encode()
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(
        {f"{name}.quant_state.bitsandbytes__nf4": torch.tensor(list(state), dtype=torch.uint8)},
        folder / "4.safetensors",
    )
    with pytest.raises(BadRequest, match=f"{name} has rows of 48 in 4 bits.*allowed: multiples of 64"):
        loaded(folder)


@pytest.mark.parametrize("method", ["bitsandbytes", "compressed-tensors", "torchao"])
def test_a_missing_library_is_named_with_its_extra(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmprune_export.checkpoint.dequantisation.find_spec", lambda name: None)
    folder = write_checkpoint(tmp_path / "checkpoint")
    edit_config(folder, quant_method=method)
    with pytest.raises(MissingExtra, match=r"pip install .*\[(quantised|executorch)\]'"):
        loaded(folder)
