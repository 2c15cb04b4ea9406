"""Images in tiles that are pruned together: the Python engine's tokens, and what the tiles keep."""

import json
from pathlib import Path

import pytest
from running import WAYS, WHY, asked, called, dumped, expected, tokens

from vlmprune_runtime.dump import PIXELS, PROMPT_IDS

pytest.importorskip("executorch.runtime", reason=WHY)


@pytest.fixture(scope="module")
def tiled(executorch_tiles: Path) -> Path:
    dumped(executorch_tiles, executorch_tiles.with_name("question"))
    return executorch_tiles


@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_of_the_python_engine(runner: Path, tiled: Path, way: str) -> None:
    question = tiled.with_name("question")
    assert json.loads((question / PROMPT_IDS).read_text())["tiles"] == [[2, 2]]
    wanted = expected(question, way)
    done = called([runner], *asked(tiled, question, "--max-tokens", str(wanted["max_tokens"]), *WAYS[way]))
    assert tokens(done) == wanted["token_ids"]


def test_the_tiles_share_what_they_keep(runner: Path, tiled: Path) -> None:
    question = tiled.with_name("question")
    done = called([runner], *asked(tiled, question, "--max-tokens", "1", "--kept"))
    counts = [len(line.split()) for line in done.stdout.splitlines()[1:]]
    assert (len(counts), sum(counts[:4]), counts[4]) == (5, 4 * 4, 4)


def test_tiles_that_do_not_fit_are_refused(runner: Path, tiled: Path, tmp_path: Path) -> None:
    question = tiled.with_name("question")
    fields = json.loads((question / PROMPT_IDS).read_text())
    cases = {
        "has no graph for images of 4 x 1 tiles": fields | {"tiles": [[4, 1]]},
        "tiles: has other views than grids": fields | {"tiles": [[1, 1]]},
        "should have two numbers": fields | {"tiles": [[2]]},
        "tiles: is missing": {name: value for name, value in fields.items() if name != "tiles"},
    }
    for message, changed in cases.items():
        (tmp_path / PROMPT_IDS).write_text(json.dumps(changed))
        arguments = ["--pixels", str(question / PIXELS), "--prompt-ids", str(tmp_path / PROMPT_IDS)]
        done = called([runner], str(tiled), *arguments)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
