"""`vlmprune-bench` from end to end on the golden bundle; nothing here looks at how long anything took."""

import hashlib
from pathlib import Path

import pytest

from vlmprune_runtime.benchmark.record import BenchmarkRecord
from vlmprune_runtime.cli import bench

GOLDEN = Path(__file__).parents[1] / "golden"
BUNDLE = GOLDEN / "bundle"


def test_record_and_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "bench.json"
    wishes = ["--image", str(GOLDEN / "image.png"), "--repetitions", "3", "--tokens", "4", "--json", str(out)]
    assert bench.main([str(BUNDLE), str(BUNDLE), *wishes]) == 0
    record = BenchmarkRecord.model_validate_json(out.read_text(), strict=True)
    assert [len(result.runs) for result in record.results] == [6, 6]
    (first, _), settings = record.results, record.settings
    assert first.bundle.manifest_sha256 == hashlib.sha256((BUNDLE / "bundle.json").read_bytes()).hexdigest()
    assert (first.engine.name, first.bundle.verified, first.bundle.keep) == ("onnxruntime", True, 4)
    assert (settings.tokens, settings.image.name) == (4, "image.png")
    shown = capsys.readouterr()
    assert "LLM prefill, ms" in shown.out
    assert "the FLOPs allow" in shown.out
    assert "pruned" not in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--repetitions", "0"], "repetitions: got 0, allowed: 1 or more"),
        (["--json", "no/such/folder/bench.json"], "there is no folder no/such/folder"),
        (["--image", "no-such.png"], "image no-such.png: No such file"),
        (["--tokens", "999"], "bundle: prompt and answer take"),
        (["--threads", "0"], "threads: got 0"),
    ],
)
def test_bad_requests(arguments: list[str], told: str, capsys: pytest.CaptureFixture) -> None:
    assert bench.main([str(BUNDLE), *arguments]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_a_broken_bundle_fails(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert bench.main([str(tmp_path)]) == 1
    assert "bundle.json: is missing" in capsys.readouterr().err
