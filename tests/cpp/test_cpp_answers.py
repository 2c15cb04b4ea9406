"""The C++ runner against the Python engine: the same tokens, and a record by the same rules."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
from cut_cases import CUTS
from running import PROMPT, WAYS, WHY, asked, called, expected, tokens

from manifests import manifest_of
from tiny import IMAGE_TOKEN_ID
from vlmprune_runtime.benchmark import record
from vlmprune_runtime.benchmark.record import BenchmarkRecord, ModeStats, Run
from vlmprune_runtime.benchmark.summary import paired_ratio, spread
from vlmprune_runtime.bundle import OpenBundle, file_sha256, open_bundle
from vlmprune_runtime.decode import decode
from vlmprune_runtime.engines import load_engine
from vlmprune_runtime.errors import BundleError
from vlmprune_runtime.events import LLM_PREFILL
from vlmprune_runtime.flops import ceiling, decode_flops, prefill_flops, rows_of_decoders
from vlmprune_runtime.generate import Request, open_runner
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.prompt import EncodedPrompt, Span
from vlmprune_runtime.sample import SAMPLE_IMAGE
from vlmprune_runtime.selection import Selection

pytest.importorskip("executorch.runtime", reason=WHY)

ROUNDS, TOKENS = 4, 5


@pytest.fixture(scope="module")
def measured(runner: Path, bundle: Path, question: Path) -> str:
    run = called(
        [runner], *asked(bundle, question, "--json", "--repetitions", str(ROUNDS), "--max-tokens", str(TOKENS))
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def read(measured: str) -> BenchmarkRecord:
    return BenchmarkRecord.model_validate_json(measured)


@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_of_the_python_engine(runner: Path, bundle: Path, question: Path, way: str) -> None:
    wanted = expected(question, way)
    limit = str(wanted["max_tokens"])
    assert tokens(called([runner], *asked(bundle, question, "--max-tokens", limit, *WAYS[way]))) == wanted["token_ids"]


@pytest.mark.parametrize("way", WAYS)
def test_tokens_of_a_quantised_bundle_are_too(
    runner: Path, quantised: Path, quantised_question: Path, way: str
) -> None:
    wanted = expected(quantised_question, way)
    run = called([runner], *asked(quantised, quantised_question, "--max-tokens", str(wanted["max_tokens"]), *WAYS[way]))
    assert tokens(run) == wanted["token_ids"]


def test_the_tokens_of_a_quantised_bundle_can_tell_right_from_wrong(quantised_question: Path) -> None:
    pruned, unpruned = (expected(quantised_question, way)["token_ids"] for way in WAYS)
    assert len(set(pruned)) > 3
    assert pruned != unpruned


def test_the_expected_tokens_can_tell_right_from_wrong(question: Path) -> None:
    pruned, unpruned = (expected(question, way)["token_ids"] for way in WAYS)
    assert len(set(pruned)) > 3
    assert pruned != unpruned


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("way", WAYS)
def test_tokens_of_other_cuts_are_too(runner: Path, cut_bundles: dict[str, Path], cuts: str, way: str) -> None:
    bundle, question = cut_bundles[cuts], cut_bundles[cuts].with_name(f"{cuts} question")
    wanted = expected(question, way)
    run = called([runner], *asked(bundle, question, "--max-tokens", str(wanted["max_tokens"]), *WAYS[way]))
    assert tokens(run) == wanted["token_ids"]


@pytest.mark.parametrize("cuts", CUTS)
def test_kept_tokens_are_those_of_the_python_engine(runner: Path, cut_bundles: dict[str, Path], cuts: str) -> None:
    bundle, question = cut_bundles[cuts], cut_bundles[cuts].with_name(f"{cuts} question")
    [image] = open_runner(bundle).answer(Request(str(SAMPLE_IMAGE), PROMPT, max_tokens=1)).pruned
    _, kept = called([runner], *asked(bundle, question, "--kept")).stdout.splitlines()
    assert numbers(kept) == list(image.kept)


def test_two_pictures_are_pruned_each(runner: Path, cut_bundles: dict[str, Path], tmp_path: Path) -> None:
    """The second image is the first upside down; text stands before, between and behind them."""
    bundle = open_bundle(cut_bundles["input"])
    [pixels] = question_pixels(cut_bundles["input"].with_name("input question"))
    views, image = [pixels, np.ascontiguousarray(pixels[:, :, ::-1])], [IMAGE_TOKEN_ID] * 49
    token_ids = [1, 5, *image, 6, 7, *image, 8, 9]
    spans = (Span(2, 51), Span(53, 102))
    wanted, selections = greedy_answer(bundle, EncodedPrompt(np.array(token_ids), spans), views, TOKENS)
    write_question(tmp_path, token_ids, views)
    run = called([runner], *asked(bundle.folder, tmp_path, "--max-tokens", str(TOKENS), "--kept"))
    answered, *kept = run.stdout.splitlines()
    assert numbers(answered) == wanted
    assert list(map(numbers, kept)) == [selection.cells.tolist() for selection in selections]


def test_three_axes_and_views_on_two_grids(runner: Path, cut_bundles: dict[str, Path], tmp_path: Path) -> None:
    from three_axes import GRIDS, write_three_axes
    from three_axes import IMAGE_TOKEN_ID as TOY_IMAGE

    bundle = open_bundle(write_three_axes(cut_bundles["input"], tmp_path / "bundle"))
    sizes = [(1, 3, grid["height_px"], grid["width_px"]) for grid in GRIDS]
    views = [np.random.default_rng(nth).random(size, dtype=np.float32) for nth, size in enumerate(sizes)]
    token_ids = [1, *[TOY_IMAGE] * 8, 7, 3, *[TOY_IMAGE] * 6, 2]
    prompt = EncodedPrompt(np.array(token_ids), (Span(1, 9), Span(11, 17)), (0, 1))
    write_question(tmp_path, token_ids, views, grids=prompt.grids)
    for prune, more in ((True, ()), (False, ("--no-prune",))):
        wanted = greedy_answer(bundle, prompt, views, 9, prune=prune)[0]
        assert len(set(wanted)) > 3
        run = called([runner], *asked(bundle.folder, tmp_path, "--greedy", "--max-tokens", "9", *more))
        assert tokens(run) == wanted


def test_a_graph_of_another_shape_than_its_grid(
    runner: Path, cut_bundles: dict[str, Path], question: Path, tmp_path: Path
) -> None:
    from three_axes import write_three_axes

    folder = write_three_axes(cut_bundles["input"], tmp_path / "bundle")
    manifest = manifest_of(folder)
    manifest["grids"][1]["keep"] = [4]
    (folder / "bundle.json").write_text(json.dumps(manifest))
    message = "stages.prune.outputs.kept: method has"
    with pytest.raises(BundleError, match=message):
        load_engine(open_bundle(folder))
    write_question(tmp_path, [1, *[99] * 8, 2], [np.zeros((1, 3, 56, 56), np.float32)])
    run = called([runner], *asked(folder, tmp_path, "--greedy"))
    assert run.returncode == 1
    assert message in run.stderr


def test_a_higher_minor_version_is_read(runner: Path, broken: Path, question: Path) -> None:
    manifest = manifest_of(broken)
    manifest["schema"]["minor"] = 99
    for fields in (manifest, manifest["stages"]["tail"], manifest["grids"][0], manifest["stages"]["tail"]["inputs"][0]):
        fields["colour"] = ["blue"]
    (broken / "bundle.json").write_text(json.dumps(manifest))
    assert tokens(called([runner], *asked(broken, question, "--max-tokens", "3")))


def test_an_answer_ends_before_a_stop_token(runner: Path, broken: Path, question: Path) -> None:
    ids = expected(question, "pruned")["token_ids"]
    manifest = json.loads((broken / "bundle.json").read_text())
    manifest["generation"]["stop_token_ids"] = [ids[3]]
    (broken / "bundle.json").write_text(json.dumps(manifest))
    assert tokens(called([runner], *asked(broken, question))) == ids[: ids.index(ids[3])]


SETTINGS: dict[str, dict[str, Any]] = {
    "repetition": {"repetition_penalty": 1.6},
    "bigrams": {"no_repeat_ngram_size": 2},
    "bad words and a length": {"bad_words_ids": [[n] for n in range(40)] + [[50, 51]], "min_new_tokens": 6},
    "suppressed": {"suppress_token_ids": [*range(30, 60), 5000], "begin_suppress_token_ids": list(range(60, 90))},
    "forced end": {"forced_stop_token_ids": [7], "max_new_tokens": 5},
    "length of the whole": {"min_length": 90, "max_length": 85, "stop_token_ids": list(range(20, 96))},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_generation_settings_are_followed(runner: Path, broken: Path, question: Path, case: str) -> None:
    """Without --max-tokens, so that the bundle's own limit counts; the Python engine says what is right."""
    manifest = json.loads((broken / "bundle.json").read_text())
    manifest["generation"] |= SETTINGS[case]
    (broken / "bundle.json").write_text(json.dumps(manifest))
    right = list(open_runner(broken).answer(Request(SAMPLE_IMAGE, PROMPT)).token_ids)
    assert right != expected(question, "pruned")["token_ids"]
    assert tokens(called([runner], *asked(broken, question))) == right


