"""What the steps work on: the assembled model, cached examples, a run's checkpoint."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vlmprune_export.pocket import pocket_checkpoint
from vlmprune_export.pocket.checkpoint import pocket_model
from vlmprune_export.pocket.ingredients import LANGUAGE, TOWER, ingredient_file
from vlmprune_export.pocket.language import language_weights
from vlmprune_export.pocket.trained import trained_weights
from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.pocket.decoder import Decoder
from vlmprune_tools.pocket.drawing import Group
from vlmprune_tools.pocket.features import load_examples
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.shipping import take_up


def silent(line: str) -> None:
    """Show nothing."""


def load_pocket(trained: Path | None, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Model and processor, with another trained part where one is given."""
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    folder = pocket_checkpoint()
    processor = AutoProcessor.from_pretrained(folder)
    if trained is None:
        return LlavaForConditionalGeneration.from_pretrained(folder, dtype=dtype), processor
    files = ingredient_file(LANGUAGE, silent), ingredient_file(TOWER, silent)
    model: Any = pocket_model(*files, load_file(trained))
    return model.half().to(dtype), processor


def groups_of(mix: str) -> list[Group]:
    """`drill=6,sign=1` as groups of cached examples."""
    groups = []
    for part in mix.split(","):
        name, _, weight = part.partition("=")
        examples = load_examples(name, "train")
        if not examples:
            raise BadRequest(f"no features of {name!r} in the cache; run the step: features {name}")
        groups.append(Group(float(weight or 1), examples))
    return groups


def trained_parts(trained: Path | None) -> tuple[Decoder, Projector]:
    """Decoder and projector of a run's folder, of a packed file, or as shipped."""
    decoder, projector = Decoder(language_weights(ingredient_file(LANGUAGE, silent))), Projector()
    if trained is None or trained.is_file():
        take_up(load_file(trained) if trained else trained_weights(), decoder, projector)
    else:
        state = checkpoint_of(trained)
        projector.load_state_dict(state["projector"])
        decoder.lora.load_state_dict(state["lora"])
    return decoder, projector


def checkpoint_of(run_folder: Path) -> dict[str, Any]:
    """What a run saved last."""
    path = run_folder / "checkpoint.pt"
    if not path.is_file():
        raise BadRequest(f"no checkpoint in {run_folder}; run the step: train")
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
