"""Whole answers against the numpy reference, which computes every token from the start."""

from typing import Any

import numpy as np
import pytest
from handmade_bundle import CONTEXT
from handmade_graphs import K, N
from numpy_model import greedy, next_logits
from PIL import Image

from vlmprune_runtime.decode import decode
from vlmprune_runtime.errors import BadRequest, EngineError
from vlmprune_runtime.events import Finished, Pruned, StageTimed, TextPiece
from vlmprune_runtime.generate import Request, Runner
from vlmprune_runtime.prefill import prefill, start_prefill
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.prompt import ONE_VIEW, encode_prompt
from vlmprune_runtime.sampling import Sampling
from vlmprune_runtime.schema import ImagesSegment, UserTextSegment

STAGES = ["preprocess", "embed", "vision", "head", "prune", "tail"]


def pixels_of(runner: Runner, image: Image.Image) -> np.ndarray:
    return preprocess(image, runner.bundle.manifest.image)


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("prompt", ["why?", "", "a longer question with \N{GRINNING FACE}"])
def test_logits_of_prefill_and_decode(runner: Runner, image: Image.Image, prompt: str, prune: bool) -> None:
    """With original positions, and caches of different lengths."""
    encoded, pixels = runner.encode(prompt), pixels_of(runner, image)
    state, token_ids, start = (
        prefill(runner.bundle.manifest, runner.engine, encoded, [pixels], prune=prune),
        list(encoded.token_ids),
        0,
    )
    start = encoded.spans[0].start
    for token in (5, 250, 17):
        assert state.logits == pytest.approx(next_logits(np.array(token_ids), start, pixels, prune), abs=1e-4)
        assert state.past_tokens["head"] == state.next_position == len(token_ids)
        assert state.past_tokens["tail"] == len(token_ids) - (N - K if prune else 0)
        state = decode(runner.bundle.manifest, runner.engine, token, state)
        token_ids.append(token)


def test_pruning_changes_the_logits(runner: Runner, image: Image.Image) -> None:
    """Or the test above would say nothing about it."""
    encoded, pixels = runner.encode("why?"), pixels_of(runner, image)
    both = [
        prefill(runner.bundle.manifest, runner.engine, encoded, [pixels], prune=prune).logits for prune in (True, False)
    ]
    assert np.abs(both[0] - both[1]).max() > 0.05


@pytest.mark.parametrize("prune", [True, False])
def test_greedy_answer(runner: Runner, image: Image.Image, prune: bool) -> None:
    result = runner.answer(Request(image, "why?", prune, max_tokens=20))
    encoded = runner.encode("why?")
    expected = greedy(encoded.token_ids, encoded.spans[0].start, pixels_of(runner, image), prune, 20)
    stop = runner.bundle.manifest.generation.stop_token_ids[0]
    until = expected.index(stop) if stop in expected else 20
    assert list(result.token_ids) == expected[:until]
    assert result.reason == ("stop" if stop in expected else "length")
    assert result.text == runner.tokenizer.decode(expected[:until]).lstrip()


@pytest.mark.parametrize("prune", [True, False])
def test_events(runner: Runner, image: Image.Image, prune: bool) -> None:
    events = list(runner.stream(Request(image, "how?", prune, max_tokens=6)))
    laps = [event for event in events if isinstance(event, StageTimed)]
    pieces = [event.text for event in events if isinstance(event, TextPiece)]
    pruned = [event for event in events if isinstance(event, Pruned)]
    result = events[-1].result
    assert [type(event) for event in events].count(Finished) == 1
    assert [lap.stage for lap in laps] == [stage for stage in STAGES if prune or stage != "prune"]
    assert result.timings.stages == tuple(laps)
    assert "".join(pieces) == result.text
    assert all(pieces)
    assert tuple(pruned) == result.pruned
    assert len(pruned) == prune
    assert result.timings.ttft_ms >= sum(lap.ms for lap in laps) > 0
    assert len(result.timings.decode_ms) == len(result.token_ids) - (result.reason == "length")
    assert result.prompt_tokens == len(runner.encode("how?").token_ids)


def test_what_was_kept(runner: Runner, image: Image.Image) -> None:
    (pruned,) = runner.answer(Request(image, "why?", max_tokens=1)).pruned
    assert len(pruned.kept) == K
    assert list(pruned.kept) == sorted(set(pruned.kept))
    assert sorted(pruned.rank) == list(range(K))
    assert pruned.visual_tokens == N


