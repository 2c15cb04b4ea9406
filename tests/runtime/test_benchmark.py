"""The benchmark on an engine and a clock that are made up, so that every number is known."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade_graphs import K, N
from rich.console import Console
from write_golden import TWO_IMAGES

from vlmprune_runtime.benchmark import device, loading, memory, timed_run
from vlmprune_runtime.benchmark.loading import LoadedBundle, check_context_fits
from vlmprune_runtime.benchmark.measure import BenchmarkRequest, measure_loaded, settings_of, steps_of
from vlmprune_runtime.benchmark.record import BenchmarkRecord, Memory, Result, json_schema
from vlmprune_runtime.benchmark.rounds import run_order
from vlmprune_runtime.benchmark.summary import paired_ratio, spread
from vlmprune_runtime.benchmark.table import result_table
from vlmprune_runtime.benchmark.timed_run import Task, follow_up_tokens
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Runner, open_runner
from vlmprune_runtime.prompt import encode_follow_up

NOTHING = Memory(
    measure="rss",
    before_load_bytes=None,
    after_load_bytes=None,
    pruned_peak_bytes=None,
    unpruned_peak_bytes=None,
    kv_cache_allocated_bytes=None,
)
COST_MS = {"vision": 20.0, "embed": 1.0, "prune": 2.0}
DRIFT = 0.1


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TimedEngine:
    """The real engine, but head and tail take a millisecond a row, and all gets slower with every prefill."""

    def __init__(self, runner: Runner, clock: Clock) -> None:
        self.runner, self.clock, self.prefills, self.calls = runner, clock, 0, list[str]()

    def run(self, stage: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        outputs = self.runner.engine.run(stage, inputs)
        self.calls.append(stage)
        self.prefills += stage == "vision"
        rows = len(inputs["positions"]) if "positions" in inputs else 0
        self.clock.now += COST_MS.get(stage, rows) * (1 + DRIFT * self.prefills) / 1000
        if stage == "tail":  # the answer ends at once, if stop tokens are heeded
            stop = self.runner.bundle.manifest.generation.stop_token_ids[0]
            outputs["logits"][stop] = 99.0
        return outputs


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("benchmark.timed_run", "prefill", "events"):
        monkeypatch.setattr(f"vlmprune_runtime.{module}.perf_counter", made)
    return made


def loaded_bundle(runner: Runner, clock: Clock) -> LoadedBundle:
    timed = Runner(runner.bundle, TimedEngine(runner, clock), runner.tokenizer)
    return LoadedBundle(timed, 5.0, True, NOTHING)


@pytest.fixture
def result(runner: Runner, clock: Clock, image_file: Path) -> Result:
    request = BenchmarkRequest(image_file, "why?", repetitions=4, warmups=2, tokens=5)
    return record_of([loaded_bundle(runner, clock)], request).results[0]


def record_of(loaded: list[LoadedBundle], request: BenchmarkRequest, steps: list[str] | None = None) -> BenchmarkRecord:
    told: list[str] = [] if steps is None else steps
    return measure_loaded(loaded, request, settings_of(request), told.append)


def test_times_of_every_stage(result: Result) -> None:
    """Prefills 3 to 10 count, after one warm-up pair; pruned is 3rd, 6th, 7th, 10th after unpruned 4th, 5th, ..."""
    tokens = result.prompt_tokens
    slow, fast = result.unpruned, result.pruned
    assert set(slow.stages_ms) == {"preprocess", "vision", "embed", "head", "tail"}
    assert set(fast.stages_ms) == set(slow.stages_ms) | {"prune"}
    unpruned_places, pruned_places = [3, 6, 7, 10], [4, 5, 8, 9]
    for mode, places, rows in ((slow, unpruned_places, tokens), (fast, pruned_places, tokens - N + K)):
        drift = 1 + DRIFT * np.array(places)
        assert mode.stages_ms["tail"].p50 == pytest.approx(np.median(rows * drift), rel=1e-4)
        assert mode.stages_ms["tail"].min == pytest.approx(rows * drift.min(), rel=1e-4)
        assert mode.stages_ms["vision"].p90 == pytest.approx(np.percentile(20 * drift, 90), rel=1e-4)
        assert mode.decode_ms_per_token.p50 == pytest.approx(np.median(3 * drift), rel=1e-4)
        assert mode.decode_tokens_per_s == pytest.approx(1000 / np.median(3 * drift), rel=1e-3)


def test_ratios_are_of_pairs(result: Result) -> None:
    """A machine that gets slower and slower leaves the alternating pairs' median ratio nearly alone."""
    tokens, left = result.prompt_tokens, result.prompt_tokens - N + K
    drift = (1 + DRIFT * np.array([3, 6, 7, 10])) / (1 + DRIFT * np.array([4, 5, 8, 9]))
    assert result.ratios.tail.median == pytest.approx(np.median(tokens / left * drift), rel=1e-3)
    assert result.ratios.ttft.median == pytest.approx(
        np.median((21 + 2 * tokens) / (21 + tokens + 2 + left) * drift), rel=1e-3
    )


def test_every_run_decodes_the_same_count(result: Result) -> None:
    assert [len(run.decode_ms) for run in result.runs] == [4] * 8
    assert [(run.round, run.pruned) for run in result.runs[:4]] == [(0, False), (0, True), (1, True), (1, False)]


