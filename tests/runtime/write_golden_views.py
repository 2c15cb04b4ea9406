"""Writes golden bundles whose images have several views or grids, variants of them, and conversations about images.

A variant is a folder of the files that take the place of those of a golden bundle.

Run `PYTHONPATH=tests python tests/runtime/write_golden_views.py` after a change here; runners in other languages are
tested with the files.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from handmade_bundle import entry, save_manifest, tensor
from PIL import Image
from two_picture_graphs import counted_prune

from grid_bundles import export_grids
from tile_bundles import FASTV, export_tiles, noise
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
COUNTED: Sequence[Turns] = (
    [("why?", ["first.png", "second.png"]), ("And then?", [])],
    [("WHY", ["second.png"]), ("......................", ["first.png"])],
)


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
    (folder / f"{name}.json").write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def save_variant(bundle: Path, base: Path, folder: Path, told: Sequence[Turns]) -> None:
    """Writes those files of a bundle that differ from the golden one, and conversations about it beside them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in sorted(bundle.iterdir()):
        golden = base / path.name
        if not (golden.exists() and golden.read_bytes() == path.read_bytes()):
            shutil.copy(path, folder)
    name_no_folder(bundle, folder)
    save(bundle, folder.parent, f"{folder.name}_conversations", told)


def copy_of_variant(base: Path, folder: Path, copy: Path) -> Path:
    """Returns a golden bundle with a variant's files in place of its own."""
    shutil.copytree(base, copy)
    shutil.copytree(folder, copy, dirs_exist_ok=True)
    return copy


def replace_folder(source: Path, target: Path) -> None:
    """Copies a bundle into the place of an older one."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    name_no_folder(source, target)


def name_no_folder(source: Path, target: Path) -> None:
    """Leaves of the checkpoint's path in a copied manifest its name alone, for its folder is not kept."""
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
    save(GOLDEN / "bundle_tiles", GOLDEN / "tiles", "conversations", TILES)


def write_tiles_together(scratch: Path) -> None:
    """Writes what differs in a bundle whose tiles are pruned together."""
    bundle = export_tiles(scratch, "onnx", prune=FASTV, tiles_pruned="jointly")
    save_variant(bundle, GOLDEN / "bundle_tiles", GOLDEN / "tiles" / "together", TILES)


def write_grids(scratch: Path) -> None:
    """Writes the bundle of two grids, and the manifest of one that prunes by a smaller image."""
    bundle, folder = GOLDEN / "bundle_grids", GOLDEN / "grids"
    replace_folder(export_grids(scratch, "onnx"), bundle)
    save_images(folder, dict(zip(("square.png", "wide.png"), images(), strict=True)))
    save(bundle, folder, "conversations", GRIDS)
    shutil.copytree(bundle, scratch / "smaller")
    (scratch / "smaller" / MANIFEST).write_text(json.dumps(without_cuts(bundle)) + "\n")
    save_variant(scratch / "smaller", bundle, folder / "smaller", SMALLER)


def write_counted(scratch: Path) -> None:
    """Writes what differs in a bundle whose prune stage says how many tokens it keeps."""
    base = GOLDEN / "bundle_two_pictures"
    bundle = Path(shutil.copytree(base, scratch / "counted"))
    prune = bundle / "prune.onnx"
    prune.write_bytes(counted_prune().SerializeToString())
    fields = json.loads((bundle / MANIFEST).read_text())
    fields["stages"]["prune"]["outputs"].append(tensor("count", [1]))
    fields["files"][prune.name] = entry(prune)
    save_manifest(bundle, fields)
    save_variant(bundle, base, GOLDEN / "two_pictures" / "counted", COUNTED)


def main() -> None:
    """Writes everything."""
    for write in (write_tiles, write_tiles_together, write_grids, write_counted):
        with TemporaryDirectory() as scratch:
            write(Path(scratch))


if __name__ == "__main__":
    main()
