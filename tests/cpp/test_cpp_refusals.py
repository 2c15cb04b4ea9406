"""What the C++ runner refuses: one line, the exit code of the Python commands, and no crash."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import WHY, asked, called

from manifests import change_manifest, manifest_of

pytest.importorskip("executorch.runtime", reason=WHY)


def refused(runner: Path, arguments: list[str], code: int, message: str) -> None:
    run = called([runner], *arguments)
    assert run.returncode == code, run.stderr
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert run.stderr.startswith("vlmprune-runner: error: ")
    assert message in run.stderr


def truncate(bundle: Path, size: int) -> None:
    with (bundle / "model.pte").open("r+b") as file:
        file.truncate(size)


def rename_method(bundle: Path) -> None:
    path = bundle / "model.pte"
    path.write_bytes(path.read_bytes().replace(b"vision\0", b"vizion\0"))


def corrupt(bundle: Path) -> None:
    content = bytearray((bundle / "model.pte").read_bytes())
    content[100:4000:7] = b"\xff" * len(content[100:4000:7])
    (bundle / "model.pte").write_bytes(content)


def overwrite(bundle: Path, offset: int, content: bytes) -> None:
    with (bundle / "model.pte").open("r+b") as file:
        file.seek(offset)
        file.write(content)


def lead_outside(bundle: Path) -> None:
    outside = bundle.parent / "outside.pte"
    shutil.move(bundle / "model.pte", outside)
    (bundle / "model.pte").symlink_to(outside)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda bundle: truncate(bundle, 3000), "model.pte: is truncated: got 3000 bytes"),
    "cut to nothing": (lambda bundle: truncate(bundle, 0), "model.pte: is truncated: 0 bytes are no .pte"),
    "other file": (lambda bundle: (bundle / "model.pte").write_bytes(b"x" * 99), "is not a .pte of this version"),
    "other version": (lambda bundle: overwrite(bundle, 4, b"ET11"), "is not a .pte of this version: expected 'ET12'"),
    "old header": (lambda bundle: overwrite(bundle, 8, b"xx"), "model.pte: has no extended header"),
    "corrupt": (corrupt, "stage 'all' failed: model.pte cannot be loaded"),
    "no method": (rename_method, "model.pte: stages.vision: has no method 'vision'"),
    "link": (lead_outside, "bundle: model.pte: leads outside the bundle folder"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_programs_are_refused_even_when_the_manifest_vouches(
    runner: Path, broken: Path, question: Path, name: str
) -> None:
    damage, message = DAMAGES[name]
    damage(broken)
    change_manifest(broken)
    refused(runner, asked(broken, question), 1, message)


def set_at(fields: dict[str, Any], path: list[Any], value: object) -> None:
    *parents, last = path
    for name in parents:
        fields = fields[name]
    fields[last] = value


GONE = {"size_bytes": 1, "sha256": "0" * 64}
TAIL = ["stages", "tail", "graphs", 0]
SOURCE = ["stages", "tail", "inputs", 0, "source"]
LIES: list[tuple[list[Any], object, str]] = [
    (["schema_version"], 1, "bundle.json: schema_version: was exported by an older vlmprune: export it again"),
    (["schema", "major"], 1, "bundle.json: schema.major: was exported by an older vlmprune: export it again"),
    (["schema", "major"], 3, "a newer vlmprune (got version 3, this runtime reads 2): update it"),
    (["schema", "major"], "2", 'bundle.json: schema.major: should be a whole number, got "2"'),
    (["schema"], 2, "bundle.json: schema: should be an object, got 2"),
    (["context_tokens"], "64", 'bundle.json: context_tokens: should be a whole number, got "64"'),
    (["generation"], {}, "bundle.json: generation.stop_token_ids: is missing"),
    (["generation", "repetition_penalty"], 0, "generation.repetition_penalty: should be above 0, got 0"),
    (["generation", "bad_words_ids"], [[3], []], "generation.bad_words_ids.1: should have a token, got []"),
    (["generation", "do_sample"], 1, "generation.do_sample: should be true or false, got 1"),
    (["grids", 0, "keep"], [4096], "bundle.json: a cut of grid 0 keeps more tokens than there are"),
    (["grids", 0, "keep"], [7], "bundle.json: stages.prune.outputs.kept.shape: got 8 rows, expected 7"),
    (["grids", 0, "keep"], [], "grid 0 has another number of tokens to keep than there are cuts"),
    (["grids", 0, "height"], 2**40, "bundle.json: grids.0.height: should be 1048576 or less"),
    (["grids", 0, "height"], 8, "bundle.json: stages.vision.outputs.features.shape: got 49 rows, expected 56"),
    (["grids", 0, "width"], 0, "bundle.json: grids.0.width: should be 1 or more, got 0"),
    (["grids"], [], "bundle.json: grids: should have one grid or more"),
    (["positions", "axes"], 3, "positions by grid have three axes, positions in sequence one"),
    (["prefill"], ["embed", "vision", "head", "tail"], "prefill does not name every stage once"),
    (["prefill"], ["embed", "vision", "tail", "prune", "head"], "decode is not embed, tail, head"),
    (["prefill"], ["embed", "vision", "prune", "head", "tail"], "prune.hidden comes from head.hidden, which no stage"),
    (["decode"], ["embed", "tail"], "decode is not embed, head, tail"),
    (
        ["mosaics"],
        [{"rows": 1, "columns": 2, "grid": 1}],
        "a mosaic is of tiles on a grid that is not there; there are 1",
    ),
    (["mosaics"], [{"rows": 1, "columns": 2, "grid": 0}] * 2, "two mosaics have as many rows and columns"),
    (["cuts"], [], "cuts are not the prune stages in the order of prefill"),
    ([*TAIL, "file"], "../model.pte", 'stages.tail.graphs.0.file: "../model.pte" is not a plain file name'),
    ([*TAIL, "file"], "/etc/passwd", 'stages.tail.graphs.0.file: "/etc/passwd" is not a plain file name'),
    ([*TAIL, "file"], "other.pte", "bundle.json: no size and hash for other.pte"),
    ([*TAIL, "entry"], "tale", "model.pte: stages.tail: has no method 'tale'"),
    ([*TAIL, "entry"], "head", "model.pte: stages.tail.outputs: method has 2 tensors, manifest says 1"),
    ([*TAIL, "tokens"], 16, "stages.tail.graphs.0.tokens: this runner takes null, got 16"),
    ([*TAIL, "phase"], "decode", 'stages.tail.graphs.0.phase: this runner takes "any", got "decode"'),
    ([*TAIL, "grid"], 1, "a graph serves grid 1; there are 1"),
    (["stages", "tail", "graphs"], [], "stages.tail: has no graph"),
    (["stages", "tail", "cache"], None, "stages.tail: a decoder has a cache, any other stage has none"),
    (["stages", "tail", "cache", "owner"], "caller", 'this runner takes "graph", got "caller"'),
    (["stages", "tail", "role"], "nose", "stages.tail.role: this runner takes decoder, embed, prune, vision"),
    (["stages", "embed", "role"], "vision", "stages.embed: needs the output 'features'"),
    ([*SOURCE], "rows", 'stages.tail.inputs.0.source: is not a source, got "rows"'),
    ([*SOURCE], "head.hidden[first]", "stages.tail.inputs.0.source: is not a source"),
    ([*SOURCE], "sequence.rests", "stages.tail.inputs.0.source: this runner knows no such source"),
    ([*SOURCE], "prune.nothing", "tail.hidden comes from prune.nothing, which no stage has made by then"),
    ([*SOURCE], "embed.embeddings", "stage 'tail' failed: its inputs have different numbers of tokens"),
    ([*SOURCE], "sequence.positions", "stages.tail.inputs.hidden.dtype: got float32, expected int64 or int32"),
    (["files", "gone.pte"], GONE, "bundle: gone.pte: is missing"),
    (["files", "../gone.pte"], GONE, "bundle.json: files: '../gone.pte' is not a plain file name"),
    (["files", "model.pte", "size_bytes"], 10**9, "model.pte: size_bytes: is truncated"),
    (["files", "model.pte", "sha256"], "0" * 64, "model.pte: sha256: is not the file that was exported"),
    (["stages", "head", "inputs", 0, "dtype"], "float64", "stages.head.inputs.0.dtype: this runner takes float32"),
    (["stages", "prune"], {}, "stages.prune.role: is missing"),
    (
        ["stages", "head", "lowering", "operators"],
        ["aten::dance.out"],
        "'head' failed: this runner lacks the operators",
    ),
    (["stages", "head", "lowering", "delegates"], ["NoBackend"], "this runner lacks the delegates NoBackend"),
    (["context_tokens"], 95, "model.pte: stages.embed.inputs.token_ids: method has another dtype or shape (96)"),
]


@pytest.mark.parametrize(("path", "value", "message"), LIES)
def test_manifests_that_lie_are_refused(
    runner: Path, broken: Path, question: Path, path: list[Any], value: object, message: str
) -> None:
    manifest = manifest_of(broken)
    set_at(manifest, path, value)
    (broken / "bundle.json").write_text(json.dumps(manifest))
    refused(runner, asked(broken, question), 1, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON, at byte 2"),
        ("[1]", "is not a JSON object but [1]"),
        ('{"schema": 2, "schema": 2}', 'field "schema" is there twice'),
        ('{"schema": 1e999}', "is not JSON"),
        ("{}", "schema: is missing"),
        ('{"schema": {"major": 2}}', "name: is missing"),
    ],
)
def test_manifests_that_are_none_are_refused(
    runner: Path, broken: Path, question: Path, text: str, message: str
) -> None:
    (broken / "bundle.json").write_text(text)
    refused(runner, asked(broken, question), 1, f"bundle: bundle.json: {message}")


def test_a_bundle_of_another_target_is_refused(runner: Path, broken: Path, question: Path) -> None:
    change_manifest(broken, target="onnx")
    refused(runner, asked(broken, question), 2, "unknown target for this runner 'onnx'; choose one of: executorch")


def test_no_bundle_is_refused(runner: Path, question: Path, tmp_path: Path) -> None:
    refused(runner, asked(tmp_path / "none", question), 1, "none: no such folder")
    refused(runner, asked(tmp_path, question), 1, "bundle: bundle.json: is missing")


@pytest.fixture
def spoiled(question: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(question, tmp_path / "question"))


def test_missing_and_short_pixels_are_refused(runner: Path, bundle: Path, spoiled: Path) -> None:
    pixels = spoiled / "pixels.f32"
    pixels.write_bytes(pixels.read_bytes()[:-4])
    refused(runner, asked(bundle, spoiled), 2, "pixels.f32: got 37628 bytes, expected 37632")
    pixels.unlink()
    refused(runner, asked(bundle, spoiled), 2, "pixels.f32: no such file")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda ids: [*ids, 96], "token_ids: got 96, allowed: 0 to 95"),
        (lambda ids: [*ids, -1], "should be 0 or more, got -1"),
        (lambda ids: [*ids, 1.5], "should be a whole number, got 1.5"),
        (lambda ids: [*ids, 3], "token_ids: an image takes 49 tokens in a row, got 1"),
        (lambda ids: [one for one in ids if one != 3], "token_ids: has no place for an image"),
        (lambda ids: [*ids, *[5] * 64], "tokens with its image, the context has 96"),
    ],
)
def test_prompts_of_another_bundle_are_refused(
    runner: Path, bundle: Path, spoiled: Path, change: Callable[[list[int]], list[Any]], message: str
) -> None:
    fields = json.loads((spoiled / "prompt_ids.json").read_text())
    fields["token_ids"] = change(fields["token_ids"])
    del fields["grids"]  # else a prompt with one more image is refused for its grids
    (spoiled / "prompt_ids.json").write_text(json.dumps(fields))
    refused(runner, asked(bundle, spoiled), 2, message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--max-tokens", "0"], "--max-tokens: got '0', allowed: 1 or more"),
        (["--repetitions", "many"], "--repetitions: got 'many', allowed: 1 or more"),
        (["--max-tokens"], "--max-tokens needs a value"),
        (["--kept", "--no-prune"], "--kept goes with neither --json nor --no-prune"),
        (["--json", "--no-prune"], "--json measures both modes; it does not go with --no-prune"),
        (["--json", "--max-tokens", "90"], "tokens, the context has 96"),
        (["--colour"], "unknown argument '--colour'"),
    ],
)
def test_wrong_wishes_are_refused(runner: Path, bundle: Path, question: Path, more: list[str], message: str) -> None:
    refused(runner, asked(bundle, question, *more), 2, message)


LONG = "x" * 70_000
LONG_VALUES: dict[str, Callable[[dict[str, Any]], object]] = {
    "target": lambda m: m.update(target=LONG),
    "version": lambda m: m.update(schema=[LONG]),
    "file": lambda m: m["stages"]["head"]["graphs"][0].update(file=LONG),
    "no plain file": lambda m: m["stages"]["head"]["graphs"][0].update(file=LONG + "/"),
    "listed name": lambda m: m["files"].update({LONG + "/": {}}),
    "dtype": lambda m: m["stages"]["head"]["inputs"][0].update(dtype=LONG),
    "source": lambda m: m["stages"]["head"]["inputs"][0].update(source=LONG),
    "unmade source": lambda m: m["stages"]["head"]["inputs"][0].update(source=f"{LONG}.{LONG}"),
    "stage": lambda m: m["stages"].update({LONG: {}}),
    "order": lambda m: m.update(prefill=[LONG]),
    "operators": lambda m: m["stages"]["head"]["lowering"].update(operators=[LONG] * 999),
    "delegates": lambda m: m["stages"]["tail"]["lowering"].update(delegates=[f"{n}" for n in range(20_000)]),
    "number": lambda m: m.update(context_tokens=10**400),
    "number in a list": lambda m: m["generation"].update(stop_token_ids=[10**400]),
    "shape": lambda m: m["stages"]["head"]["inputs"][0].update(shape=[1] * 20_000),
    "place": lambda m: m.update(versions={LONG: 1}),
}


@pytest.mark.parametrize("name", LONG_VALUES)
def test_every_value_shown_is_cut(name: str, runner: Path, broken: Path, question: Path) -> None:
    fields = manifest_of(broken)
    LONG_VALUES[name](fields)
    (broken / "bundle.json").write_text(json.dumps(fields))
    run = called([runner], *asked(broken, question))
    assert run.returncode in (1, 2)
    assert run.stderr.count("\n") == 1
    assert len(run.stderr) < 800
    assert "internal error" not in run.stderr
