"""Writes a question for runners that have neither image preprocessing nor a tokenizer, such as `runtime/cpp`.

The folder holds three files. `pixels.f32` is raw float32, little endian. `prompt_ids.json` holds the whole prompt's
token ids, image tokens included, the shape of each view's pixels and the index of its grid, and the pictures that
they come from (`images`; `image` repeats the first). `expected.json` holds this engine's greedy answers, pruned and
unpruned, by the bundle's generation settings and without the stop token.
"""

import json
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlmprune_runtime.atomic import check_output_folder, save_folder
from vlmprune_runtime.bundle import file_sha256
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Request, Runner
from vlmprune_runtime.image_loading import ImageSource, load_image
from vlmprune_runtime.question import Question

PIXELS, PROMPT_IDS, EXPECTED = "pixels.f32", "prompt_ids.json", "expected.json"


def check_dump(request: Request, out: str | PathLike[str]) -> None:
    """Raises `BadRequest` if the answer of the request is random, or if no folder can be put at `out`."""
    if request.sampling.temperature:
        raise BadRequest("--dump keeps the greedy answer to compare with; it does not go with --temperature")
    check_output_folder(out)


def dump(runner: Runner, request: Request, out: str | PathLike[str]) -> None:
    """Answers the request pruned and unpruned, and writes both into folder `out`, whole or not at all."""
    check_dump(request, out)
    request = replace(request, sampling=replace(request.sampling, temperature=0.0))
    pictures = [load_image(image) for image in request.images]
    question = runner.ask(request.prompt, pictures)
    pixels = np.concatenate([view.ravel() for view in question.pixels])
    images = [_image(source, picture) for source, picture in zip(request.images, pictures, strict=True)]
    prompt_ids = {
        "prompt": request.prompt,
        "image": images[0],
        "images": images,
        "pixels": {"file": PIXELS, "dtype": "float32", "shapes": [list(view.shape) for view in question.pixels]},
        "token_ids": question.prompt.token_ids.tolist(),
        "grids": list(question.prompt.grids),
    }
    expected = {
        name: _answer(runner, replace(request, prune=prune), question)
        for name, prune in (("pruned", True), ("unpruned", False))
    }
    files = {PIXELS: pixels.astype("<f4").tobytes(), PROMPT_IDS: _json(prompt_ids), EXPECTED: _json(expected)}
    save_folder(files, out)


def _image(source: ImageSource, picture: Image.Image) -> dict[str, Any]:
    path = Path(str(source))
    size = {"width_px": picture.width, "height_px": picture.height}
    return {"name": path.name, "sha256": file_sha256(path), **size}


def _answer(runner: Runner, request: Request, question: Question) -> dict[str, Any]:
    result = runner.answer(request)
    limit = runner.chooser(request, question.prompt.token_ids).limit
    return {"token_ids": list(result.token_ids), "reason": result.reason, "max_tokens": limit}


def _json(fields: dict[str, Any]) -> bytes:
    return (json.dumps(fields) + "\n").encode()
