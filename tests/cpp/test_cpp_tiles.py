"""A picture in tiles: the C++ runner finds the places of all views between their separators."""

import json
from pathlib import Path

import pytest
from running import WAYS, WHY, asked, called, dumped, expected, tokens

from tile_bundles import FASTV, export_tiles
from vlmprune_runtime.dump import PROMPT_IDS

pytest.importorskip("executorch.runtime", reason=WHY)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = export_tiles(tmp_path_factory.mktemp("tiles"), "executorch", prune=FASTV)
    dumped(bundle, bundle.with_name("question"))
    return bundle


@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_of_the_python_engine(runner: Path, tiled: Path, way: str) -> None:
    question = tiled.with_name("question")
    assert len(json.loads((question / PROMPT_IDS).read_text())["grids"]) > 2
    wanted = expected(question, way)
    run = called([runner], *asked(tiled, question, "--max-tokens", str(wanted["max_tokens"]), *WAYS[way]))
    assert tokens(run) == wanted["token_ids"]
