"""`python -m vlmprune_tools.golden` counts what is equal, shows what differs, and refuses what it cannot read."""

import json
from pathlib import Path

import numpy as np
import pytest

from vlmprune_tools.golden.__main__ import main

GOLDEN = Path(__file__).parents[2] / "golden"


def write_pair(folder: Path, **changes: object) -> None:
    """Writes one case of FastV and its scene, with changed fields."""
    content = json.loads((GOLDEN / "pruners-baselines.json").read_text())
    case = next(case for case in content["cases"] if case["name"] == "fastv_G_64")
    with np.load(GOLDEN / "pruners-baselines.npz") as arrays:
        few = {name: arrays[name] for name in arrays.files if name.startswith(("scene_G__", "fastv_G_64__"))}
    (folder / "pruners-baselines.json").write_text(json.dumps(content | {"cases": [case | changes]}))
    np.savez(folder / "pruners-baselines.npz", **few)


def test_equal_cases_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pair(tmp_path)
    (tmp_path / "other.json").write_text("{}")  # a JSON file without arrays is none of a pair
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == ["fastv", "1", "/", "1", "all", "1", "/", "1"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ties": False, "keep": 63}, "kept: got 63 indices, expected 64"),
        ({"scene": "Z"}, "the case has no 'text'"),
        ({"method": "slowv"}, "no method is known by the name 'slowv'"),
    ],
)
def test_what_differs_is_said(
    changes: dict[str, object], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(tmp_path, **changes)
    assert main([str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert words in shown.out and "1 of 1 cases differ" in shown.err


@pytest.mark.parametrize("broken", ["missing", "empty", "json", "npz", "layout"])
def test_what_cannot_be_read_is_refused(broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "none" if broken == "missing" else tmp_path
    if broken in ("json", "npz", "layout"):
        write_pair(tmp_path)
    if broken in ("json", "npz"):
        (tmp_path / f"pruners-baselines.{broken}").write_text("{")
    if broken == "layout":
        (tmp_path / "pruners-baselines.json").write_text('{"cases": [{"name": "x"}]}')
    assert main([str(folder)]) == 2
    assert str(folder) in capsys.readouterr().err
