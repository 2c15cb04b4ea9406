"""LoRA adapters: merged weights against PEFT's own, and what is refused instead of passed over."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import LlavaForConditionalGeneration

from tiny import write_checkpoint
from vlmprune_export.checkpoint import load_checkpoint
from vlmprune_runtime.errors import BadRequest

LINEAR = ["q_proj", "down_proj", "linear_1"]
CASES: dict[str, dict[str, Any]] = {
    "linear": {"target_modules": LINEAR},
    "rank-stabilised": {"target_modules": LINEAR, "use_rslora": True},
    "patterns": {"target_modules": LINEAR, "rank_pattern": {"down_proj": 2}, "alpha_pattern": {"q_proj": 5}},
    "modules to save": {"target_modules": LINEAR, "modules_to_save": ["multi_modal_projector"]},
    "biases": {"target_modules": ["fc1"], "bias": "all"},
    "embedding and head": {"target_modules": ["embed_tokens", "lm_head"]},
    "tower": {"target_modules": ["fc1", "v_proj"]},
}


def load(folder: Path) -> LlavaForConditionalGeneration:
    model: Any = load_checkpoint(str(folder), progress=lambda line: None).model
    return model  # type: ignore[no-any-return]


def plain(folder: Path) -> LlavaForConditionalGeneration:
    model: Any = LlavaForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, adapter_kwargs={"subfolder": "none"}
    )
    return model  # type: ignore[no-any-return]


def write_adapter(base: Path, folder: Path, **settings: Any) -> Path:
    """A random adapter, none of whose weights are zero."""
    model = get_peft_model(plain(base), LoraConfig(r=4, lora_alpha=7, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(base)}))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base"))


def weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("case", CASES)
def test_merged_weights_are_those_of_peft(case: str, base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base, tmp_path / "adapter", **CASES[case])
    expected = weights(PeftModel.from_pretrained(plain(base), adapter).merge_and_unload())
    before, merged = weights(plain(base)), weights(load(adapter))
    assert merged.keys() == expected.keys()
    changed = [name for name in before if not torch.equal(before[name], merged[name])]
    assert changed
    for name, weight in merged.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-6, atol=1e-6)


def test_an_adapter_beside_its_base_weights_is_merged(base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base, tmp_path / "adapter", target_modules=LINEAR)
    both = tmp_path / "both"
    shutil.copytree(base, both)
    shutil.copytree(adapter, both, dirs_exist_ok=True)
    alone, beside = weights(load(adapter)), weights(load(both))
    assert alone.keys() == beside.keys()
    assert all(torch.equal(beside[name], alone[name]) for name in alone)


def test_a_head_tied_to_the_embedding_changes_alone(tmp_path: Path) -> None:
    base = write_checkpoint(tmp_path / "base", tied=True)
    merged = load(write_adapter(base, tmp_path / "adapter", target_modules=["lm_head"]))
    before = plain(base).lm_head.weight
    assert torch.equal(merged.model.language_model.embed_tokens.weight, before)
    assert not torch.allclose(merged.lm_head.weight, before)


def test_names_of_older_adapters_are_understood(base: Path, tmp_path: Path) -> None:
    """Before transformers 4.52 the decoder was `language_model.model`."""
    from safetensors.torch import load_file, save_file

    adapter = write_adapter(base, tmp_path / "adapter", target_modules=["down_proj"])
    expected = weights(load(adapter))
    path = adapter / "adapter_model.safetensors"
    old = {name.replace(".model.language_model.", ".language_model.model."): w for name, w in load_file(path).items()}
    assert old.keys() != load_file(path).keys()
    save_file(old, path)
    found = weights(load(adapter))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_dora": True}, "has use_dora set, which is not merged here; merge it with PEFT"),
        ({"peft_type": "LOHA"}, "is of kind LOHA; allowed: LORA"),
        ({"init_lora_weights": "pissa"}, "starts from weights changed by 'pissa'"),
        ({"some_later_variant": True}, "has some_later_variant set"),
        ({"base_model_name_or_path": "/nowhere/at all"}, "is an adapter to '/nowhere/at all', which is not at hand"),
        ({"base_model_name_or_path": None}, "names no base model"),
    ],
)
def test_what_is_not_covered_is_refused(change: dict[str, Any], message: str, base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base, tmp_path / "adapter", target_modules=LINEAR)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadRequest, match=message):
        load(adapter)


def test_an_adapter_of_another_model_is_refused(base: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    adapter = write_adapter(base, tmp_path / "adapter", target_modules=LINEAR)
    path = adapter / "adapter_model.safetensors"
    save_file({name.replace("layers.0", "layers.9"): weight for name, weight in load_file(path).items()}, path)
    with pytest.raises(BadRequest, match=r"layers.9.*does not fit the model"):
        load(adapter)


@pytest.mark.parametrize("lost", ["adapter_model.safetensors", None])
def test_an_adapter_that_is_not_whole_is_refused(lost: str | None, base: Path, tmp_path: Path) -> None:
    adapter = write_adapter(base, tmp_path / "adapter", target_modules=LINEAR)
    if lost:
        (adapter / lost).unlink()
    else:
        (adapter / "non_lora_trainables.bin").write_bytes(b"PK")
    with pytest.raises(BadRequest, match="no weights beside it" if lost else "trained beside the adapter"):
        load(adapter)