def test_forks_do_not_see_each_other_s_images(runner: Runner, image: Image.Image) -> None:
    run = start_prefill(runner.bundle.manifest, runner.engine, runner.encode("why?"), [pixels_of(runner, image)])
    list(run.run("embed"))
    embeddings, other = run.rows, run.fork()
    before = embeddings.copy()
    for way, value in ((run, 1.0), (other, 2.0)):
        way.set_vision([{"features": np.full((N, before.shape[1]), value, dtype=np.float32)}])
    assert (run.rows[:N] == 1).all()
    assert (other.rows[:N] == 2).all()
    assert (embeddings == before).all()


def test_two_images_in_one_prompt(runner: Runner, image: Image.Image) -> None:
    """The same image twice: each is pruned for itself and keeps its own places."""
    segments = (ImagesSegment(), UserTextSegment())
    spec = runner.bundle.manifest.prompt.model_copy(update={"segments": segments})
    encoded = encode_prompt(runner.tokenizer, spec, [N], "b?", ONE_VIEW * 2)
    views = [pixels_of(runner, image)] * 2
    state = prefill(runner.bundle.manifest, runner.engine, encoded, views)
    assert len(state.selections) == 2
    assert state.past_tokens == {"head": 2 * N + 2, "tail": 2 * K + 2}
    with pytest.raises(BadRequest, match="got 1 images, the prompt has places for 2"):
        prefill(runner.bundle.manifest, runner.engine, encoded, views[:1])


def test_seeded_sampling(runner: Runner, image: Image.Image) -> None:
    def tokens(seed: int) -> tuple[int, ...]:
        return runner.answer(Request(image, "x", sampling=Sampling(2.0, 0.9, seed), max_tokens=10)).token_ids

    assert tokens(1) == tokens(1)
    assert len({tokens(seed) for seed in range(5)}) > 1


def test_prompt_that_does_not_fit_is_refused_before_anything_runs(runner: Runner) -> None:
    class Never:
        def run(self, stage: str, inputs: object) -> Any:
            raise AssertionError(stage)

    never = Runner(runner.bundle, Never(), runner.tokenizer)
    with pytest.raises(BadRequest, match=f"the prompt takes .* tokens with its image, the context has {CONTEXT}"):
        never.answer(Request("no such file", "x" * CONTEXT))


@pytest.mark.parametrize("prune", [True, False])
def test_answer_ends_with_the_context(runner: Runner, image: Image.Image, prune: bool) -> None:
    """One token more than rows are free, since the last one need not be read again."""
    empty = len(runner.encode("").token_ids)
    sampling = Sampling(5.0, seed=3)
    for free in (0, 1, 5):
        request = Request(image, "x" * (CONTEXT - empty - free), prune, 99, sampling)
        result = runner.answer(request)
        assert (len(result.token_ids), result.reason) == (free + 1, "length")


def test_smaller_context_than_the_bundles(runner: Runner) -> None:
    small = Runner(runner.bundle, runner.engine, runner.tokenizer, context_tokens=30)
    with pytest.raises(BadRequest, match="the context has 30"):
        small.encode("x" * 30)
    with pytest.raises(BadRequest, match="context_tokens"):
        Runner(runner.bundle, runner.engine, runner.tokenizer, context_tokens=CONTEXT + 1)


@pytest.mark.parametrize("tokens", [0, -1])
def test_no_tokens(tokens: int) -> None:
    with pytest.raises(BadRequest, match="max_tokens"):
        Request("x.png", "x", max_tokens=tokens)


def test_a_new_answer_ends_the_old_stream(runner: Runner, image: Image.Image) -> None:
    request = Request(image, "x", max_tokens=5, sampling=Sampling(5.0, seed=3))
    stream = runner.stream(request)
    while not isinstance(next(stream), Pruned):
        pass
    whole = runner.answer(request)
    assert len(whole.token_ids) == 5
    with pytest.raises(BadRequest, match="another answer was started"):
        list(stream)


@pytest.mark.parametrize("kept", [[3, 2, 5, 6], [0, 0, 1, 2], [-1, 0, 1, 2], [0, 1, 2, N], []])
def test_engine_that_keeps_nonsense(runner: Runner, image: Image.Image, kept: list[int]) -> None:
    class Wrong:
        def run(self, stage: str, inputs: Any) -> Any:
            outputs = runner.engine.run(stage, inputs)
            return outputs | {"kept": np.array(kept, dtype=np.int64)} if stage == "prune" else outputs

    with pytest.raises(EngineError, match="prune"):
        Runner(runner.bundle, Wrong(), runner.tokenizer).answer(Request(image, "x"))