def test_a_bundle_that_draws_is_answered_greedily_only_when_asked_to(
    runner: Path, broken: Path, question: Path
) -> None:
    manifest = json.loads((broken / "bundle.json").read_text())
    manifest["generation"]["do_sample"] = True
    (broken / "bundle.json").write_text(json.dumps(manifest))
    refused = called([runner], *asked(broken, question))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "does not do; add --greedy" in refused.stderr
    wanted = expected(question, "pruned")
    limit = str(wanted["max_tokens"])
    assert tokens(called([runner], *asked(broken, question, "--greedy", "--max-tokens", limit))) == wanted["token_ids"]


def test_an_answer_ends_where_the_context_does(runner: Path, bundle: Path, question: Path) -> None:
    prompt = len(json.loads((question / "prompt_ids.json").read_text())["token_ids"])
    room = open_bundle(bundle).manifest.context_tokens
    assert len(tokens(called([runner], *asked(bundle, question, "--max-tokens", "500")))) == room - prompt + 1


def test_the_record_fits_the_schema(measured: str) -> None:
    schema = json.loads(Path(record.__file__).with_name("schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(measured))


def test_the_record_says_what_was_measured(read: BenchmarkRecord, bundle: Path, question: Path) -> None:
    [result] = read.results
    manifest = open_bundle(bundle).manifest
    assert (read.tool.name, read.settings.repetitions, read.settings.tokens) == ("vlmprune-runner", ROUNDS, TOKENS)
    asked_for = json.loads((question / "prompt_ids.json").read_text())
    assert read.settings.image.model_dump() == asked_for["image"]
    assert (read.settings.prompt, result.prompt_tokens) == (asked_for["prompt"], len(asked_for["token_ids"]))
    assert result.bundle.manifest_sha256 == file_sha256(bundle / "bundle.json")
    assert (result.bundle.verified, result.bundle.versions) == (True, manifest.versions)
    assert result.engine.version == manifest.versions["executorch"].partition("+")[0]


def test_runs_are_interleaved(read: BenchmarkRecord) -> None:
    order = [(run.round, run.pruned) for run in read.results[0].runs]
    assert order == [(nth, bool(nth % 2) is first) for nth in range(ROUNDS) for first in (True, False)]
    for run in read.results[0].runs:
        assert len(run.decode_ms) == TOKENS - 1
        assert set(run.stages_ms) == {"vision", "embed", "head", "tail"} | ({"prune"} if run.pruned else set())
        assert run.ttft_ms >= sum(run.stages_ms.values()) - 0.001


@pytest.mark.parametrize("prune", [False, True])
def test_mode_stats_sum_up_their_runs(read: BenchmarkRecord, prune: bool) -> None:
    [result] = read.results
    way: ModeStats = result.pruned if prune else result.unpruned
    runs = [run for run in result.runs if run.pruned is prune]
    close(way.ttft_ms, spread([run.ttft_ms for run in runs]))
    close(way.llm_prefill_ms, spread([llm_ms(run) for run in runs]))
    close(way.stages_ms["tail"], spread([run.stages_ms["tail"] for run in runs]))
    assert way.decode_ms_per_token is not None
    close(way.decode_ms_per_token, spread([sum(run.decode_ms) / len(run.decode_ms) for run in runs]))


def test_ratios_are_those_of_the_pairs(read: BenchmarkRecord) -> None:
    [result] = read.results
    slow, fast = ([run for run in result.runs if run.pruned is prune] for prune in (False, True))
    close(result.ratios.ttft, paired_ratio([run.ttft_ms for run in slow], [run.ttft_ms for run in fast]), 0.01)
    close(result.ratios.llm_prefill, paired_ratio([llm_ms(run) for run in slow], [llm_ms(run) for run in fast]), 0.01)


def test_flops_are_counted_as_in_python(read: BenchmarkRecord, bundle: Path) -> None:
    [result] = read.results
    manifest, tokens = open_bundle(bundle).manifest, result.prompt_tokens
    for way, prune in ((result.unpruned, False), (result.pruned, True)):
        first = prefill_flops(manifest, tokens, [0], prune=prune)
        then = decode_flops(manifest, rows_of_decoders(manifest, tokens, [0], prune=prune)).llm
        assert way.flops is not None
        assert way.flops.model_dump() == {
            "vision": first.vision,
            "head": first.head,
            "tail": first.tail,
            "decode": then,
        }
    most = ceiling(*(prefill_flops(manifest, tokens, [0], prune=prune) for prune in (False, True)))
    assert result.ceilings is not None
    assert (result.ceilings.llm_prefill, result.ceilings.ttft) == pytest.approx((most.llm_prefill, most.ttft), abs=1e-4)


def question_pixels(question: Path) -> npt.NDArray[np.float32]:
    return np.fromfile(question / "pixels.f32", np.float32).reshape(1, 1, 3, 56, 56)


def greedy_answer(
    bundle: OpenBundle, prompt: EncodedPrompt, views: Sequence[Any], tokens: int, *, prune: bool = True
) -> tuple[list[int], tuple[Selection, ...]]:
    engine = load_engine(bundle)
    state = prefill(bundle.manifest, engine, prompt, views, prune=prune)
    chosen = [int(state.logits.argmax())]
    while len(chosen) < tokens:
        state = decode(bundle.manifest, engine, chosen[-1], state)
        chosen.append(int(state.logits.argmax()))
    return chosen, state.selections


def numbers(line: str) -> list[int]:
    return [int(word) for word in line.split()]


def write_question(
    folder: Path, token_ids: list[int], views: Sequence[npt.NDArray[np.float32]], grids: Sequence[int] | None = None
) -> None:
    image = {"name": "two", "width_px": 56, "height_px": 56}
    fields = {"prompt": "", "image": image, "token_ids": token_ids} | ({"grids": grids} if grids else {})
    (folder / "prompt_ids.json").write_text(json.dumps(fields))
    (folder / "pixels.f32").write_bytes(b"".join(view.astype("<f4").tobytes() for view in views))


def llm_ms(run: Run) -> float:
    return sum(run.stages_ms.get(stage, 0.0) for stage in LLM_PREFILL)


def close(found: Any, wanted: Any, relative: float = 1e-3) -> None:
    """Times in the runs are rounded to four places before they are summed up here."""
    assert found.model_dump() == pytest.approx(wanted.model_dump(), rel=relative, abs=2e-4)
