"""`vlmprune-export` and `vlmprune-check` as a user calls them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from peft import PeftModel
from PIL import Image
from test_adapters_merged import plain, write_adapter

from tiny import tiny_processor, write_checkpoint
from vlmprune_export.cli import check, export
from vlmprune_export.parity import LIMITS
from vlmprune_export.parity.check import _limits
from vlmprune_runtime.bundle import file_sha256, open_bundle
from vlmprune_runtime.cli import run
from vlmprune_runtime.installation import install_command
from vlmprune_runtime.sample import SAMPLE_IMAGE

PROMPT = "what is in the picture ?"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("commands")
    checkpoint = write_checkpoint(folder / "checkpoint")
    arguments = [str(checkpoint), "--target", "onnx", "--keep", "8", "--set", "batch=4", "--context", "96"]
    assert export.main([*arguments, "--out", str(folder / "bundle")]) == 0
    return folder


def test_export_writes_what_was_asked(made: Path) -> None:
    manifest = json.loads((made / "bundle" / "bundle.json").read_text())
    assert manifest["grids"][0]["keep"] == [8]
    assert manifest["pruner"]["settings"]["batch"] == 4
    assert manifest["context_tokens"] == 96


def test_check_prints_json_and_attaches(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = check.main([str(made / "bundle"), "--prompt", PROMPT, "--tokens", "4", "--json", "--attach"])
    printed = json.loads(capsys.readouterr().out)
    assert (code, printed["passed"]) == (0, True)
    assert json.loads((made / "bundle" / "bundle.json").read_text())["parity"]["passed"] is True


def test_check_prints_a_table(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([str(made / "bundle"), "--prompt", PROMPT, "--tokens", "4"]) == 0
    printed = capsys.readouterr().out
    assert "tail, pruned" in printed
    assert "4 of 4" in printed


def test_check_fails_past_a_limit(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = check.main([str(made / "bundle"), "--prompt", PROMPT, "--tokens", "4", "--limit", "1e-12"])
    assert code == 1
    assert "limit 1e-12" in capsys.readouterr().err


@pytest.mark.parametrize("quantisation", ["none", "int8", "pal4"])
def test_a_given_limit_leaves_the_others(made: Path, quantisation: str) -> None:
    manifest = open_bundle(made / "bundle").manifest.model_copy(update={"quantisation": quantisation})
    expected = LIMITS[quantisation]
    assert _limits(manifest, False, None) == expected
    assert _limits(manifest, False, 0.125) == replace(expected, relative=0.125)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "onnx"], "--out"),
        (["/nowhere", "--target", "onnx", "--out", "B"], "no folder '/nowhere'"),
        (["--target", "tflite", "--out", "B"], "unknown target 'tflite'"),
        (["--target", "onnx", "--out", "B", "--set", "batch"], "NAME=VALUE"),
        (["--target", "onnx", "--out", "B", "--quant", "int4", "--fit", "fast"], "unknown fit 'fast'"),
        (["--target", "onnx", "--out", "B", "--keep", "3", "--rate", "0.5"], "not allowed with"),
        (["--target", "onnx", "--out", "B", "--keep", "many"], "invalid int value"),
    ],
)
def test_bad_wishes_are_one_line_and_exit_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main(["--help"]) == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["export", "check"])
def test_missing_packages_are_named(command: str, tmp_path: Path) -> None:
    arguments = ["--target", "onnx", "--out", str(tmp_path / "b")] if command == "export" else [str(tmp_path)]
    code = (
        "import sys; sys.modules['torch'] = None\n"
        f"from vlmprune_export.cli.{command} import main; sys.exit(main({arguments!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"torch is not installed; run: {install_command('export')}\n" in done.stderr
    assert done.stderr.count("\n") == 1


def test_check_skips_a_image_that_cannot_be_read(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """And says which and why; the others are compared, and the exit code is that of the comparison."""
    (tmp_path / "a.png").write_text("no image")
    args = [str(made / "bundle"), "--tokens", "1", "--pictures", str(tmp_path)]
    assert check.main(args) == 0
    assert "skipped 1 of 1 images:" in capsys.readouterr().out
    Image.new("RGB", (90, 60), (200, 30, 40)).save(tmp_path / "b.png")
    assert check.main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "kept in common on 1 images: 8.0 of 8 on average, 8 at least" in lines
    assert any(line.endswith("a.png: not an image in a known format") for line in lines)


def link_into_store(bundle: Path, hub: Path) -> Path:
    """A bundle as a hub's client leaves it: a snapshot whose every file is a link to a blob named by its hash."""
    snapshot, blobs = hub / "models--me--b" / "snapshots" / "abc", hub / "models--me--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in bundle.iterdir():
        blob = blobs / file_sha256(path)
        blob.write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


def test_an_adapter_is_exported_by_command_and_answers_like_the_merged_model_also_from_a_hub_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = write_checkpoint(tmp_path / "base")
    adapter = write_adapter(base, tmp_path / "adapter", target_modules=["q_proj", "down_proj", "linear_1"])
    PeftModel.from_pretrained(plain(base), adapter).merge_and_unload().save_pretrained(tmp_path / "merged")
    tiny_processor("clip").save_pretrained(tmp_path / "merged")
    answers = {}
    for name in ("base", "adapter", "merged"):
        bundle = tmp_path / f"{name}-bundle"
        arguments = [
            str(tmp_path / name),
            "--target",
            "onnx",
            "--keep",
            "9",
            "--pruner",
            "uniform",
            "--out",
            str(bundle),
        ]
        assert export.main(arguments) == 0
        folders = (bundle, link_into_store(bundle, tmp_path / f"{name}-hub"))
        capsys.readouterr()
        for folder in folders:
            question = ["--image", str(SAMPLE_IMAGE), "--prompt", "what is in the picture ?", "--max-tokens", "8"]
            assert run.main([str(folder), *question]) == 0
            answers[name, folder == bundle] = capsys.readouterr().out
    assert answers["adapter", True] == answers["adapter", False] == answers["merged", True] != answers["base", True]
