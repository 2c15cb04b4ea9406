"""What the steps work on: the assembled model, cached examples, a run's checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vlmprune_export.pocket import pocket_checkpoint
from vlmprune_export.pocket.checkpoint import pocket_model
from vlmprune_export.pocket.ingredients import LANGUAGE, TOWER, ingredient_file
from vlmprune_export.pocket.language import language_weights
from vlmprune_export.pocket.tower import CONFIG, tower_weights
from vlmprune_export.pocket.trained import merged, trained_weights
from vlmprune_runtime.errors import BadRequest, first_line
from vlmprune_tools.pocket.artwork import MEASURED_WITH, TRAINED_ON, artwork_of
from vlmprune_tools.pocket.concepts import CONCEPTS
from vlmprune_tools.pocket.decoder import Decoder
from vlmprune_tools.pocket.drawing import Group
from vlmprune_tools.pocket.features import load_examples
from vlmprune_tools.pocket.fresh import Endless
from vlmprune_tools.pocket.lowrank import tower_updates
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.shipping import take_up
from vlmprune_tools.pocket.sources import Draw, source

TOWER_FILE = "tower.safetensors"  # what a run's folder keeps of the tower that its features come from


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
    model: Any = pocket_model(*files, tensors_in(trained))
    return model.half().to(dtype), processor


def tensors_of(which: str | Path) -> dict[str, Tensor]:
    """Trained tensors by the name that a step is given: "shipped", "plain" (none), or a packed file."""
    if which == "plain":
        return {}
    return trained_weights() if which == "shipped" else tensors_in(Path(which))


def tensors_in(path: Path) -> dict[str, Tensor]:
    """Those of a packed file; `BadRequest` when it is none."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadRequest(f"{path}: not a file of trained tensors: {first_line(str(error))}") from None


def load_tower(tensors: dict[str, Tensor]) -> Any:
    """The vision tower with its update merged, where `tensors` have one."""
    from transformers import Dinov2Config, Dinov2Model

    model: Any = Dinov2Model(Dinov2Config(**CONFIG))
    model.load_state_dict(merged(tower_weights(ingredient_file(TOWER, silent)), tensors, "vision_tower"))
    return model.eval()


def groups_of(mix: str, tag: str = "") -> list[Group]:
    """`drill=6,sign=1` as groups of cached examples."""
    return [Group(weight, load_examples(name, "train", tag=tag)) for name, weight in weights_of(mix)]


def fresh_groups(mix: str, tensors: dict[str, Tensor], vendors: Sequence[str] = TRAINED_ON) -> list[Group]:
    """The same of pictures drawn when they are wanted, seen through the tower of `tensors`."""
    tower = load_tower(tensors)
    return [Group(weight, Endless(draw, tower)) for weight, draw in training_sources(mix, vendors)]


def training_sources(mix: str, vendors: Sequence[str] = TRAINED_ON) -> list[tuple[float, Draw]]:
    """What to draw new pictures with, and how often; a vendor named twice is drawn twice as often."""
    if wrong := sorted(set(vendors) - set(TRAINED_ON)):
        raise BadRequest(f"--vendors: {wrong[0]} is not trained on; allowed: {', '.join(TRAINED_ON)}")
    artwork = artwork_of(CONCEPTS, vendors)
    return [(weight, source(name, artwork)) for name, weight in weights_of(mix)]


def drawn_source(name: str, split: str) -> Draw:
    """A source with the artwork of a split: training may see a vendor's that nothing is measured with."""
    return source(name, artwork_of(CONCEPTS, TRAINED_ON if split == "train" else MEASURED_WITH))


def weights_of(mix: str) -> list[tuple[str, float]]:
    """Sources with their weights; `BadRequest` when one is no number.

    >>> weights_of("drill=6,sign")
    [('drill', 6.0), ('sign', 1.0)]
    """
    parts = (part.partition("=") for part in mix.split(","))
    try:
        return [(name, float(weight or 1)) for name, _, weight in parts]
    except ValueError:
        raise BadRequest(f"--mix {mix}: allowed: source=weight,.. with numbers as weights") from None


def trained_parts(trained: Path | None) -> tuple[Decoder, Projector]:
    """Decoder and projector of a run's folder, of a packed file, or as shipped."""
    decoder, projector = Decoder(language_weights(ingredient_file(LANGUAGE, silent))), Projector()
    if trained is None or trained.is_file():
        take_up(tensors_of(trained or "shipped"), decoder, projector)
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


def tower_of(trained: Path | None) -> dict[str, Tensor]:
    """The tower's update of a run's folder, of a packed file, or as shipped."""
    if trained is not None and trained.is_dir():
        trained = trained / TOWER_FILE
        return load_file(trained) if trained.is_file() else {}
    return tower_updates(tensors_of(trained or "shipped"))
