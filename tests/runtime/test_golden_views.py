"""Conversations about images of several views and grids, which the runners in all languages must come to."""

import json
from pathlib import Path

import pytest
from write_golden_views import GOLDEN, conversation, copy_of_variant

from vlmprune_runtime.generate import open_runner

TOLD = {
    "tiles": ("bundle_tiles", None),
    "tiles/together": ("bundle_tiles", "together"),
    "grids": ("bundle_grids", None),
    "grids/smaller": ("bundle_grids", "smaller"),
    "two_pictures/counted": ("bundle_two_pictures", "counted"),
}
"""The bundle that each folder of conversations is about, or the variant of it in that folder."""


@pytest.mark.parametrize("folder", TOLD)
def test_conversations(folder: str, tmp_path: Path) -> None:
    base, variant = TOLD[folder]
    bundle, images, name = GOLDEN / base, GOLDEN / folder, "conversations.json"
    if variant:
        bundle, images = copy_of_variant(bundle, images, tmp_path / variant), images.parent
        name = f"{variant}_{name}"
    runner = open_runner(bundle)
    rows = json.loads((images / name).read_text())
    assert len(rows) >= 2
    for row in rows:
        turns = [(turn["prompt"], turn["images"]) for turn in row["turns"]]
        assert conversation(runner, images, turns, prune=row["prune"]) == row


def test_the_counted_bundle_keeps_numbers_that_differ() -> None:
    rows = json.loads((GOLDEN / "two_pictures" / "counted_conversations.json").read_text())
    kept = [len(view["kept"]) for row in rows for turn in row["turns"] for view in turn["pruned"]]
    assert min(kept) == 1 and max(kept) == 6 and len(set(kept)) > 2
