"""Writes a question for runners that have neither image preprocessing nor a tokenizer, such as `runtime/cpp`.

The folder holds three files. `pixels.f32` is raw float32, little endian. `prompt_ids.json` holds the whole prompt's
token ids, image tokens included, the shape of each view's pixels and the index of its grid, rows and columns of the
tiles of each image (0 and 0 for one that is seen as a single view), and the images that they come from (`images`;
`image` repeats the first). `expected.json` holds this engine's greedy answers, pruned and unpruned, by the bundle's
generation settings and without the stop token. `follow_up_1.json` and so on hold further questions, each with the
token ids of the whole conversation up to its answer in either mode, and as `added` those that stand between the answer
before and the next. One that comes with images describes them as `prompt_ids.json` does; their pixels are in
`follow_up_1.f32` and so on. Where the pruned mode sees a smaller image, `prompt_ids.json` has in `pruned` the token
ids, shapes and grids of that mode, and its views stand behind the others in `pixels.f32`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Tokenizer

from vlmprune_runtime.atomic import check_output_folder, save_folder
from vlmprune_runtime.bundle import file_sha256
from vlmprune_runtime.conversation import FurtherQuestion
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import RunEvent
from vlmprune_runtime.generate import Request, Runner, last_result
from vlmprune_runtime.image_loading import ImageSource, load_image
from vlmprune_runtime.prompt import EncodedPrompt, ImagePlace, expand_ids, render_follow_up
from vlmprune_runtime.question import Question, see
from vlmprune_runtime.schema import Bundle

MODES = {"pruned": True, "unpruned": False}
PIXELS, PROMPT_IDS, EXPECTED = "pixels.f32", "prompt_ids.json", "expected.json"


def check_dump(request: Request, out: str | PathLike[str]) -> None:
    """Raises `BadRequest` if the answer of the request is random, or if no folder can be put at `out`."""
    if request.sampling.temperature:
        raise BadRequest("--dump keeps the greedy answer to compare with; it does not go with --temperature")
    check_output_folder(out)


def dump(
    runner: Runner, request: Request, out: str | PathLike[str], follow_ups: Sequence[FurtherQuestion] = ()
) -> None:
    """Answers the questions pruned and unpruned, and writes all into folder `out`, whole or not at all."""
    check_dump(request, out)
    if runner.bundle.manifest.pruned_image and any(further.images for further in follow_ups):
        raise BadRequest("--dump: the pruned mode sees smaller images; allowed: follow-ups without images")
    request = replace(request, sampling=replace(request.sampling, temperature=0.0))
    turns = {name: _turns(runner, replace(request, prune=prune), follow_ups) for name, prune in MODES.items()}
    loaded = [load_image(image) for image in request.images]
    question = runner.ask(request.prompt, loaded, prune=False)
    smaller = runner.ask(request.prompt, loaded) if runner.bundle.manifest.pruned_image else None
    described = [_described(source, image) for source, image in zip(request.images, loaded, strict=True)]
    prompt_ids = {
        "prompt": request.prompt,
        "image": described[0],
        "images": described,
        **_given(question, PIXELS),
        **({"pruned": _given(smaller, PIXELS)} if smaller else {}),
    }
    expected = {
        name: first.expected | ({"follow_ups": [turn.expected for turn in further]} if further else {})
        for name, (first, *further) in turns.items()
    }
    pixels = _pixels([*question.pixels, *(smaller.pixels if smaller else ())])
    files = {PIXELS: pixels, PROMPT_IDS: _json(prompt_ids), EXPECTED: _json(expected)}
    for nth, further in enumerate(follow_ups, start=1):
        files |= _follow_up(runner, further, {name: told[nth].token_ids for name, told in turns.items()}, nth)
    save_folder(files, out)


def _follow_up(runner: Runner, further: FurtherQuestion, ids: dict[str, list[int]], nth: int) -> dict[str, bytes]:
    """Returns the files of the `nth` further question: itself, and the pixels of its images if it has any."""
    name, manifest = f"follow_up_{nth}", runner.bundle.manifest
    loaded = [load_image(image) for image in further.images]
    seen = tuple(see(manifest, manifest.image, image) for image in loaded)
    question = Question(_encode(runner.tokenizer, manifest, further.prompt, [one.place for one in seen]), seen)
    fields = {"prompt": further.prompt, **ids, "added": question.prompt.token_ids.tolist()}
    if not seen:
        return {f"{name}.json": _json(fields)}
    described = [_described(source, image) for source, image in zip(further.images, loaded, strict=True)]
    given = {key: value for key, value in _given(question, f"{name}.f32").items() if key != "token_ids"}
    return {f"{name}.f32": _pixels(question.pixels), f"{name}.json": _json({**fields, "images": described, **given})}


def _encode(tokenizer: Tokenizer, manifest: Bundle, prompt: str, places: Sequence[ImagePlace]) -> EncodedPrompt:
    """Returns the tokens of a further question alone, and of the end of the answer before it."""
    ids = tokenizer.encode(render_follow_up(manifest.prompt, prompt, places), add_special_tokens=False).ids
    return expand_ids(ids, manifest.prompt, manifest.view_tokens, places)


def _pixels(views: Sequence[NDArray[np.float32]]) -> bytes:
    return np.concatenate([view.ravel() for view in views]).astype("<f4").tobytes()


@dataclass(frozen=True)
class _Turn:
    """What is expected as answer behind the tokens of the whole conversation up to it."""

    token_ids: list[int]
    expected: dict[str, Any]


def _turns(runner: Runner, request: Request, follow_ups: Sequence[FurtherQuestion]) -> list[_Turn]:
    """Returns every turn of the conversation in one mode."""
    turns = [_turn(runner, request, runner.stream(request))]
    return turns + [_turn(runner, request, runner.follow_up(more.prompt, more.images)) for more in follow_ups]


def _turn(runner: Runner, request: Request, events: Iterator[RunEvent]) -> _Turn:
    result = last_result(events)
    assert runner.conversation is not None
    token_ids = runner.conversation.held.token_ids[: result.prompt_tokens]
    limit = runner.chooser(request, token_ids).limit
    expected = {"token_ids": list(result.token_ids), "reason": result.reason, "max_tokens": limit}
    return _Turn(token_ids.tolist(), expected)


def _given(question: Question, file: str) -> dict[str, Any]:
    """Returns what the model is given for a question: shapes of the pixels in a file, token ids, grids, tiles."""
    return {
        "pixels": {"file": file, "dtype": "float32", "shapes": [list(view.shape) for view in question.pixels]},
        "token_ids": question.prompt.token_ids.tolist(),
        "grids": list(question.prompt.grids),
        "tiles": [[place.rows, place.columns] for place in question.prompt.images],
    }


def _described(source: ImageSource, image: Image.Image) -> dict[str, Any]:
    path = Path(str(source))
    size = {"width_px": image.width, "height_px": image.height}
    return {"name": path.name, "sha256": file_sha256(path), **size}


def _json(fields: dict[str, Any]) -> bytes:
    return (json.dumps(fields) + "\n").encode()
