"""Two images on different grids in the C++ runner: the Python engine's tokens and kept sets, on three axes."""

import json
from pathlib import Path

import pytest
from running import WAYS, WHY, asked, called, expected, tokens

pytest.importorskip("executorch.runtime", reason=WHY)

from grid_bundles import TEXT
from tiny_qwen2_5_vl import images
from vlmprune_runtime.cli import run
from vlmprune_runtime.generate import Request, open_runner


def test_two_grids_are_those_of_the_python_engine(runner: Path, executorch_grids: Path, tmp_path: Path) -> None:
    bundle, options = executorch_grids, list[str]()
    for nth, image in enumerate(images()):
        image.save(tmp_path / f"{nth}.png")
        options += ["--image", str(tmp_path / f"{nth}.png")]
    question = tmp_path / "question"
    assert run.main([str(bundle), *options, "--prompt", TEXT, "--max-tokens", "8", "--dump", str(question)]) == 0
    assert json.loads((question / "prompt_ids.json").read_text())["grids"] == [0, 1]
    for way, more in WAYS.items():
        assert (
            tokens(called([runner], *asked(bundle, question, "--max-tokens", "8", *more)))
            == (expected(question, way)["token_ids"])
        )
    kept = called([runner], *asked(bundle, question, "--max-tokens", "1", "--kept")).stdout.splitlines()[1:]
    chosen = open_runner(bundle).answer(Request(images(), TEXT, max_tokens=1)).pruned
    assert [[int(word) for word in line.split()] for line in kept] == [list(view.kept) for view in chosen]


def test_a_follow_up_comes_with_a_image(runner: Path, executorch_grids: Path, tmp_path: Path) -> None:
    for nth, image in enumerate(images()):
        image.save(tmp_path / f"{nth}.png")
    question = tmp_path / "question"
    options = ["--image", str(tmp_path / "0.png"), "--prompt", TEXT, "--max-tokens", "5"]
    options += ["--follow-up", "and?", "--follow-up-image", str(tmp_path / "1.png"), "--dump", str(question)]
    assert run.main([str(executorch_grids), *options]) == 0
    further = ["--max-tokens", "5", "--follow-up", str(question / "follow_up_1.json")]
    for way, more in WAYS.items():
        done = called([runner], *asked(executorch_grids, question, *further, *more))
        assert done.returncode == 0, done.stderr
        wanted = expected(question, way)
        answers = [wanted["token_ids"], *(turn["token_ids"] for turn in wanted["follow_ups"])]
        assert [[int(word) for word in line.split()] for line in done.stdout.splitlines()] == answers
        assert done.stderr.count("vision") == 2  # the new image is seen, the first one is not seen again
    _check_refusals(runner, executorch_grids, question)


def _check_refusals(runner: Path, bundle: Path, question: Path) -> None:
    fields = json.loads((question / "follow_up_1.json").read_text())
    cases = {
        "the follow-up has other images": {name: value for name, value in fields.items() if name != "pixels"},
        "is not a plain file name": fields | {"pixels": {"file": "../pixels.f32"}},
        "tiles: has other views than grids": fields | {"tiles": [[1, 1]]},
    }
    for message, changed in cases.items():
        (question / "other.json").write_text(json.dumps(changed))
        done = called([runner], *asked(bundle, question, "--follow-up", str(question / "other.json")))
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
