"""Vision features of drawn pictures, computed once and kept in shards: training never runs the tower."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vlmprune_export.pocket.ingredients import cache_folder
from vlmprune_export.pocket.tower import FEATURE_LAYERS
from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.pocket.scenes import Drawn, Placed, Scene
from vlmprune_tools.pocket.sources import Draw
from vlmprune_tools.progress import track

SHARD, BATCH = 200, 20
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class Seen(Protocol):
    """What training sees of a picture."""

    @property
    def scene(self) -> Scene:
        """What is where."""
        ...

    @property
    def owner(self) -> Tensor:  # (N,)
        """What each visual token is on."""
        ...

    def features(self) -> Tensor:  # -> (N, F)
        """Features of all visual tokens, bf16."""
        ...


@dataclass(frozen=True)
class Example:
    """One picture without its pixels; features are read from the shard when they are wanted."""

    scene: Scene
    owner: Tensor  # (N,)
    shard: Path
    row: int

    def features(self) -> Tensor:  # -> (N, F)
        """Features of all visual tokens, bf16."""
        with safe_open(self.shard, framework="pt") as stored:
            features: Tensor = stored.get_slice("features")[self.row]
        return features


def features_folder(source: str, split: str, tag: str = "") -> Path:
    """Where the shards of a source and split lie; `tag` is that of the tower that made them."""
    return cache_folder() / "pocket-training" / "features" / "-".join(filter(None, (source, split, tag)))


def build_features(draw: Draw, split: str, count: int, folder: Path, tower: nn.Module) -> None:
    """Draw pictures 0..count and store their features; finished shards are kept, so a killed run goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in track(range(0, count, SHARD), f"features {folder.name}"):
        path = folder / f"{start:06d}.safetensors"
        if not path.is_file():
            drawn = [draw(split, index) for index in range(start, min(count, start + SHARD))]
            write_shard(path, drawn, tower)


def write_shard(path: Path, drawn: list[Drawn], tower: nn.Module) -> None:
    """One shard, written whole or not at all."""
    rows = [vision_features(tower, drawn[at : at + BATCH]) for at in range(0, len(drawn), BATCH)]
    owner = torch.from_numpy(np.stack([item.owner for item in drawn]))
    scenes = json.dumps([asdict(item.scene) for item in drawn])
    scratch = path.with_suffix(f".{os.getpid()}")
    save_file({"features": torch.cat(rows), "owner": owner}, scratch, {"scenes": scenes})
    scratch.replace(path)


@torch.inference_mode()
def vision_features(tower: nn.Module, drawn: list[Drawn]) -> Tensor:  # -> (B, N, F)
    """The layers that the projector reads, side by side, without CLS."""
    with torch.autocast("cpu", torch.bfloat16):
        states = tower((pixels_of(drawn) / 255 - MEAN) / STD, output_hidden_states=True).hidden_states
    return torch.cat([states[layer][:, 1:] for layer in FEATURE_LAYERS], -1).bfloat16().contiguous()


def pixels_of(drawn: Sequence[Drawn]) -> Tensor:  # -> (B, 3, H, W)
    """Pixels of some pictures, 0 to 255."""
    return torch.from_numpy(np.stack([item.pixels for item in drawn])).permute(0, 3, 1, 2).float()


def load_examples(source: str, split: str, limit: int | None = None, tag: str = "") -> list[Example]:
    """The first `limit` examples of a source and split that lie in the cache; `BadRequest` where there are none."""
    found: list[Example] = []
    folder = features_folder(source, split, tag)
    for path in sorted(folder.glob("*.safetensors")):
        found += shard_examples(path)
        if limit is not None and len(found) >= limit:
            break
    if not found:
        raise BadRequest(f"no features in {folder}; run the step: features {source} --split {split} (see --tower)")
    return found[:limit]


def shard_examples(path: Path) -> Iterator[Example]:
    """The examples of one shard."""
    with safe_open(path, framework="pt") as stored:
        owner, scenes = stored.get_tensor("owner"), json.loads(stored.metadata()["scenes"])
    for row, record in enumerate(scenes):
        yield Example(scene_from(record), owner[row], path, row)


def scene_from(record: dict[str, Any]) -> Scene:
    """A scene out of its JSON form."""
    objects = tuple(Placed(**item) for item in record["objects"])
    asked = tuple((family, question, answer) for family, question, answer in record["asked"])
    return Scene(record["kind"], objects, record["colour"], tuple(record["shows"]), asked, tuple(record["labels"]))
