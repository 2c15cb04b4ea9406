"""The commands as users call them: output, exit codes, one-line errors."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from handmade_bundle import save_manifest
from handmade_graphs import K, N
from PIL import Image
from write_golden import TWO_IMAGES
from write_golden_views import GOLDEN, copy_of_variant

from vlmprune_runtime.cli import inspect, run
from vlmprune_runtime.generate import Request, Runner, open_runner


@pytest.fixture
def asked(bundle_folder: Path, image_file: Path) -> list[str]:
    return [str(bundle_folder), "--image", str(image_file), "--prompt", "why?", "--max-tokens", "5"]


def test_run_prints_the_answer(
    asked: list[str], runner: Runner, image: Image.Image, capsys: pytest.CaptureFixture
) -> None:
    assert run.main(asked) == 0
    shown = capsys.readouterr()
    assert shown.out == runner.answer(Request(image, "why?", max_tokens=5)).text + "\n"
    assert f"{K} of {N} visual tokens" in shown.err
    assert "first token after" in shown.err


@pytest.mark.parametrize("prune", [True, False])
def test_run_json(
    asked: list[str], runner: Runner, image: Image.Image, capsys: pytest.CaptureFixture, prune: bool
) -> None:
    assert run.main([*asked, "--json", *([] if prune else ["--no-prune"])]) == 0
    found = json.loads(capsys.readouterr().out)
    result = runner.answer(Request(image, "why?", prune, 5))
    assert found["text"] == result.text
    assert found["token_ids"] == list(result.token_ids)
    assert [view["kept"] for view in found["pruned"]] == [list(view.kept) for view in result.pruned]
    assert (found["timings"]["prune_ms"] > 0) == prune
    assert found["timings"]["ttft_ms"] >= found["timings"]["head_ms"] > 0


def test_sampling_options_are_passed_on(asked: list[str], capsys: pytest.CaptureFixture) -> None:
    def tokens(*more: str) -> list[int]:
        assert run.main([*asked, "--json", *more]) == 0
        return json.loads(capsys.readouterr().out)["token_ids"]

    greedy, hot = tokens(), tokens("--temperature", "9", "--seed", "5")
    assert hot != greedy
    assert tokens("--temperature", "9", "--seed", "6") != hot
    assert tokens("--temperature", "9", "--seed", "5", "--top-p", "1e-9") == greedy
    assert tokens("--max-tokens", "1") == greedy[:1]


def test_compare(asked: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run.main([*asked, "--compare"]) == 0
    shown = capsys.readouterr()
    assert shown.out.index("unpruned: ") < shown.out.index("pruned:   ")
    for word in ("vision, ms", "prune, ms", "LLM prefill", "first token", "ratio"):
        assert word in shown.out
    assert "warm-up" in shown.err


def test_compare_json(asked: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run.main([*asked, "--compare", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unpruned"]["pruned"] == []
    assert len(found["pruned"]["pruned"][0]["kept"]) == K
    ratio = found["unpruned"]["timings"]["ttft_ms"] / found["pruned"]["timings"]["ttft_ms"]
    assert found["ttft_ratio"] == pytest.approx(ratio, abs=0.01)


def test_overlay(asked: list[str], tmp_path: Path) -> None:
    for more in ([], ["--compare"]):
        out = tmp_path / f"kept{len(more)}.png"
        assert run.main([*asked, "--overlay", str(out), *more]) == 0
        with Image.open(out) as shown:
            assert shown.format == "PNG"


@pytest.fixture
def asked_about_two() -> list[str]:
    images = [argument for path in TWO_IMAGES.images for argument in ("--image", str(path))]
    return [str(TWO_IMAGES.bundle), *images, "--prompt", "why?", "--max-tokens", "5"]


def test_two_pictures(asked_about_two: list[str], capsys: pytest.CaptureFixture) -> None:
    assert run.main([*asked_about_two, "--json"]) == 0
    expected = open_runner(TWO_IMAGES.bundle).answer(Request(TWO_IMAGES.images, "why?", max_tokens=5))
    found = json.loads(capsys.readouterr().out)
    assert found["token_ids"] == list(expected.token_ids)
    assert [(image["image"], image["kept"]) for image in found["pruned"]] == [
        (nth, list(image.kept)) for nth, image in enumerate(expected.pruned)
    ]
    assert "head_ms" not in found["timings"]  # the bundle has no such stage


def test_no_overlay_where_nothing_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    smaller = copy_of_variant(GOLDEN / "bundle_grids", GOLDEN / "grids" / "smaller", tmp_path / "smaller")
    asked = [str(smaller), "--image", str(GOLDEN / "grids" / "wide.png"), "--prompt", "why?"]
    assert run.main([*asked, "--overlay", str(tmp_path / "kept.png")]) == 2
    assert "only scales the image down" in capsys.readouterr().err
    assert not (tmp_path / "kept.png").exists()


def test_overlay_of_each_image(asked_about_two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run.main([*asked_about_two, "--overlay", str(tmp_path / "kept.png")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept-1.png", "kept-2.png"]
    assert f"overlay: {tmp_path / 'kept-2.png'}" in capsys.readouterr().err
    shapes = [Image.open(path).height > Image.open(path).width for path in sorted(tmp_path.iterdir())]
    assert shapes == [Image.open(path).height > Image.open(path).width for path in TWO_IMAGES.images] == [False, True]


def test_an_image_too_many(asked_about_two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The third one is cut short behind its header, and is not read so far."""
    third = tmp_path / "third.png"
    third.write_bytes(TWO_IMAGES.images[0].read_bytes()[:100])
    assert run.main([*asked_about_two, "--image", str(third)]) == 2
    assert capsys.readouterr().err == "vlmprune-run: error: got 3 images; allowed: 1 to 2\n"


