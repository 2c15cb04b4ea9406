"""The floor `resize` on ExecuTorch: the C++ runner sees the smaller image in the pruned mode, as Python does."""

import json
from pathlib import Path

import pytest
from running import WAYS, WHY, asked, called, dumped, expected, tokens

pytest.importorskip("executorch.runtime", reason=WHY)

from executorch_bundles import checked, exported

from vlmprune_export.cuts import PruneOptions
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.dump import PROMPT_IDS
from vlmprune_runtime.flops import prefill_flops


@pytest.fixture(scope="module")
def smaller(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The bundle, and a question for it."""
    folder = tmp_path_factory.mktemp("resize")
    prune, options = PruneOptions("resize", keep=18), {"backend": "portable"}  # which lowers faster
    bundle = exported(checkpoint, folder / "bundle", prune=prune, options=options)
    return bundle, dumped(bundle, folder / "question")


def test_the_bundle_passes_the_check(smaller: tuple[Path, Path]) -> None:
    report = checked(smaller[0], tokens=3)
    assert report.failures() == []
    assert {"vision", "vision, smaller image"} <= {row.stage for row in report.differences}


@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_of_the_python_engine(runner: Path, smaller: tuple[Path, Path], way: str) -> None:
    bundle, question = smaller
    wanted = expected(question, way)
    run = called([runner], *asked(bundle, question, "--max-tokens", str(wanted["max_tokens"]), *WAYS[way]))
    assert tokens(run) == wanted["token_ids"]
    assert expected(question, "pruned")["token_ids"] != expected(question, "unpruned")["token_ids"]


def test_the_record_counts_the_smaller_image(runner: Path, smaller: tuple[Path, Path]) -> None:
    bundle, question = smaller
    run = called([runner], *asked(bundle, question, "--json", "--repetitions", "1", "--max-tokens", "1"))
    assert run.returncode == 0, run.stderr
    [result] = json.loads(run.stdout)["results"]
    given = json.loads((question / PROMPT_IDS).read_text())
    assert (result["bundle"]["visual_tokens"], result["bundle"]["keep"]) == (49, 16)
    for prune, ids in ((False, given["token_ids"]), (True, given["pruned"]["token_ids"])):
        counted = prefill_flops(open_bundle(bundle).manifest, len(ids), [int(prune)], prune=prune)
        flops = result["pruned" if prune else "unpruned"]["flops"]
        assert (flops["vision"], flops["head"], flops["tail"]) == (counted.vision, counted.head, counted.tail)


def test_a_question_without_the_smaller_image_is_refused(
    runner: Path, smaller: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle, question = smaller
    given = json.loads((question / PROMPT_IDS).read_text())
    del given["pruned"]
    (tmp_path / PROMPT_IDS).write_text(json.dumps(given))
    (tmp_path / "pixels.f32").write_bytes((question / "pixels.f32").read_bytes())
    run = called([runner], *asked(bundle, tmp_path))
    assert run.returncode == 2
    assert "pruned: is missing" in run.stderr
