"""The plain runner answers as the golden files and the runtime do, though it knows the page and the schema alone."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiny import write_checkpoint
from vlmprune_export.cuts import PruneOptions
from vlmprune_export.export_bundle import ExportRequest, export_bundle
from vlmprune_runtime.generate import Request, open_runner

RUNNER = Path(__file__).parent / "runner.py"
GOLDEN = Path(__file__).parent.parent / "golden"
BUNDLES = {"bundle": GOLDEN, "bundle_two_pictures": GOLDEN / "two_pictures"}
ALLOWED = {"numpy", "onnxruntime", "tokenizers", "PIL", *sys.stdlib_module_names}
ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import runner
plain = runner.Runner(sys.argv[2])
asked = json.load(sys.stdin)
pixels = [plain.pixels(file) for file in asked[0][1]]
prompts = []
for question, files, *_ in asked:
    call, top = plain.prompt(question, pixels)
    prompts.append([call.ids, call.labels.tolist(), call.positions.tolist(), top])
answers = [plain.answer(*case) for case in asked]
assert not any(name.startswith("vlmprune") for name in sys.modules)
print(json.dumps([[p.tolist() for p in pixels], prompts, answers]))
"""


def plain_answers(bundle: Path, asked: list[list[Any]]) -> list[Any]:
    """Pixels of the first case's images; prompts and answers of all cases, from a process without the runtime."""
    command = [sys.executable, "-c", ASK, str(RUNNER.parent), str(bundle)]
    run = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_it_is_short_and_knows_nothing_of_ours() -> None:
    text = RUNNER.read_text()
    assert len(text.splitlines()) < 200
    nodes = list(ast.walk(ast.parse(text)))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= ALLOWED


@pytest.mark.parametrize("name", BUNDLES)
def test_it_answers_the_golden_questions(name: str) -> None:
    folder = BUNDLES[name]
    cases = json.loads((folder / "answers.json").read_text())
    asked = [
        [case["prompt"], [str(folder / image) for image in case.get("images", ["image.png"])], case["prune"], 12]
        for case in cases
    ]
    pixels, prompts, answers = plain_answers(GOLDEN / name, asked)
    with np.load(folder / "pixels.npz") as expected:
        np.testing.assert_array_equal(np.float32(pixels), expected["pixels"])
    known = {prompt["prompt"]: prompt for prompt in json.loads((folder / "prompts.json").read_text())}
    for case, (ids, labels, positions, top), (token_ids, pruned) in zip(cases, prompts, answers, strict=True):
        prompt = known[case["prompt"]]
        visual = [place for first, behind in prompt["spans"] for place in range(first, behind)]
        assert np.flatnonzero(np.array(labels) >= 0).tolist() == visual
        assert np.delete(ids, visual).tolist() == np.delete(prompt["token_ids"], visual).tolist()
        assert (positions, top) == (prompt.get("positions", positions), prompt.get("next_position", top))
        assert (token_ids, pruned) == (case["token_ids"], case["pruned"])


def test_it_answers_as_the_runtime_does(tmp_path: Path) -> None:
    """A bundle from the exporter, with a cut at the vision stage and one before a layer."""
    prune = PruneOptions("uniform", 2, 9, settings={"vision_keep": 20})
    checkpoint = write_checkpoint(tmp_path / "checkpoint")
    bundle = export_bundle(ExportRequest(tmp_path / "bundle", str(checkpoint), prune=prune, context_tokens=96))
    runner, question, image = open_runner(bundle), "what is in the picture ?", str(GOLDEN / "image.png")
    answers = plain_answers(bundle, [[question, [image], pruned, 6] for pruned in (True, False)])[2]
    for pruned, (token_ids, kept) in zip((True, False), answers, strict=True):
        result = runner.answer(Request(image, question, pruned, 6))
        assert token_ids == list(result.token_ids)
        assert kept == [{"kept": list(view.kept), "rank": list(view.rank)} for view in result.pruned]
    assert answers[0] != answers[1]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema", "major"], 1, "version 1, not 2"),
        (["stages", "head", "colour"], "red", "bundle.json.stages.head: unknown field colour"),
        (["files", "vision.onnx", "sha256"], "0" * 64, "vision.onnx"),
        (["files", "../answers.json"], {"size_bytes": 1, "sha256": "0" * 64}, "lies outside"),
    ],
)
def test_it_refuses_what_the_page_says(tmp_path: Path, path: list[str], value: Any, message: str) -> None:
    manifest = json.loads((GOLDEN / "bundle" / "bundle.json").read_text())
    at = manifest
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    for file in (GOLDEN / "bundle").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(AssertionError, match=message):
        plain_answers(tmp_path, [["", [], False, 1]])
