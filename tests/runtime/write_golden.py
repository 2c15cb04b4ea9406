"""Writes the golden files of the runtime anew: `python tests/runtime/write_golden.py`.

Only after a change that is meant to change them; the Kotlin and Swift twins read the same files.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from handmade_bundle import write_bundle
from handmade_graphs import N
from PIL import Image

from vlmprune_runtime.generate import Request, Runner, open_runner
from vlmprune_runtime.picture import load_image
from vlmprune_runtime.preprocess import preprocess, seen_picture

GOLDEN = Path(__file__).parent.parent / "golden"
BUNDLE, IMAGE = GOLDEN / "bundle", GOLDEN / "image.png"
PROMPTS = (
    "why?",
    "",
    "What is in the picture?",
    "{prompt} {x}",
    "na\u00efve \N{GRINNING FACE} \u6f22\u5b57",
    " two  spaces\n",
)


def write() -> None:
    """All of them."""
    shutil.rmtree(BUNDLE, ignore_errors=True)
    write_bundle(BUNDLE)
    picture().save(IMAGE)
    runner = open_runner(BUNDLE)
    np.savez_compressed(GOLDEN / "pixels.npz", **pixels(runner))
    save("prompts.json", [prompt_fields(runner, prompt) for prompt in PROMPTS])
    cases = [(prompt, prune) for prompt in PROMPTS[:3] for prune in (True, False)]
    save("answers.json", [answer_fields(runner, *case) for case in cases])


def picture() -> Image.Image:
    """Smooth colours with hard edges and some transparency, 50 x 41 pixels."""
    y, x = np.mgrid[:41, :50]
    bands = [
        (x * x // 9 + y) % 256,
        (y * 6 + x * 3) % 256,
        (x * y) % 256,
        np.where((x - 30) ** 2 + (y - 20) ** 2 < 90, 120, 255),
    ]
    bands[0] = np.where((x // 9 + y // 7) % 3, bands[0], 255 - bands[0])
    return Image.fromarray(np.stack(bands, axis=2).astype(np.uint8), "RGBA")


def pixels(runner: Runner) -> dict[str, np.ndarray]:
    """`seen` (H, W, 3) uint8 before normalisation, `pixels` (1, 3, H, W) float32."""
    image, spec = load_image(IMAGE), runner.bundle.manifest.image
    return {"seen": np.asarray(seen_picture(image, spec)), "pixels": preprocess(image, spec)}


def prompt_fields(runner: Runner, prompt: str) -> dict[str, Any]:
    """A question and its tokens."""
    encoded = runner.encode(prompt)
    spans = [list(span) for span in encoded.spans]
    return {"prompt": prompt, "token_ids": encoded.token_ids.tolist(), "spans": spans, "visual_tokens": N}


def answer_fields(runner: Runner, prompt: str, prune: bool) -> dict[str, Any]:
    """A greedy answer and what was kept for it."""
    result = runner.answer(Request(IMAGE, prompt, prune, max_tokens=12))
    kept = [{"kept": list(image.kept), "rank": list(image.rank)} for image in result.pruned]
    fields = {"prompt": prompt, "prune": prune, "max_tokens": 12, "text": result.text}
    return fields | {"token_ids": list(result.token_ids), "reason": result.reason, "pruned": kept}


def save(name: str, value: Any) -> None:
    """One JSON file, a case a line."""
    lines = ",\n".join(json.dumps(case) for case in value)
    (GOLDEN / name).write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    write()