def test_shares_and_caches(result: Result) -> None:
    tokens = result.prompt_tokens
    most = result.ceilings
    assert most.llm_prefill_share == pytest.approx(result.ratios.llm_prefill.median / most.llm_prefill, rel=1e-3)
    assert most.ttft is None  # the golden bundle does not say what vision takes
    row = 2 * 8 * 4  # key and value of width 8 in fp32, one layer in head and in tail each
    assert result.unpruned.kv_cache_filled_bytes == 2 * row * (tokens + 4)
    assert result.pruned.kv_cache_filled_bytes == row * (2 * (tokens + 4) - N + K)


def test_bundles_are_interleaved(runner: Runner, clock: Clock, image_file: Path) -> None:
    request = BenchmarkRequest(image_file, "why?", repetitions=3, warmups=2, tokens=1)
    steps: list[str] = []
    record = record_of([loaded_bundle(runner, clock), loaded_bundle(runner, clock)], request, steps)
    assert [len(result.runs) for result in record.results] == [6, 6]
    assert record.results[0].unpruned.decode_ms_per_token is record.results[0].ratios.decode is None
    assert len(steps) + 2 == steps_of(2, request)
    order = list(run_order(2, 4))
    assert len(set(order)) == len(order) == 16
    firsts = [turn.bundle for turn in order[::4]]
    assert firsts == [0, 1, 0, 1]


def test_an_answer_that_does_not_fit(runner: Runner, image_file: Path) -> None:
    tokens = len(runner.encode("why?").token_ids)
    room = runner.context_tokens - tokens + 1
    check_context_fits(runner, Task([image_file], "why?", room))
    with pytest.raises(BadRequest, match=f"the context has .*; answers of {room} tokens fit"):
        check_context_fits(runner, Task([image_file], "why?", room + 1))


def test_the_follow_up_is_timed_behind_the_answer(clock: Clock) -> None:
    """Its first token takes as many rows as the question has, and the last token of the answer; no image is seen."""
    runner = open_runner(TWO_IMAGES.bundle)
    request = BenchmarkRequest(TWO_IMAGES.images, "why?", repetitions=4, warmups=1, tokens=3, follow_up="so?")
    record = record_of([loaded_bundle(runner, clock)], request)
    [result] = record.results
    added = encode_follow_up(runner.tokenizer, runner.bundle.manifest.prompt, "so?")
    assert (result.images, result.follow_up_tokens) == (2, 1 + len(added))
    assert [image.name for image in record.settings.images] == ["first.png", "second.png"]
    assert record.settings.follow_up == "so?"
    times = [run.follow_up_ms for run in result.runs if run.pruned]
    assert result.pruned.follow_up_ms == spread(times)
    slow = [run.follow_up_ms for run in result.runs if not run.pruned]
    assert result.ratios.follow_up == paired_ratio(slow, times)
    assert result.pruned.follow_up_ms.p50 < result.pruned.ttft_ms.p50
    shown = Console(width=150, record=True, file=io.StringIO())
    shown.print(result_table(result))
    assert "follow-up, ms" in shown.export_text()


def test_a_follow_up_that_has_no_room(runner: Runner, image_file: Path) -> None:
    """The sample question is left out, another one is refused."""
    task = Task([image_file], "why?", 2)
    assert follow_up_tokens(runner, task, 30) is None
    with pytest.raises(BadRequest, match="no further question"):
        check_context_fits(runner, replace(task, follow_up="x"))
    two = open_runner(TWO_IMAGES.bundle)
    assert follow_up_tokens(two, task, 127) is None
    assert follow_up_tokens(two, task, 50) is not None
    with pytest.raises(BadRequest, match="prompt, answer and follow-up take"):
        follow_up_tokens(two, replace(task, follow_up="x"), 127)


@pytest.mark.parametrize("name", ["repetitions", "warmups", "tokens"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=f"{name}: got 0"):
        BenchmarkRequest(**{name: 0})


def test_committed_schema_is_current() -> None:
    """Else: `python -m vlmprune_runtime.benchmark > runtime/vlmprune_runtime/benchmark/schema.json`."""
    committed = json.loads((Path(timed_run.__file__).parent / "schema.json").read_text())
    assert committed == json_schema()


def test_hottest_zone(tmp_path: Path) -> None:
    assert device.hottest_celsius(tmp_path) is None
    for nth, text in enumerate(["41000\n", "67500\n", "broken"]):
        (tmp_path / f"thermal_zone{nth}").mkdir()
        (tmp_path / f"thermal_zone{nth}" / "temp").write_text(text)
    assert device.hottest_celsius(tmp_path) == 67.5


def test_device_without_any_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CPU_INFO", "OS_RELEASE", "THERMAL_ZONES"):
        monkeypatch.setattr(device, name, tmp_path / "none")
    seen = device.read_device_state()
    assert device.describe_device(seen, seen).thermal is None


@pytest.mark.skipif(not memory.STATUS.exists(), reason="no /proc here")
def test_peak_sees_what_was_given_back() -> None:
    memory.reset_peak()
    before = memory.peak_bytes()
    block = np.ones(64 * 2**20, np.uint8)
    del block
    assert memory.peak_bytes() - before > 50 * 2**20


def test_memory_is_unknown_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / "none" / "none")
    memory.reset_peak()
    assert memory.resident_bytes() is memory.peak_bytes() is None


def test_loading_is_observed(bundle_folder: Path, image_file: Path) -> None:
    entered = loading.load_and_warm_up(bundle_folder, Task([image_file], "why?", 3), None, True)
    assert entered.memory.kv_cache_allocated_bytes == 2 * 2 * 8 * 4 * 64
    assert entered.runs == {}
