"""The golden files that the Kotlin and Swift twins read, too."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.errors import BundleError
from vlmprune_runtime.generate import Request, Runner, open_runner
from vlmprune_runtime.picture import load_image
from vlmprune_runtime.preprocess import preprocess, seen_picture

GOLDEN = Path(__file__).parent.parent / "golden"
IMAGE = GOLDEN / "image.png"


def cases(name: str) -> list[dict[str, Any]]:
    return json.loads((GOLDEN / name).read_text())


@pytest.fixture(scope="module")
def golden_runner() -> Runner:
    return open_runner(GOLDEN / "bundle")


def test_pixels(golden_runner: Runner) -> None:
    image, spec = load_image(IMAGE), golden_runner.bundle.manifest.image
    with np.load(GOLDEN / "pixels.npz") as expected:
        seen = np.asarray(seen_picture(image, spec)).astype(int)
        assert np.abs(seen - expected["seen"]).max() <= 1
        assert np.abs(preprocess(image, spec) - expected["pixels"]).max() <= 4 / 255 + 1e-6  # std of 1/4


@pytest.mark.parametrize("case", cases("prompts.json"), ids=lambda case: repr(case["prompt"]))
def test_prompts(golden_runner: Runner, case: dict[str, Any]) -> None:
    encoded = golden_runner.encode(case["prompt"])
    assert encoded.token_ids.tolist() == case["token_ids"]
    assert [list(span) for span in encoded.spans] == case["spans"]


@pytest.mark.parametrize("case", cases("answers.json"), ids=lambda case: f"{case['prompt']} {case['prune']}")
def test_answers(golden_runner: Runner, case: dict[str, Any]) -> None:
    result = golden_runner.answer(Request(IMAGE, case["prompt"], case["prune"], case["max_tokens"]))
    assert list(result.token_ids) == case["token_ids"]
    assert (result.text, result.reason) == (case["text"], case["reason"])
    kept = [{"kept": list(image.kept), "rank": list(image.rank)} for image in result.pruned]
    assert kept == case["pruned"]


def test_answers_tell_pruned_from_unpruned() -> None:
    answers = cases("answers.json")
    assert any(a["token_ids"] != b["token_ids"] for a, b in zip(answers[::2], answers[1::2], strict=True))
    assert {case["reason"] for case in answers} == {"stop", "length"}


@pytest.mark.parametrize("case", cases("bundle_errors.json"), ids=lambda case: case["name"])
def test_bundle_errors(tmp_path: Path, case: dict[str, Any]) -> None:
    """A case sets the field at `path` to `value`, or deletes it if it has none."""
    folder = Path(shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle"))
    fields = json.loads((folder / "bundle.json").read_text())
    target = fields
    for key in case["path"][:-1]:
        target = target[key]
    if "value" in case:
        target[case["path"][-1]] = case["value"]
    else:
        del target[case["path"][-1]]
    (folder / "bundle.json").write_text(json.dumps(fields))
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert (caught.value.file, caught.value.field) == (case["file"], case["field"])
