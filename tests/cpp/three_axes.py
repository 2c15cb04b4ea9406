"""A toy of an ExecuTorch bundle, handmade: three position axes, two grids, a cut at the input, no checkpoint."""

import json
from pathlib import Path
from typing import Any

import torch
from executorch.exir import to_edge_transform_and_lower
from torch import Tensor, nn
from torch.export import Dim, export

from manifests import change_manifest, manifest_of

WIDTH, VOCABULARY, CONTEXT_TOKENS, IMAGE_TOKEN_ID = 4, 16, 64, 99
GRIDS = (
    {"height": 2, "width": 4, "height_px": 56, "width_px": 56, "keep": [3]},
    {"height": 3, "width": 2, "height_px": 84, "width_px": 28, "keep": [2]},
)
KEPT = ([0, 2, 5], [1, 4])  # on each grid


class Embed(nn.Module):
    """Token ids (S,) -> (S, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(VOCABULARY, WIDTH))

    def forward(self, token_ids: Tensor) -> Tensor:
        return self.table.index_select(0, token_ids)


class Vision(nn.Module):
    """Pixels (1, 3, H, W) -> (N, D): the mean of each cell's pixels, by channel and all together."""

    def __init__(self, grid: dict[str, Any]) -> None:
        super().__init__()
        height, width = grid["height"], grid["width"]
        self.cells = (3, height, grid["height_px"] // height, width, grid["width_px"] // width)

    def forward(self, pixels: Tensor) -> Tensor:
        cells = pixels.reshape(self.cells).mean((2, 4)).reshape(3, -1)
        return torch.cat([cells, cells.sum(0, keepdim=True)]).transpose(0, 1).contiguous()


class Prune(nn.Module):
    """The same tokens of every view, each with the mean of all added."""

    def __init__(self, kept: list[int]) -> None:
        super().__init__()
        self.kept = nn.Buffer(torch.tensor(kept))
        self.rank = nn.Buffer(torch.arange(len(kept)).flip(0).contiguous())

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fused = hidden.index_select(0, self.kept) + hidden.mean(0, keepdim=True)
        return self.kept.clone(), fused, self.rank.clone()


class Tail(nn.Module):
    """Logits that depend on every row, on each position of every row, and on the number of past tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.axes, self.out = nn.Parameter(torch.randn(3, WIDTH)), nn.Parameter(torch.randn(WIDTH, VOCABULARY))

    def forward(self, embeddings: Tensor, positions: Tensor, past_tokens: Tensor) -> Tensor:
        turned = torch.sin(embeddings + positions.to(torch.float32).transpose(0, 1) @ self.axes)
        return ((turned.sum(0) + past_tokens.to(torch.float32)) @ self.out).sin()


def write_three_axes(pattern: Path, folder: Path) -> Path:
    """Writes the toy to `folder`; all else is as in the manifest of the bundle `pattern`."""
    torch.manual_seed(0)
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((pattern / "tokenizer.json").read_bytes())
    with (folder / "model.pte").open("wb") as file:
        to_edge_transform_and_lower(_programs()).to_executorch().write_to_file(file)
    (folder / "bundle.json").write_text(json.dumps(_manifest(pattern)))
    change_manifest(folder)
    return folder


def method(stage: str, index: int) -> str:
    """The method of a stage for a grid."""
    return f"{stage}_{index}" if index else stage


def _programs() -> dict[str, Any]:
    tokens = Dim("tokens", min=1, max=CONTEXT_TOKENS)
    rows, ids = torch.zeros(6, WIDTH), torch.zeros(6, dtype=torch.int64)
    past = torch.zeros(1, dtype=torch.int32)
    calls: dict[str, tuple[nn.Module, tuple[Tensor, ...], Any]] = {
        "embed": (Embed(), (ids,), ({0: tokens},)),
        "tail": (Tail(), (rows, ids.expand(3, 6).clone(), past), ({0: tokens}, {1: tokens}, None)),
    }
    for index, grid in enumerate(GRIDS):
        pixels, features = (1, 3, grid["height_px"], grid["width_px"]), (grid["height"] * grid["width"], WIDTH)
        calls[method("vision", index)] = (Vision(grid), (torch.zeros(pixels),), None)
        calls[method("prune", index)] = (Prune(KEPT[index]), (torch.zeros(features),), None)
    return {
        name: export(module.eval(), examples, dynamic_shapes=shapes, strict=True)
        for name, (module, examples, shapes) in calls.items()
    }


def _manifest(pattern: Path) -> dict[str, Any]:
    manifest = manifest_of(pattern)
    stages, row, [keep] = manifest["stages"], ["tokens", WIDTH], GRIDS[0]["keep"]
    visual, px = GRIDS[0]["height"] * GRIDS[0]["width"], GRIDS[0]["height_px"]
    stages["embed"]["outputs"][0]["shape"] = row
    stages["vision"]["inputs"][0]["shape"] = [1, 3, px, px]
    stages["vision"]["outputs"][0]["shape"] = [visual, WIDTH]
    stages["prune"]["inputs"][0]["shape"] = [visual, WIDTH]
    for output, shape in zip(stages["prune"]["outputs"], ([keep], [keep, WIDTH], [keep]), strict=True):
        output["shape"] = shape
    stages["tail"]["inputs"][0]["shape"], stages["tail"]["inputs"][1]["shape"] = row, [3, "tokens"]
    stages["tail"]["outputs"][0]["shape"] = [VOCABULARY]
    for stage in stages.values():
        stage["lowering"] = None
    for name in ("vision", "prune"):
        [graph] = stages[name]["graphs"]
        stages[name]["graphs"] = [graph | {"grid": nth, "entry": method(name, nth)} for nth in range(len(GRIDS))]
    manifest["grids"] = [manifest["grids"][0] | grid for grid in GRIDS]
    manifest["positions"] = {"axes": 3, "image": "grid"}
    manifest["generation"] = {"stop_token_ids": []}
    manifest["prompt"]["image_token_id"] = IMAGE_TOKEN_ID
    manifest["text_model"] |= {"hidden_size": WIDTH, "vocab_size": VOCABULARY}
    return manifest | {"context_tokens": CONTEXT_TOKENS}
