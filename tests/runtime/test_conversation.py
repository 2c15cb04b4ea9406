"""Follow-up questions on the caches as they are: the same as the whole conversation run anew."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from handmade_graphs import IMAGE, K, N
from numpy_model import greedy, next_logits
from PIL import Image

from vlmprune_runtime.conversation import Conversation
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.generate import Request, Runner, last_result, open_runner
from vlmprune_runtime.preprocess import preprocess
from vlmprune_runtime.sampling import Sampling
from vlmprune_runtime.schema import FollowUp, Generation, ImageSpec, ImagesSegment, TextSegment, UserTextSegment

ENDED = (TextSegment(text="<end>"), ImagesSegment(fewest=0, most=1), UserTextSegment(), TextSegment(text=":"))


@pytest.fixture
def talking(bundle_folder: object) -> Runner:
    """A runner of a bundle whose chat template has further questions."""
    runner = open_runner(bundle_folder)
    return with_follow_up(runner, FollowUp(before_answer=" ", segments=ENDED, standalone=True))


def with_follow_up(runner: Runner, follow_up: FollowUp) -> Runner:
    manifest = runner.bundle.manifest
    prompt = manifest.prompt.model_copy(update={"follow_up": follow_up})
    bundle = replace(runner.bundle, manifest=manifest.model_copy(update={"prompt": prompt}))
    return Runner(bundle, runner.engine, runner.tokenizer)


def told(runner: Runner) -> Conversation:
    assert runner.conversation is not None
    return runner.conversation


def whole_ids(runner: Runner, text: str) -> list[int]:
    """The tokens of a whole conversation about one image, whose tokens are its first."""
    image, *rest = runner.tokenizer.encode(text, add_special_tokens=False).ids
    return [*[image] * N, *rest]


def expected_answer(runner: Runner, text: str, image: Image.Image, prune: bool, steps: int) -> list[int]:
    """What the numpy model answers, which knows no cache, behind a whole conversation."""
    pixels = preprocess(image, runner.bundle.manifest.image)
    tokens = greedy(np.array(whole_ids(runner, text)), 0, pixels, prune, steps)
    stop = runner.bundle.manifest.generation.stop_token_ids[0]
    return tokens[: tokens.index(stop)] if stop in tokens else tokens


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize("standalone", [True, False])
def test_answers_are_those_behind_the_whole_conversation(
    talking: Runner, image: Image.Image, limit: int, prune: bool, standalone: bool
) -> None:
    """Whether a stop token or the limit ended the answers before, and with bytes in them that are no text."""
    talking = with_follow_up(talking, FollowUp(before_answer=" ", segments=ENDED, standalone=standalone))
    first = talking.answer(Request(image, "why", prune, limit))
    text = f"{IMAGE} Q: why A: {first.text.strip()}"
    for question in ("y", "o?"):
        text += f"<end>{question}:"
        result = last_result(talking.follow_up(question))
        assert result.prompt_tokens == len(whole_ids(talking, text))
        assert list(result.token_ids) == expected_answer(talking, text, image, prune, limit)
        text += f" {result.text.strip()}"


@pytest.mark.parametrize("prune", [True, False])
def test_logits_and_caches(talking: Runner, image: Image.Image, prune: bool) -> None:
    """After an answer of one token, which is not run, the state is that of the conversation up to it."""
    first = talking.answer(Request(image, "why?", prune, 1))
    last_result(talking.follow_up("x"))
    ids, pixels = (
        whole_ids(talking, f"{IMAGE} Q: why? A: {first.text}<end>x:"),
        preprocess(image, image_spec(talking)),
    )
    state = told(talking).held.state
    assert told(talking).held.token_ids.tolist() == ids
    assert state.logits == pytest.approx(next_logits(np.array(ids), 0, pixels, prune), abs=1e-4)
    dropped = N - K if prune else 0
    assert (state.next_position, state.past_tokens) == (len(ids), {"head": len(ids), "tail": len(ids) - dropped})


def image_spec(runner: Runner) -> ImageSpec:
    return runner.bundle.manifest.image


def test_only_new_text_is_run(talking: Runner, image: Image.Image) -> None:
    first = talking.answer(Request(image, "why?", max_tokens=4))
    second = last_result(talking.follow_up("x"))
    assert first.prefilled_tokens == first.prompt_tokens
    assert second.prefilled_tokens < 20 < second.prompt_tokens
    assert second.pruned == ()
    assert {timed.stage for timed in second.timings.stages} == {"preprocess", "embed", "head", "tail"}


def test_a_new_image_is_pruned_and_the_old_one_stays_as_it_was(talking: Runner, image: Image.Image) -> None:
    [old] = talking.answer(Request(image, "b", max_tokens=1)).pruned
    result = last_result(talking.follow_up("c", [image.rotate(90)]))
    [new], [seen] = result.pruned, result.seen
    assert (old.image, new.image, seen.image) == (0, 1, 1)
    assert old.kept != new.kept
    kept = [selection.cells.tolist() for selection in told(talking).held.state.selections]
    assert kept == [list(old.kept), list(new.kept)]
    state = told(talking).held.state
    assert state.past_tokens["head"] - state.past_tokens["tail"] == 2 * (N - K)


def test_an_answer_that_was_given_up_counts_as_far_as_it_went(talking: Runner, image: Image.Image) -> None:
    request = Request(image, "why?", max_tokens=9, sampling=Sampling(9.0, seed=4))
    stream = talking.stream(request)
    while len(told_or_none(talking).answer.token_ids if told_or_none(talking) else ()) < 3:
        next(stream)
    said = told(talking).answer.text
    last_result(talking.follow_up("x"))
    assert told(talking).text == f"{IMAGE} Q: why? A: {said.strip()}<end>x:"
    with pytest.raises(BadRequest, match="another answer was started"):
        list(stream)


def told_or_none(runner: Runner) -> Conversation | None:
    return runner.conversation


def test_a_follow_up_that_breaks_off_can_be_asked_again(talking: Runner, image: Image.Image) -> None:
    """Rows that the broken one has overwritten are run again, and those behind them too."""
    request = Request(image, "why?", max_tokens=6)
    talking.answer(request)
    expected = last_result(talking.follow_up("x"))
    talking.answer(request)
    for broken in ("entirely other", "y"):
        events: Any = talking.follow_up(broken)
        assert [next(events).stage for _ in range(3)] == ["preprocess", "embed", "head"]
        events.close()
    found = last_result(talking.follow_up("x"))
    assert (found.token_ids, found.prompt_tokens) == (expected.token_ids, expected.prompt_tokens)


def test_what_cannot_be_gone_on_with_is_said_in_one_line(talking: Runner, runner: Runner, image: Image.Image) -> None:
    with pytest.raises(BadRequest, match="no conversation to go on with; ask a first question"):
        list(talking.follow_up("x"))
    runner.answer(Request(image, "b", max_tokens=1))
    with pytest.raises(BadRequest, match="chat template has no further question"):
        list(runner.follow_up("x"))
    talking.answer(Request(image, "b", max_tokens=1))
    with pytest.raises(BadRequest, match="got 2 images; allowed: 0 to 1"):
        list(talking.follow_up("x", [image, image]))
    with pytest.raises(BadRequest, match="the context has 64; start it anew"):
        list(talking.follow_up("x" * 60))
    assert last_result(talking.follow_up("x")).prompt_tokens < 64  # none of these ended the conversation


def test_answers_and_follow_ups_fill_the_context(talking: Runner, image: Image.Image) -> None:
    """An answer has one token more than rows are free, since the last one need not be read again."""
    manifest = talking.bundle.manifest.model_copy(update={"generation": Generation(stop_token_ids=())})
    talking.bundle = replace(talking.bundle, manifest=manifest)
    for free, expected in ((0, 1), (1, 2), (4, 5)):
        first = talking.answer(Request(image, "x", max_tokens=9))
        empty = len(whole_ids(talking, f"{IMAGE} Q: x A: {first.text.strip()}<end>:"))
        result = last_result(talking.follow_up("x" * (64 - empty - free)))
        assert (len(result.token_ids), result.reason) == (expected, "length")
        with pytest.raises(BadRequest, match="tokens by now, the context has 64; start it anew"):
            list(talking.follow_up("x"))


def test_an_answer_that_spells_the_image_token(talking: Runner, image: Image.Image) -> None:
    """The tokenizer would take it for an image."""
    talking.answer(Request(image, "b", max_tokens=1))
    told(talking).answer.token_ids[:] = talking.tokenizer.encode("<im").ids + talking.tokenizer.encode("age>").ids
    with pytest.raises(BadRequest, match="start it anew"):
        list(talking.follow_up("x"))
