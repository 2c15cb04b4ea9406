"""Conversations about images of several views and grids, which the runners in all languages must come to."""

import json
import shutil
from pathlib import Path

import pytest
from write_golden_views import GOLDEN, conversation

from vlmprune_runtime.generate import open_runner
from vlmprune_runtime.schema.base import MANIFEST

TOLD = {
    "tiles": ("bundle_tiles", "tiles/conversations.json"),
    "grids": ("bundle_grids", "grids/conversations.json"),
    "smaller": ("bundle_grids", "grids/smaller_conversations.json"),
}


@pytest.mark.parametrize("name", TOLD)
def test_conversations(name: str, tmp_path: Path) -> None:
    bundle, file = GOLDEN / TOLD[name][0], GOLDEN / TOLD[name][1]
    if name == "smaller":
        shutil.copytree(bundle, tmp_path / name)
        bundle = Path(shutil.copy(GOLDEN / "grids" / "smaller.json", tmp_path / name / MANIFEST)).parent
    runner = open_runner(bundle)
    rows = json.loads(file.read_text())
    assert len(rows) >= 2
    for row in rows:
        turns = [(turn["prompt"], turn["images"]) for turn in row["turns"]]
        assert conversation(runner, file.parent, turns, prune=row["prune"]) == row
