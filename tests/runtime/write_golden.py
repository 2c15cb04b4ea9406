"""Writes the golden files of the runtime anew: `python tests/runtime/write_golden.py`.

Only after a change that is meant to change them; the Kotlin and Swift twins read the same files.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from handmade_bundle import write_bundle
from PIL import Image
from two_picture_bundle import write_two_picture_bundle

from vlmprune_runtime.benchmark.measure import BenchmarkRequest, measure
from vlmprune_runtime.benchmark.record import ModeStats
from vlmprune_runtime.events import RunResult
from vlmprune_runtime.generate import Request, Runner, last_result, open_runner
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.positions import place_prompt
from vlmprune_runtime.preprocess import preprocess, view_image
from vlmprune_runtime.prompt import ONE_VIEW

GOLDEN = Path(__file__).parent.parent / "golden"
PROMPTS = (
    "why?",
    "",
    "What is in the picture?",
    "{prompt} {x}",
    "na\u00efve \N{GRINNING FACE} \u6f22\u5b57",
    " two  spaces\n",
)


CONVERSATIONS: tuple[tuple[tuple[str, tuple[str, ...]], ...], ...] = (
    (("why?", ("first.png", "second.png")), ("And then?", ()), (" more \n", ())),
    (("", ("second.png",)), ("What differs?", ("first.png",)), ("why?", ())),
    (("What is in the picture?", ("first.png",)), ("and here?", ("second.png", "first.png"))),
)
"""The questions of each conversation, with the images that are new in each turn."""


@dataclass(frozen=True)
class Golden:
    """A bundle, the folder of what is asked of it, and the images there, all of which every prompt has."""

    bundle: Path
    folder: Path
    names: tuple[str, ...]
    write_bundle: Callable[[Path], Path]

    @property
    def images(self) -> list[Path]:
        """The images as files, in the order of the prompt."""
        return [self.folder / name for name in self.names]


ONE_IMAGE = Golden(GOLDEN / "bundle", GOLDEN, ("image.png",), write_bundle)
TWO_IMAGES = Golden(
    GOLDEN / "bundle_two_pictures", GOLDEN / "two_pictures", ("first.png", "second.png"), write_two_picture_bundle
)


def write(golden: Golden) -> None:
    """All of a bundle's files."""
    shutil.rmtree(golden.bundle, ignore_errors=True)
    golden.write_bundle(golden.bundle)
    golden.folder.mkdir(exist_ok=True)
    for path, make in zip(golden.images, (image, other_image), strict=False):
        make().save(path)
    runner = open_runner(golden.bundle)
    np.savez_compressed(golden.folder / "pixels.npz", **pixels(golden, runner))
    save(golden, "prompts.json", [prompt_fields(golden, runner, prompt) for prompt in PROMPTS])
    cases = [(prompt, prune) for prompt in PROMPTS[:3] for prune in (True, False)]
    save(golden, "answers.json", [answer_fields(golden, runner, *case) for case in cases])
    if runner.bundle.manifest.prompt.follow_up:
        told = [(turns, prune) for turns in CONVERSATIONS for prune in (True, False)]
        save(golden, "conversations.json", [conversation_fields(golden, runner, *case) for case in told])


def image() -> Image.Image:
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


def other_image() -> Image.Image:
    """A dark grey disc on a slope of grey, 30 x 64 pixels, of one channel."""
    y, x = np.mgrid[:64, :30]
    grey = np.where((x - 12) ** 2 + (y - 40) ** 2 < 80, 20, 3 * y + x)
    return Image.fromarray(grey.astype(np.uint8), "L")


def pixels(golden: Golden, runner: Runner) -> dict[str, np.ndarray]:
    """`seen` before normalisation, uint8, (H, W, 3) or of several images (P, H, W, 3), `pixels` (P, 3, H, W)."""
    images, spec = [load_image(path) for path in golden.images], runner.bundle.manifest.image
    seen = np.stack([np.asarray(view_image(image, spec)) for image in images])
    taken = np.concatenate([preprocess(image, spec) for image in images])
    return {"seen": seen if len(images) > 1 else seen[0], "pixels": taken}


