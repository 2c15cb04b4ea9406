"""Replays a recipe: every phase's weights are a file, and a phase whose file exists is not run again."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pocket_training.adapted_model import LANGUAGE_RANK, adapt, averaged, load_packed, packed
from pocket_training.align_phase import align
from pocket_training.answer_phase import answer
from pocket_training.recipe import NOTHING, SHIPPED, Align, Answer, Average, Phase, Recipe
from pocket_training.targets import LABELS, make_aims
from pocket_training.tokens import Tokens
from pocket_training.training_images import batch_sampler
from vlmprune_export.pocket_model import pocket_checkpoint
from vlmprune_export.pocket_model.assembly import pocket_model
from vlmprune_export.pocket_model.trained_weights import LORA_SCALE, trained_weights
from vlmprune_export.pocket_model.weight_packages import LANGUAGE_MODEL, VISION_TOWER, package_file
from vlmprune_tools.scenes.artwork import Artwork
from vlmprune_tools.scenes.concepts import COLOURS


def load_model() -> Any:
    """Assembles the `LlavaModel` from its published parts, without any trained weights."""
    gguf_file, onnx_file = (package_file(part, lambda line: None) for part in (LANGUAGE_MODEL, VISION_TOWER))
    return pocket_model(gguf_file, onnx_file, {}).model


def load_tokenizer() -> Any:
    """Loads the checkpoint's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(pocket_checkpoint(), trust_remote_code=False)


@dataclass(frozen=True)
class Trainee:
    """What a recipe is replayed on: the artwork of the images, and functions that load model and tokenizer."""

    artwork: Artwork
    load_model: Callable[[], Any] = load_model
    load_tokenizer: Callable[[], Any] = load_tokenizer


def replay(recipe: Recipe, trainee: Trainee, out: Path) -> Path:
    """Runs the phases that have no file yet; returns the last phase's weights, with a record beside them."""
    out.mkdir(parents=True, exist_ok=True)
    for phase in recipe.phases:
        if not _file(out, phase.name).is_file():
            tensors = run_phase(phase, trainee, out)
            save_file(tensors, out / f".{phase.name}.part")
            (out / f".{phase.name}.part").replace(_file(out, phase.name))
    last = _file(out, recipe.phases[-1].name)
    record = {
        "sha256": hashlib.sha256(last.read_bytes()).hexdigest(),
        "lora": {"rank": LANGUAGE_RANK, "scale": LORA_SCALE},
        "recipe": recipe.as_json(),
        "labels": list(LABELS),
        "colours": list(COLOURS),
    }
    last.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return last


def run_phase(phase: Phase, trainee: Trainee, out: Path) -> dict[str, Tensor]:
    """Runs one phase; returns its packed weights."""
    if isinstance(phase, Average):
        return averaged([_start(name, out) for name in phase.of])
    torch.manual_seed(phase.seed)
    model, tokens = adapt(trainee.load_model()), Tokens(trainee.load_tokenizer())
    load_packed(model, _start(phase.start, out))
    sampler = batch_sampler(phase.mix, trainee.artwork)
    if isinstance(phase, Align):
        align(model, make_aims(model.language_model.embed_tokens.weight, tokens), sampler, phase, out / phase.name)
    elif isinstance(phase, Answer):
        answer(model, tokens, sampler, phase, out / phase.name)
    return packed(model)


def _start(name: str, out: Path) -> dict[str, Tensor]:
    if name == NOTHING:
        return {}
    return trained_weights() if name == SHIPPED else load_file(_file(out, name))


def _file(out: Path, name: str) -> Path:
    return out / f"{name}.safetensors"
