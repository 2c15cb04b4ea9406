"""`vlmprune-check` on a coreml bundle: a sound one passes, damaged ones do not, and it says what it shows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; the Core ML check is NOT tested")

from coreml_bundles import PROMPT, checked, exported
from mil_edits import drop, edited, operations

from manifests import change_manifest, manifest_of
from vlmprune_export.cli import check
from vlmprune_runtime.errors import BadRequest


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "broken"))


LATER = (", cache", ", follow-up")


def test_a_float32_bundle_passes(bundle: Path) -> None:
    report = checked(bundle)
    assert report.failures() == []
    assert [(answer.mode, answer.agreed) for answer in report.agreements] == [("pruned", 6), ("unpruned", 6)]
    assert all(gap.equal for gap in report.differences if gap.equal is not None)
    floats = {(gap.stage, gap.output): gap.relative for gap in report.differences if gap.equal is None}
    later = {key for key in floats if key[0].endswith(LATER) or "decode" in key[0]}  # the cache holds float16
    assert len(later) == 4 * 3 + 4
    assert max(floats[key] for key in floats.keys() - later) < 1e-5
    assert 1e-5 < max(floats[key] for key in later) < 1e-3
    assert report.method == "MIL reference check, device unverified"
    assert report.device is None


def test_a_float16_bundle_passes_its_limits_and_selects_the_same(checkpoint: Path, tmp_path: Path) -> None:
    report = checked(exported(checkpoint, tmp_path / "half"))
    assert report.failures() == []
    assert all(gap.equal for gap in report.differences if gap.equal is not None)
    halves = {gap.stage: gap.relative for gap in report.differences if gap.output in ("features", "hidden", "logits")}
    assert all(1e-5 < halves[stage] < 2e-2 for stage in ("vision", "head", "tail, pruned", "tail, decode"))
    assert report.limits.relative < 0.05


@pytest.mark.parametrize(("stage", "function"), [("head", "decode"), ("tail", "prefill_pruned"), ("tail", "decode")])
def test_a_dropped_state_write_fails_the_check(broken: Path, stage: str, function: str) -> None:
    with edited(broken / f"{stage}.mlpackage") as model:
        drop(operations(model, function), "write_state", 0)
    change_manifest(broken)
    failures = checked(broken).failures()
    assert any(f"{stage}, cache: keys" in str(failure) for failure in failures)


def test_kept_sets_are_compared_on_a_folder_of_images(bundle: Path, tmp_path: Path) -> None:
    for nth in range(2):
        noise = np.random.default_rng(nth).integers(0, 255, (60, 80, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{nth}.png")
    kept = checked(bundle, image_folder=tmp_path, tokens=1).kept
    assert kept is not None
    assert (kept.keep, kept.in_common, kept.mean_fraction) == (8, (8, 8), 1.0)
    with pytest.raises(BadRequest, match="which has none; allowed: a folder of"):
        checked(bundle, image_folder=bundle)


def test_a_swapped_weight_fails_the_check(broken: Path) -> None:
    with edited(broken / "tail.mlpackage") as model:
        for function in model.mlProgram.functions:
            weights = [
                one.attributes["val"].blobFileValue
                for one in operations(model, function)
                if one.type == "const" and one.attributes["val"].HasField("blobFileValue")
                and [size.constant.size for size in one.outputs[0].type.tensorType.dimensions] == [48, 48]
            ]  # fmt: skip
            weights[0].offset, weights[-1].offset = weights[-1].offset, weights[0].offset
    change_manifest(broken)
    assert any("tail" in str(failure) for failure in checked(broken).failures())


def test_the_command_says_what_it_shows(bundle: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wishes = [str(bundle), "--prompt", PROMPT, "--tokens", "2"]
    assert check.main(wishes) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "MIL reference check, device unverified" in shown
    assert "not Apple's runtime" in shown
    assert check.main([*wishes, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["passed"], report["method"]) == (True, "MIL reference check, device unverified")
    assert "not Apple's runtime" in report["shows"]


def test_an_altered_bundle_is_one_line(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = next((broken / "tail.mlpackage").rglob("weight.bin"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert check.main([str(broken), "--prompt", PROMPT]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "weight.bin" in line]
    assert "sha256" in line


@pytest.mark.parametrize(("units", "message"), [("NPU", "unknown compute units 'NPU'"), ("ALL", "has no Core ML")])
def test_compute_units_are_for_macos(bundle: Path, units: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        checked(bundle, compute_units=units)


def test_compute_units_are_for_coreml(bundle: Path, broken: Path) -> None:
    manifest = manifest_of(broken)
    change_manifest(broken, target="onnx", stages=manifest["stages"])
    with pytest.raises(BadRequest, match="this bundle is for onnx, which has none"):
        checked(broken, compute_units="ALL")
