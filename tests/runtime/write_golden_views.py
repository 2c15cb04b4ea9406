"""Writes golden bundles whose images have several views or grids, and conversations about such images.

Run `PYTHONPATH=tests python tests/runtime/write_golden_views.py` after a change here; runners in other languages are
tested with the files.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from grid_bundles import export_grids
from tile_bundles import export_tiles, noise
from tiny_qwen2_5_vl import images
from vlmprune_runtime.events import RunResult
from vlmprune_runtime.generate import Request, Runner, last_result, open_runner
from vlmprune_runtime.schema import Exact, ImageSpec, Kernel, Resize, image_steps
from vlmprune_runtime.schema.base import MANIFEST

GOLDEN = Path(__file__).parents[1] / "golden"
Turns = Sequence[tuple[str, Sequence[str]]]

TILES: Sequence[Turns] = (
    [("what is in the picture?", ["wide.png"]), ("more", [])],
    [("what is in the picture?", ["high.png"]), ("and here?", []), ("more", [])],
    [("what differs?", ["small.png", "wide.png"]), ("why?", [])],
)
GRIDS: Sequence[Turns] = (
    [("what is in the picture?", ["square.png"]), ("and here?", ["wide.png"]), ("more", [])],
    [("what differs?", ["wide.png", "square.png"]), ("why?", [])],
)
SMALLER: Sequence[Turns] = ([("what is in the picture?", ["square.png"]), ("more", [])],)


def without_cuts(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a bundle whose pruned mode sees an image on the second grid instead of a cut."""
    fields: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    fields["cuts"], [cut] = [], [cut["stage"] for cut in fields["cuts"]]
    fields["prefill"].remove(cut)
    del fields["stages"][cut]
    grids = [{**grid, "keep": []} for grid in fields["grids"]]
    size = Exact(height_px=grids[1]["height_px"], width_px=grids[1]["width_px"])
    steps = image_steps([Resize(to=size, kernel=Kernel.of("bicubic"))])
    small = ImageSpec(steps=steps).model_dump(mode="json")
    return {**fields, "grids": grids, "pruned_image": small}


def conversation(runner: Runner, folder: Path, turns: Turns, *, prune: bool) -> dict[str, Any]:
    """Returns a conversation: each question with its new images, its greedy answer, and what was seen and kept."""
    (prompt, names), *further = turns
    results = [runner.answer(Request([folder / name for name in names], prompt, prune, max_tokens=6))]
    results += [last_result(runner.follow_up(prompt, [folder / name for name in names])) for prompt, names in further]
    told = [turn(prompt, names, result) for (prompt, names), result in zip(turns, results, strict=True)]
    return {"prune": prune, "max_tokens": 6, "turns": told}


def turn(prompt: str, names: Sequence[str], result: RunResult) -> dict[str, Any]:
    """Returns one turn of a conversation."""
    return {
        "prompt": prompt,
        "images": list(names),
        "text": result.text,
        "token_ids": list(result.token_ids),
        "reason": result.reason,
        "prompt_tokens": result.prompt_tokens,
        "prefilled_tokens": result.prefilled_tokens,
        "pruned": [
            {"image": view.image, "view": view.view, "kept": list(view.kept), "rank": list(view.rank)}
            for view in result.pruned
        ],
        "seen": [[view.image, view.height, view.width, view.row, view.column] for view in result.seen],
    }


def save(bundle: Path, folder: Path, name: str, told: Sequence[Turns]) -> None:
    """Writes the conversations about a bundle, one per line."""
    runner = open_runner(bundle, threads=1)
    rows = [conversation(runner, folder, turns, prune=prune) for turns in told for prune in (True, False)]
    (folder / name).write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def replace_folder(source: Path, target: Path) -> None:
    """Copies a bundle into the place of an older one; its checkpoint, which is not kept, loses its folder's name."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    manifest, checkpoint = target / MANIFEST, source.with_name("checkpoint")
    manifest.write_text(manifest.read_text().replace(str(checkpoint), checkpoint.name))


def save_images(folder: Path, images: dict[str, Image.Image]) -> None:
    """Writes the images of a folder."""
    folder.mkdir(exist_ok=True)
    for name, image in images.items():
        image.save(folder / name, optimize=True)


def write_tiles(scratch: Path) -> None:
    """Writes the bundle whose images are seen in tiles."""
    replace_folder(export_tiles(scratch, "onnx"), GOLDEN / "bundle_tiles")
    sizes = {"wide.png": (60, 30), "high.png": (20, 50), "small.png": (9, 9)}
    save_images(GOLDEN / "tiles", {name: noise(*size) for name, size in sizes.items()})
    save(GOLDEN / "bundle_tiles", GOLDEN / "tiles", "conversations.json", TILES)


def write_grids(scratch: Path) -> None:
    """Writes the bundle of two grids, and the manifest of one that prunes by a smaller image."""
    bundle, folder = GOLDEN / "bundle_grids", GOLDEN / "grids"
    replace_folder(export_grids(scratch, "onnx"), bundle)
    save_images(folder, dict(zip(("square.png", "wide.png"), images(), strict=True)))
    save(bundle, folder, "conversations.json", GRIDS)
    (folder / "smaller.json").write_text(json.dumps(without_cuts(bundle)) + "\n")
    replace_folder(bundle, scratch / "smaller")
    shutil.copy(folder / "smaller.json", scratch / "smaller" / MANIFEST)
    save(scratch / "smaller", folder, "smaller_conversations.json", SMALLER)


def main() -> None:
    """Writes everything."""
    for write in (write_tiles, write_grids):
        with TemporaryDirectory() as scratch:
            write(Path(scratch))


if __name__ == "__main__":
    main()
