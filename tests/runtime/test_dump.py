"""`vlmprune-run --dump`: what a runner without preprocessing and tokenizer is given."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from write_golden import TWO_IMAGES

from vlmprune_runtime.bundle import file_sha256
from vlmprune_runtime.cli import run
from vlmprune_runtime.generate import Request, Runner
from vlmprune_runtime.preprocess import preprocess


@pytest.fixture
def asked(bundle_folder: Path, image_file: Path) -> list[str]:
    return [str(bundle_folder), "--image", str(image_file), "--prompt", "why?", "--max-tokens", "5"]


@pytest.mark.parametrize("more", [[], ["--no-prune"], ["--compare", "--json"]])
def test_the_question_is_kept_with_both_answers(
    asked: list[str], more: list[str], runner: Runner, image: Image.Image, image_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "question"
    assert run.main([*asked, *more, "--dump", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["expected.json", "pixels.f32", "prompt_ids.json"]
    kept = json.loads((out / "prompt_ids.json").read_text())
    pixels = np.fromfile(out / "pixels.f32", dtype="<f4").reshape(-1, *kept["pixels"]["shapes"][0][1:])
    np.testing.assert_array_equal(pixels, preprocess(image, runner.bundle.manifest.image))
    assert kept["token_ids"] == runner.encode("why?").token_ids.tolist()
    sha256 = file_sha256(image_file)
    assert kept["image"] == {"name": "noise.png", "sha256": sha256, "width_px": 50, "height_px": 40}
    assert kept["images"] == [kept["image"]]
    expected = json.loads((out / "expected.json").read_text())
    for way, prune in (("pruned", True), ("unpruned", False)):
        result = runner.answer(Request(image, "why?", prune, 5))
        assert expected[way] == {"token_ids": list(result.token_ids), "reason": result.reason, "max_tokens": 5}


def test_two_pictures_are_kept_in_their_order(tmp_path: Path) -> None:
    images = [argument for path in TWO_IMAGES.images for argument in ("--image", str(path))]
    asked = [str(TWO_IMAGES.bundle), *images, "--prompt", "why?", "--max-tokens", "12"]
    assert run.main([*asked, "--dump", str(tmp_path / "question")]) == 0
    kept = json.loads((tmp_path / "question" / "prompt_ids.json").read_text())
    shapes = kept["pixels"]["shapes"]
    pixels = np.fromfile(tmp_path / "question" / "pixels.f32", dtype="<f4").reshape(len(shapes), *shapes[0][1:])
    with np.load(TWO_IMAGES.folder / "pixels.npz") as golden:
        assert pixels == pytest.approx(golden["pixels"], abs=0.02)
    assert [image["name"] for image in kept["images"]] == list(TWO_IMAGES.names)
    answers = json.loads((TWO_IMAGES.folder / "answers.json").read_text())
    expected = json.loads((tmp_path / "question" / "expected.json").read_text())
    assert [expected[way]["token_ids"] for way in ("pruned", "unpruned")] == [
        answers[0]["token_ids"],
        answers[1]["token_ids"],
    ]


def test_what_is_there_is_left_alone(asked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "kept").write_text("mine")
    assert run.main([*asked, "--dump", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"vlmprune-run: error: {tmp_path}: exists\n"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dump", "no/such/place"], "no/such/place: there is no folder no/such"),
        (["--dump", "out", "--temperature", "1"], "--dump keeps the greedy answer"),
    ],
)
def test_bad_wishes_are_refused_before_loading(
    asked: list[str],
    more: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run.main(["no-such-bundle", *asked[1:], *more]) == 2
    assert message in capsys.readouterr().err


def test_nothing_is_left_when_writing_fails(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert run.main([*asked, "--dump", str(tmp_path / "question")]) == 2
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
