"""Writes questions and Python's greedy answers for bundles of any kind, which a twin in another language compares with.

`python tests/runtime/write_cases.py OUT.json BUNDLE...`: every bundle is asked about one and about two images, pruned
and unpruned, and asked again where it has follow-up questions. The images are written beside the file.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import RunResult
from vlmprune_runtime.generate import Request, Runner, last_result, open_runner
from vlmprune_runtime.sampling import GREEDY

SIZES = ((64, 48), (40, 90), (150, 70))
PROMPT, FURTHER, TOKENS = "What is in the picture?", "And then?", 6


def write(out: Path, bundles: list[Path]) -> None:
    """Writes the images and a file of cases."""
    images = [image(out.parent / f"image{nth}.png", size, nth) for nth, size in enumerate(SIZES)]
    rows = [case for bundle in bundles for case in cases(bundle, images)]
    out.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def image(path: Path, size: tuple[int, int], seed: int) -> Path:
    """Writes a smooth image of random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def cases(bundle: Path, files: list[Path]) -> list[dict[str, Any]]:
    """Returns the conversations about one bundle: each image alone, and the first two together if they fit."""
    runner = open_runner(bundle, threads=1)
    rows = []
    for images in ([files[0]], [files[1]], [files[2]], files[:2]):
        for prune in (True, False):
            try:
                turns = conversation(runner, images, prune)
            except BadRequest as error:
                print(f"{bundle.name}: {len(images)} images: {error}", file=sys.stderr)
                continue
            rows.append({"bundle": str(bundle.resolve()), "prune": prune, "max_tokens": TOKENS, "turns": turns})
    return rows


def conversation(runner: Runner, images: list[Path], prune: bool) -> list[dict[str, Any]]:
    """Returns one question, and a further one where the bundle has room for it, with their answers."""
    result = runner.answer(Request(images, PROMPT, prune, max_tokens=TOKENS, sampling=GREEDY))
    turns = [turn(PROMPT, images, result)]
    try:
        turns.append(turn(FURTHER, [], last_result(runner.follow_up(FURTHER))))
    except BadRequest as error:
        print(error, file=sys.stderr)
    return turns


def turn(prompt: str, images: list[Path], result: RunResult) -> dict[str, Any]:
    """Returns a question and its answer as plain values."""
    kept = [
        {"image": one.image, "view": one.view, "kept": list(one.kept), "rank": list(one.rank)} for one in result.pruned
    ]
    seen = [[one.image, one.height, one.width, one.row, one.column] for one in result.seen]
    counts = {"prompt_tokens": result.prompt_tokens, "prefilled_tokens": result.prefilled_tokens}
    fields = {"prompt": prompt, "images": [path.name for path in images], "text": result.text, **counts}
    return fields | {"token_ids": list(result.token_ids), "reason": result.reason, "pruned": kept, "seen": seen}


if __name__ == "__main__":
    write(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