def prompt_fields(golden: Golden, runner: Runner, prompt: str) -> dict[str, Any]:
    """A question and its tokens; with three axes also their positions (3, S) and that of the token behind them."""
    manifest, encoded = runner.bundle.manifest, runner.encode(prompt, ONE_VIEW * len(golden.images))
    spans = [list(span) for span in encoded.spans]
    fields = {"prompt": prompt, "token_ids": encoded.token_ids.tolist(), "spans": spans}
    fields |= {"visual_tokens": manifest.visual_tokens}
    tokens = place_prompt(manifest, encoded)
    placed = {"positions": tokens.positions.tolist(), "next_position": tokens.next_position}
    return fields | (placed if manifest.positions.axes > 1 else {})


def answer_fields(golden: Golden, runner: Runner, prompt: str, prune: bool) -> dict[str, Any]:
    """A greedy answer and what was kept for it; of several images their names."""
    result = runner.answer(Request(golden.images, prompt, prune, max_tokens=12))
    kept = [{"kept": list(image.kept), "rank": list(image.rank)} for image in result.pruned]
    fields = {"images": list(golden.names)} if len(golden.names) > 1 else {}
    fields |= {"prompt": prompt, "prune": prune, "max_tokens": 12, "text": result.text}
    return fields | {"token_ids": list(result.token_ids), "reason": result.reason, "pruned": kept}


def conversation_fields(golden: Golden, runner: Runner, turns: Any, prune: bool) -> dict[str, Any]:
    """A conversation: each question with the names of its new images, its greedy answer and what was kept for it."""
    (prompt, names), *further = turns
    results = [runner.answer(Request(files(golden, names), prompt, prune, max_tokens=8))]
    results += [last_result(runner.follow_up(prompt, files(golden, names))) for prompt, names in further]
    told = [turn_fields(prompt, names, result) for (prompt, names), result in zip(turns, results, strict=True)]
    return {"prune": prune, "max_tokens": 8, "turns": told}


def benchmark_counts(golden: Golden) -> list[int | None]:
    """What no clock decides of a benchmark, in the order that the folder's README gives."""
    request = BenchmarkRequest(image=golden.images, prompt="why?", repetitions=1, warmups=1, tokens=3)
    [result] = measure([golden.bundle], request).results
    bundle, cache = result.bundle, result.memory.kv_cache_allocated_bytes
    counts = [result.images, result.prompt_tokens, bundle.visual_tokens, bundle.keep, bundle.layer]
    return [*counts, result.follow_up_tokens, cache, *_mode_counts(result.unpruned), *_mode_counts(result.pruned)]


def _mode_counts(stats: ModeStats) -> list[int | None]:
    assert stats.flops is not None
    return [*stats.flops.model_dump().values(), stats.kv_cache_filled_bytes]


def files(golden: Golden, names: Sequence[str]) -> list[Path]:
    """Images by name."""
    return [golden.folder / name for name in names]


def turn_fields(prompt: str, names: Sequence[str], result: RunResult) -> dict[str, Any]:
    """One turn of a conversation."""
    kept = [{"image": image.image, "kept": list(image.kept), "rank": list(image.rank)} for image in result.pruned]
    counts = {"prompt_tokens": result.prompt_tokens, "prefilled_tokens": result.prefilled_tokens}
    fields = {"prompt": prompt, "images": list(names), "text": result.text, "token_ids": list(result.token_ids)}
    return fields | {"reason": result.reason, **counts, "pruned": kept}


def save(golden: Golden, name: str, value: Any) -> None:
    """One JSON file, a case a line."""
    lines = ",\n".join(json.dumps(case) for case in value)
    (golden.folder / name).write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    for each in (ONE_IMAGE, TWO_IMAGES):
        write(each)
    every = {each.bundle.name: benchmark_counts(each) for each in (ONE_IMAGE, TWO_IMAGES)}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(counts)}" for name, counts in every.items())
    (GOLDEN / "benchmark.json").write_text(f"{{\n{lines}\n}}\n")
