"""A checkpoint whose parts do not fit each other is refused before anything is lowered."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Dinov2WithRegistersConfig, LlavaForConditionalGeneration, PixtralVisionConfig

from tiny import tiny_llava, tiny_processor, write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_export.parity import CheckRequest, check_bundle
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.errors import BadRequest


def refused(folder: Path, tmp_path: Path) -> str:
    lines: list[str] = []
    with pytest.raises(BadRequest) as found:
        export_bundle(
            ExportRequest(tmp_path / "bundle", str(folder), prune=PruneOptions(keep=8)), progress=lines.append
        )
    assert not [line for line in lines if line.startswith("lowering")]
    assert not (tmp_path / "bundle").exists()
    return str(found.value)


def edit_tokenizer(folder: Path, old: str, new: str) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        path = folder / name
        path.write_text(path.read_text().replace(old, new))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_tokenizer_without_the_image_token(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    edit_tokenizer(folder, "<image>", "<picture>")
    assert "has no image token '<image>'; config.json gives it id 3" in refused(folder, tmp_path)


def test_an_image_token_of_another_id(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    edit_config(folder, image_token_id=4)
    assert "gives the image token '<image>' id 3, config.json (image_token_id) 4" in refused(folder, tmp_path)


def test_a_vocabulary_larger_than_the_embedding_table(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["more"] = 96
    path.write_text(json.dumps(content))
    assert "the tokenizer has token ids up to 96, but the embedding table has 96 rows" in refused(folder, tmp_path)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    model = tiny_llava()
    model.model.multi_modal_projector.linear_1.weight.data[0, 0] = torch.nan
    model.save_pretrained(tmp_path / "checkpoint")
    tiny_processor("clip").save_pretrained(tmp_path / "checkpoint")
    assert "features that are not finite" in refused(tmp_path / "checkpoint", tmp_path)


def test_a_weight_of_the_decoder_that_is_not_finite(tmp_path: Path) -> None:
    model = tiny_llava()
    model.model.language_model.layers[2].mlp.up_proj.weight.data[0, 0] = torch.inf
    model.save_pretrained(tmp_path / "checkpoint")
    tiny_processor("clip").save_pretrained(tmp_path / "checkpoint")
    message = refused(tmp_path / "checkpoint", tmp_path)
    assert "model.language_model.layers.2.mlp.up_proj.weight holds numbers that are not finite" in message


@pytest.mark.parametrize("layer", [-99, 99, 0, -5, []])
def test_features_of_a_layer_that_the_tower_does_not_have(layer: object, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    edit_config(folder, vision_feature_layer=layer)
    message = refused(folder, tmp_path)
    assert "vision_feature_layer" in message
    if layer != []:
        assert f"got {layer}; allowed: -4 to -1, 1 to 3, or a list" in message


def test_a_decoder_without_layers(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "checkpoint")
    config = json.loads((folder / "config.json").read_text())
    edit_config(folder, text_config=config["text_config"] | {"num_hidden_layers": -1})
    assert "layers that config.json does not describe" in refused(folder, tmp_path)


TOWERS = {
    "pixtral": (PixtralVisionConfig, {}, "vision tower 'pixtral' has a grid of each image's own size"),
}


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("strategy", ["default", "full"])
def test_towers_whose_features_are_not_a_grid(tower: str, strategy: str, tmp_path: Path) -> None:
    kind, settings, message = TOWERS[tower]
    config = tiny_llava().config
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config.vision_config = kind(**sizes, image_size=56, patch_size=8, **settings)
    config.vision_feature_select_strategy = strategy
    LlavaForConditionalGeneration(config).save_pretrained(tmp_path / "checkpoint")
    tiny_processor("clip").save_pretrained(tmp_path / "checkpoint")
    assert message in refused(tmp_path / "checkpoint", tmp_path)


def test_a_bundle_of_a_tower_with_registers(tmp_path: Path) -> None:
    """Exported and checked: the rows of the registers stay in the sequence."""
    config = tiny_llava().config
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config.vision_config = Dinov2WithRegistersConfig(**sizes, image_size=56, patch_size=8, num_register_tokens=4)
    LlavaForConditionalGeneration(config).save_pretrained(tmp_path / "checkpoint")
    tiny_processor("clip").save_pretrained(tmp_path / "checkpoint")
    request = ExportRequest(tmp_path / "bundle", str(tmp_path / "checkpoint"), prune=PruneOptions(keep=8))
    made = export_bundle(request)
    assert open_bundle(made).manifest.grids[0].prefix_tokens == 4
    assert check_bundle(CheckRequest(made, prompt="what is in the picture ?", tokens=3)).failures() == []
