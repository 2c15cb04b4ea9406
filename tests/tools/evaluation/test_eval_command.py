"""`vlmprune-eval` as a user calls it, from a bundle to a table, an image and a manifest."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlmprune_runtime.bundle import open_bundle
from vlmprune_tools.cli import eval as command
from vlmprune_tools.evaluation.loaded_model import manifest_sha256
from vlmprune_tools.report import AccuracyRecord

LINES = ["0.png", "1.png", "2.png", "3.png"]


def call(model: Path | str, data: Path, *more: str) -> int:
    fast = ["--keeps", "49,20,8", "--max-tokens", "2", "--threads", "0"]
    return command.main([str(model), "--data", str(data / "asked.csv"), *fast, *more])


@pytest.fixture(scope="module")
def record(asked_bundle: Path, asked_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("eval") / "a.json"
    assert call(asked_bundle, asked_folder, "--json", str(out)) == 0
    return json.loads(out.read_text())


def test_the_record(record: dict[str, Any]) -> None:
    assert (record["kind"], record["visual_tokens"], record["data"]["questions"]) == ("accuracy", 49, 12)
    rows = record["rows"]
    assert len(rows) == 3 * 7  # two tasks and their mean, unpruned and three pruners at two rates
    assert {row["n"] for row in rows if row["task"] == "seeing"} == {8}
    names = {"task", "method", "keep", "accuracy", "low", "high", "n"}
    assert set(rows[0]) == names | {"retained_percent", "retained_low", "retained_high"}
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 for row in rows)
    (own,) = (config for config in record["methods"] if config["pruned_in"] == "onnx")
    assert (own["method"], own["keep"], own["mean_visual_tokens"]) == ("vlm-pruner", 8, (2 * 49 + 2 * 8) / 4)


def test_the_report_reads_it(record: dict[str, Any]) -> None:
    read = AccuracyRecord.model_validate(record)
    assert (read.model, len(read.rows)) == (record["model"], len(record["rows"]))


def test_it_is_deterministic(record: dict[str, Any], asked_bundle: Path, asked_folder: Path, tmp_path: Path) -> None:
    assert call(asked_bundle, asked_folder, "--json", str(tmp_path / "a.json")) == 0
    assert json.loads((tmp_path / "a.json").read_text()) == record


def test_the_table_says_what_ran_where(
    asked_bundle: Path, asked_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(asked_bundle, asked_folder, "--limit", "4") == 0
    printed = capsys.readouterr().out
    assert "8 (-83.7 %)" in printed
    assert "pruned by the bundle's own graph: vlm-pruner at 8; all others by PyTorch" in printed
    assert "4 questions on 2 images of asked.csv" in printed or "4 questions on" in printed


def test_a_checkpoint_on_another_layer_with_an_ablation(
    asked_checkpoint: Path, asked_folder: Path, tmp_path: Path
) -> None:
    arguments = ["--layer", "1", "--ablation", "--limit", "1", "--pruners", "vlm-pruner", "--set", "channels=5"]
    assert call(asked_checkpoint, asked_folder, *arguments, "--json", str(tmp_path / "a.json")) == 0
    record = json.loads((tmp_path / "a.json").read_text())
    assert (record["identity"]["layer"], record["identity"]["engine"]) == (1, "pytorch")
    settings = {config["method"]: config["settings"] for config in record["methods"] if config["keep"] == 8}
    assert len(settings) == 5 and {values["channels"] for values in settings.values()} == {5}
    assert settings["vlm-pruner:aggregate=false"]["aggregate"] is False
    assert settings["vlm-pruner:batch=1"]["batch"] == 1 and settings["vlm-pruner"]["batch"] == 16
    assert settings["vlm-pruner:distance_weight=0"]["distance_weight"] == 0
    assert settings["vlm-pruner:pivots=1"]["pivots"] == 1


def test_plot_and_attach(asked_bundle: Path, asked_folder: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(asked_bundle, tmp_path / "bundle"))
    before = open_bundle(bundle).manifest
    arguments = ["--plot", str(tmp_path / "a.png"), "--attach", "--blind", "--limit", "4"]
    assert call(bundle, asked_folder, *arguments) == 0
    with Image.open(tmp_path / "a.png") as image:
        colours = image.convert("RGB").getcolors(1 << 24)
        assert colours is not None and len(colours) > 50, "an empty image"
    after = open_bundle(bundle).manifest
    assert after.accuracy is not None
    assert {row["method"] for row in after.accuracy["blind"]} == {"blind"}
    assert {row["method"] for row in after.accuracy["rows"]} == {"unpruned", "vlm-pruner", "random", "uniform"}
    assert after.model_copy(update={"accuracy": None}) == before
    assert manifest_sha256(after) == manifest_sha256(before)


def test_a_checkpoints_accuracy_goes_into_its_bundle(
    asked_checkpoint: Path, asked_bundle: Path, asked_folder: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(asked_bundle, tmp_path / "bundle"))
    assert call(asked_checkpoint, asked_folder, "--limit", "1", "--attach", str(bundle)) == 0
    assert open_bundle(bundle).manifest.accuracy is not None


def test_it_does_not_go_into_a_bundle_of_another_cut(
    asked_checkpoint: Path, asked_bundle: Path, asked_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(asked_checkpoint, asked_folder, "--limit", "1", "--layer", "1", "--attach", str(asked_bundle)) == 2
    assert "is cut before layer 2, evaluated was layer 1" in capsys.readouterr().err
    assert open_bundle(asked_bundle).manifest.accuracy is None


def test_pope_figures_are_printed(
    asked_bundle: Path, asked_folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = [json.dumps({"image": name, "text": "is the dog ?", "label": "yes"}) for name in LINES]
    (tmp_path / "pope.jsonl").write_text("\n".join(lines))
    arguments = ["--data", str(tmp_path / "pope.jsonl"), "--images", str(asked_folder), "--json"]
    fast = ["--keeps", "8", "--max-tokens", "2", "--threads", "0"]
    assert command.main([str(asked_bundle), *arguments, str(tmp_path / "a.json"), *fast]) == 0
    assert "POPE pope, unpruned at 49: accuracy 100.0, precision 100.0" in capsys.readouterr().out
    record = json.loads((tmp_path / "a.json").read_text())["pope"]
    assert {(row["keep"], row["yes_ratio"]) for row in record} == {(49, 1.0), (8, 1.0)}  # words that mean nothing


def test_without_answers_it_is_agreement_with_unpruned(asked_bundle: Path, asked_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps({"image": name, "text": "is ?"}) for name in LINES))
    arguments = [
        "--data",
        str(tmp_path / "q.jsonl"),
        "--images",
        str(asked_folder),
        "--threads",
        "0",
        "--keeps",
        "48,1",
    ]
    assert command.main([str(asked_bundle), *arguments, "--json", str(tmp_path / "a.json")]) == 0
    record = json.loads((tmp_path / "a.json").read_text())
    share = {(row["method"], row["keep"]): row["accuracy"] for row in record["rows"] if row["task"] == "q"}
    assert share["unpruned", 49] == 1.0
    assert min(share.values()) < 1.0, "one token says the same as all"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--keeps", "50"], "keeps: got 50; allowed: 1 to 49"),
        (["--keeps", "0"], "keeps: got 0"),
        (["--keeps", "8,many"], "keeps: got 'many'; allowed: whole numbers"),
        (["--pruners", "best"], "unknown pruner 'best'; choose one of: cdpruner, cdpruner-embed, dart"),
        (["--pruners", "grid:seed=1"], "pruner 'grid' has no setting 'seed'"),
        (["--pruners", "vlm-pruner:batch"], "setting 'batch': allowed: NAME=VALUE"),
        (["--pruners", "vlm-pruner:batch=0"], "batch is 0; allowed"),
        (["--set", "pivot=1"], "none of the pruners has a setting 'pivot'"),
        (["--layer", "3"], "layer: got 3; allowed: 2"),
        (["--max-tokens", "0"], "max_tokens: got 0"),
        (["--threads", "-1"], "threads: got -1"),
        (["--plot", "a.jpg"], "a.jpg: the plot is an image; give a name that ends in .png"),
        (["--json", "nowhere/a.json"], "there is no folder nowhere"),
        (["--attach", "nowhere"], "nowhere: no such folder"),
        (["--data", "photos"], "no data 'photos'; allowed: scenes"),
        (["--limit", "-3"], "limit: got -3"),
    ],
)
def test_bad_arguments_are_one_line_and_nothing_is_written(
    arguments: list[str],
    message: str,
    asked_bundle: Path,
    asked_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = call(asked_bundle, asked_folder, *arguments)
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
    assert code == (1 if "--attach" in arguments else 2)
    assert captured.err.count("error:") == 1 and "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    assert "vlmprune-eval pocket-onnx --data scenes" in capsys.readouterr().out