WRONG = {
    "temperature": ["--temperature", "-1"],
    "top_p": ["--top-p", "0"],
    "max_tokens": ["--max-tokens", "0"],
    "threads": ["--threads", "0"],
    "does not go with": ["--overlay", "x.png", "--no-prune"],
    "ends in .png": ["--overlay", "x.jpg"],
    "no folder": ["--overlay", "none/x.png"],
    "not allowed with": ["--compare", "--no-prune"],
    "invalid int": ["--seed", "x"],
    "unrecognized": ["--temp", "1"],
    "stands for the image": ["--prompt", "what <image>"],
    "the context has": ["--prompt", "x" * 99],
    "No such file": ["--image", "none.png"],
}


@pytest.mark.parametrize("reason", WRONG)
def test_bad_requests(asked: list[str], capsys: pytest.CaptureFixture, reason: str) -> None:
    assert run.main([*asked, *WRONG[reason]]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    last = shown.err.splitlines()[-1]
    assert last.startswith("vlmprune-run: error: ")
    assert reason in last


def test_broken_bundle(asked: list[str], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert run.main([str(tmp_path), *asked[1:]]) == 1
    assert capsys.readouterr().err == "vlmprune-run: error: bundle: bundle.json: is missing\n"


def test_altered_file_only_passes_without_verification(asked: list[str], copied_folder: Path) -> None:
    fields = json.loads((copied_folder / "bundle.json").read_text())
    fields["files"]["head.onnx"]["sha256"] = "0" * 64
    save_manifest(copied_folder, fields)
    args = [str(copied_folder), *asked[1:]]
    assert run.main(args) == 1
    assert run.main([*args, "--no-verify"]) == 0


@pytest.mark.parametrize("command", [run, inspect])
def test_help_has_examples(command: Any, capsys: pytest.CaptureFixture) -> None:
    assert command.main(["--help"]) == 0
    assert "examples:\n  vlmprune-" in capsys.readouterr().out


def test_inspect_table(bundle_folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert inspect.main([str(bundle_folder)]) == 0
    shown = capsys.readouterr().out
    for word in (
        "handmade",
        "top-sum, pivots 2",
        "before decoder layer 1 by stage prune",
        "head.keys[visual]",
        "4 of 16",
        "crop 28 x 28",
        "head.onnx",
    ):
        assert word in shown
    assert "pixels (1, 3, 28, 28) float32" in shown
    assert "1 x 1 x 8 float32" in shown
    assert "not checked" in shown


def test_inspect_json_is_the_manifest(bundle_folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert inspect.main([str(bundle_folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((bundle_folder / "bundle.json").read_text())


def test_inspect_is_not_steered_by_what_a_manifest_says(copied_folder: Path, capsys: pytest.CaptureFixture) -> None:
    fields = json.loads((copied_folder / "bundle.json").read_text())
    fields["name"] = "[red]x\x1b[2J"
    save_manifest(copied_folder, fields)
    assert inspect.main([str(copied_folder)]) == 0
    shown = capsys.readouterr().out
    assert "[red]x?[2J" in shown
    assert "\x1b" not in shown


def test_inspect_without_a_reader(bundle_folder: Path) -> None:
    """`vlmprune-inspect B | head -1`: quiet."""
    module = f"{sys.executable} -m vlmprune_runtime.cli.inspect"
    command = f"{module} {bundle_folder} --json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")


def test_missing_arguments(capsys: pytest.CaptureFixture) -> None:
    assert run.main([]) == 2
    assert "required: BUNDLE" in capsys.readouterr().err


def test_an_image_from_standard_input(bundle_folder: Path, image_file: Path, tmp_path: Path) -> None:
    """It is answered as a file of the same bytes is, and a dump of it holds the same pixels."""
    code = "import sys; from vlmprune_runtime.cli.run import main; sys.exit(main(sys.argv[1:]))"

    def tokens(image: str, out: Path) -> object:
        asked = [str(bundle_folder), "--image", image, "--prompt", "why?", "--json", "--max-tokens", "5"]
        with image_file.open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", code, *asked, "--dump", str(out)], stdin=file, capture_output=True, check=True
            )
        return json.loads(done.stdout)["token_ids"]

    assert tokens("-", tmp_path / "a") == tokens(str(image_file), tmp_path / "b")
    assert (tmp_path / "a" / "pixels.f32").read_bytes() == (tmp_path / "b" / "pixels.f32").read_bytes()


def test_no_image_on_standard_input(bundle_folder: Path) -> None:
    code = "import sys; from vlmprune_runtime.cli.run import main; sys.exit(main(sys.argv[1:]))"
    asked = [str(bundle_folder), "--image", "-", "--prompt", "why?"]
    done = subprocess.run([sys.executable, "-c", code, *asked], input="", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not an image in a known format" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes among its files")
def test_an_image_from_a_pipe_may_be_read_twice(asked: list[str], image_file: Path, tmp_path: Path) -> None:
    """As a shell's `<(command)`; comparing both modes reads the image for each."""
    os.mkfifo(tmp_path / "pipe.png")
    feeding = threading.Thread(target=lambda: (tmp_path / "pipe.png").write_bytes(image_file.read_bytes()))
    feeding.start()
    assert run.main([*asked[:2], str(tmp_path / "pipe.png"), *asked[3:], "--compare"]) == 0
    feeding.join()


def test_an_image_is_looked_at_before_the_bundle(asked: list[str], capsys: pytest.CaptureFixture) -> None:
    """The bundle is none, and yet the image is what the error is about."""
    assert run.main(["no-such-bundle", "--image", "no-such.png", *asked[3:]]) == 2
    assert "image no-such.png: No such file" in capsys.readouterr().err
    further = ["--follow-up", "and?", "--follow-up-image", "nor-this.png"]
    assert run.main(["no-such-bundle", *asked[1:], *further]) == 2
    assert "image nor-this.png: No such file" in capsys.readouterr().err
