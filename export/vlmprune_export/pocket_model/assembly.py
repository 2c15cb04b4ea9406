"""Assembles the default model as a plain Hugging Face folder in the cache."""

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vlmprune_export.pocket_model import language_model, vision_tower
from vlmprune_export.pocket_model.prompt import write_processor
from vlmprune_export.pocket_model.trained_weights import merged, projector_weights, trained_weights
from vlmprune_export.pocket_model.weight_packages import LANGUAGE_MODEL, VISION_TOWER, cache_folder, package_file
from vlmprune_runtime.atomic import move_folder, writing
from vlmprune_runtime.lock import locked
from vlmprune_runtime.progress import Report, silent

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlavaConfig, LlavaForConditionalGeneration

PATIENCE_S = 3600.0  # for another process that fetches and assembles


def pocket_checkpoint(*, progress: Report = silent) -> Path:
    """Returns the folder of the default model, a `LlavaForConditionalGeneration` in fp16.

    It is assembled on first use and kept under `$VLMPRUNE_CACHE` or `~/.cache/vlmprune`, in a folder named after its
    content. `progress` is called with each step. Raises `VlmPruneError` if a package cannot be fetched or is not the
    pinned one.
    """
    folder = cache_folder() / f"pocket-{fingerprint()}"
    if not folder.is_dir():
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        with writing(folder), locked(folder, PATIENCE_S):
            make(folder, progress)
    return folder


def make(folder: Path, progress: Report) -> None:
    """Assembles the model at `folder`, unless another process has done so while this one waited."""
    if folder.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pocket-") as scratch:
        assemble(Path(scratch) / "model", progress)
        move_folder(Path(scratch) / "model", folder)


def fingerprint() -> str:
    """Returns twelve hex digits over both weight files, the trained weights, and the code that joins them."""
    digest = hashlib.sha256(f"{LANGUAGE_MODEL.sha256} {VISION_TOWER.sha256}".encode())
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), here / "trained.safetensors"]):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def assemble(folder: Path, progress: Report) -> None:
    """Writes model, tokenizer and processor into the new `folder`."""
    gguf_file, onnx_file = package_file(LANGUAGE_MODEL, progress), package_file(VISION_TOWER, progress)
    progress("assembling the pocket model")
    folder.mkdir()
    model: Any = pocket_model(gguf_file, onnx_file, trained_weights())
    progress("writing the pocket model")
    model.half().save_pretrained(folder)
    language_model.write_tokenizer(gguf_file, folder)
    write_processor(folder)


def pocket_config() -> "LlavaConfig":
    """Returns the configuration of the assembled model."""
    from transformers import Dinov2Config, LlamaConfig, LlavaConfig

    return LlavaConfig(
        text_config=LlamaConfig(**language_model.CONFIG),
        vision_config=Dinov2Config(**vision_tower.CONFIG),
        image_token_index=language_model.IMAGE_TOKEN_ID,
        image_seq_length=vision_tower.GRID * vision_tower.GRID,
        projector_hidden_act="gelu",
        vision_feature_layer=list(vision_tower.FEATURE_LAYERS),
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def pocket_model(gguf_file: Path, onnx_file: Path, trained: dict[str, "Tensor"]) -> "LlavaForConditionalGeneration":
    """Returns the model in fp32, with the low-rank updates merged."""
    from transformers import GenerationConfig, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration(pocket_config())
    model.model.vision_tower.load_state_dict(merged(vision_tower.tower_weights(onnx_file), trained, "vision_tower"))
    model.model.language_model.load_state_dict(merged(language_model.language_weights(gguf_file), trained))
    projector = projector_weights(trained)
    model.model.load_state_dict(projector, strict=False)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=language_model.START_ID,
        eos_token_id=language_model.END_ID,
        pad_token_id=language_model.END_ID,
        do_sample=False,
    )
    return model
