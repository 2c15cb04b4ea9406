"""Two pictures on different grids in the C++ runner: the Python engine's tokens and kept sets, on three axes."""

import json
from pathlib import Path

import pytest
from running import WAYS, WHY, asked, called, expected, tokens

pytest.importorskip("executorch.runtime", reason=WHY)

from grid_bundles import RATE, TEXT, export_grids
from tiny_qwen2_5_vl import pictures
from vlmprune_export.cuts import PruneOptions
from vlmprune_runtime.cli import run
from vlmprune_runtime.generate import Request, open_runner


def test_two_grids_are_those_of_the_python_engine(runner: Path, tmp_path: Path) -> None:
    """With the pruner `uniform`: lowering a loop takes longer than all the rest."""
    bundle = export_grids(tmp_path, "executorch", prune=PruneOptions("uniform", rate=RATE))
    images = list[str]()
    for nth, picture in enumerate(pictures()):
        picture.save(tmp_path / f"{nth}.png")
        images += ["--image", str(tmp_path / f"{nth}.png")]
    question = tmp_path / "question"
    assert run.main([str(bundle), *images, "--prompt", TEXT, "--max-tokens", "8", "--dump", str(question)]) == 0
    assert json.loads((question / "prompt_ids.json").read_text())["grids"] == [0, 1]
    for way, more in WAYS.items():
        assert (
            tokens(called([runner], *asked(bundle, question, "--max-tokens", "8", *more)))
            == (expected(question, way)["token_ids"])
        )
    kept = called([runner], *asked(bundle, question, "--max-tokens", "1", "--kept")).stdout.splitlines()[1:]
    chosen = open_runner(bundle).answer(Request(pictures(), TEXT, max_tokens=1)).pruned
    assert [[int(word) for word in line.split()] for line in kept] == [list(image.kept) for image in chosen]
