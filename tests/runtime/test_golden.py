"""The golden files that the Kotlin and Swift twins read, too."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import two_picture_model
from two_picture_graphs import K, N
from write_golden import ONE_IMAGE, TWO_IMAGES, Golden, benchmark_counts, turn_fields

from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.decode import decode
from vlmprune_runtime.errors import BadRequest, BundleError
from vlmprune_runtime.generate import Request, Runner, last_result, open_runner
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.positions import place_prompt
from vlmprune_runtime.prefill import prefill
from vlmprune_runtime.preprocess import preprocess, view_image
from vlmprune_runtime.prompt import ONE_VIEW, expand_image_tokens, render, render_follow_up, tokenize

GOLDEN = Path(__file__).parent.parent / "golden"
BUNDLES = (ONE_IMAGE, TWO_IMAGES)


def cases(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())


def asked(name: str) -> list[Any]:
    """The cases of both bundles in files of that name, each with its bundle."""
    return [
        pytest.param(golden, case, id=" ".join([golden.bundle.name, repr(case["prompt"]), str(case.get("prune", ""))]))
        for golden in BUNDLES
        for case in cases(golden.folder / name)
    ]


@cache
def runner_of(golden: Golden) -> Runner:
    return open_runner(golden.bundle)


def images_of(golden: Golden, case: dict[str, Any]) -> list[Path]:
    """The images that a case is about; of one image it need not say."""
    return [golden.folder / name for name in case.get("images", ["image.png"])]


@pytest.mark.parametrize("golden", BUNDLES, ids=lambda golden: golden.bundle.name)
def test_pixels(golden: Golden) -> None:
    """Of 4 / 255 by a step of one in a channel whose standard deviation is 1 / 4."""
    spec = runner_of(golden).bundle.manifest.image
    with np.load(golden.folder / "pixels.npz") as expected:
        seen = expected["seen"].reshape(-1, *expected["seen"].shape[-3:])
        for nth, path in enumerate(golden.images):
            image = load_image(path)
            assert np.abs(np.asarray(view_image(image, spec)).astype(int) - seen[nth]).max() <= 1
            assert np.abs(preprocess(image, spec)[0] - expected["pixels"][nth]).max() <= 4 / 255 + 1e-6


@pytest.mark.parametrize("golden", BUNDLES, ids=lambda golden: golden.bundle.name)
def test_benchmark_counts(golden: Golden) -> None:
    expected = json.loads((GOLDEN / "benchmark.json").read_text())
    assert benchmark_counts(golden) == expected[golden.bundle.name]


@pytest.mark.parametrize(("golden", "case"), asked("prompts.json"))
def test_prompts(golden: Golden, case: dict[str, Any]) -> None:
    runner = runner_of(golden)
    encoded = runner.encode(case["prompt"], ONE_VIEW * len(golden.images))
    assert encoded.token_ids.tolist() == case["token_ids"]
    assert [list(span) for span in encoded.spans] == case["spans"]
    if "positions" in case:
        tokens = place_prompt(runner.bundle.manifest, encoded)
        assert tokens.positions.tolist() == case["positions"]
        assert tokens.next_position == case["next_position"]


@pytest.mark.parametrize(("golden", "case"), asked("answers.json"))
def test_answers(golden: Golden, case: dict[str, Any]) -> None:
    request = Request(images_of(golden, case), case["prompt"], case["prune"], case["max_tokens"])
    result = runner_of(golden).answer(request)
    assert list(result.token_ids) == case["token_ids"]
    assert (result.text, result.reason) == (case["text"], case["reason"])
    kept = [{"kept": list(image.kept), "rank": list(image.rank)} for image in result.pruned]
    assert kept == case["pruned"]
    assert [image.image for image in result.pruned] == list(range(len(kept)))


@pytest.mark.parametrize("golden", BUNDLES, ids=lambda golden: golden.bundle.name)
def test_answers_tell_pruned_from_unpruned(golden: Golden) -> None:
    answers = cases(golden.folder / "answers.json")
    assert any(a["token_ids"] != b["token_ids"] for a, b in zip(answers[::2], answers[1::2], strict=True))
    assert {case["reason"] for case in answers} == {"stop", "length"}


def test_what_is_kept_of_two_pictures_depends_on_the_question() -> None:
    """Else the answers would say nothing about the text that the prune stage is given."""
    kept = [json.dumps(case["pruned"]) for case in cases(TWO_IMAGES.folder / "answers.json") if case["prune"]]
    assert len(set(kept)) == len(kept)


def two_pictures() -> tuple[Runner, list[np.ndarray]]:
    runner = runner_of(TWO_IMAGES)
    return runner, [preprocess(load_image(path), runner.bundle.manifest.image) for path in TWO_IMAGES.images]


@pytest.mark.parametrize("case", cases(TWO_IMAGES.folder / "answers.json"), ids=lambda case: repr(case["prompt"]))
def test_answers_about_two_pictures_are_those_of_numpy(case: dict[str, Any]) -> None:
    """Which computes every token from the start, positions included."""
    runner, images = two_pictures()
    token_ids = runner.encode(case["prompt"], ONE_VIEW * 2).token_ids.tolist()
    expected = two_picture_model.greedy(token_ids, images, case["prune"], case["max_tokens"])
    stops = [place for place, token in enumerate(expected) if token in runner.bundle.manifest.generation.stop_token_ids]
    assert case["token_ids"] == expected[: stops[0] if stops else None]
    kept = two_picture_model.kept_of(token_ids, [(0, len(token_ids))], images) if case["prune"] else []
    assert case["pruned"] == [{"kept": list(places), "rank": list(rank)} for places, rank in kept]


CONVERSATIONS = cases(TWO_IMAGES.folder / "conversations.json")


@pytest.mark.parametrize("case", CONVERSATIONS, ids=lambda case: " ".join(turn["prompt"] for turn in case["turns"]))
def test_conversations(case: dict[str, Any]) -> None:
    """Only new tokens are run, but the answers are those of numpy, which computes the whole conversation each time."""
    runner, pixels = runner_of(TWO_IMAGES), list[np.ndarray]()
    spec, calls, text = runner.bundle.manifest.prompt, list[tuple[int, int]](), ""
    for nth, turn in enumerate(case["turns"]):
        images = [TWO_IMAGES.folder / name for name in turn["images"]]
        first = Request(images, turn["prompt"], case["prune"], case["max_tokens"])
        result = last_result(runner.follow_up(turn["prompt"], images) if nth else runner.stream(first))
        assert turn == turn_fields(turn["prompt"], turn["images"], result)
        text += (render_follow_up if nth else render)(spec, turn["prompt"], ONE_VIEW * len(images))
        whole = tokenize(runner.tokenizer, spec, text)
        pixels += [preprocess(load_image(image), runner.bundle.manifest.image) for image in images]
        grids = [0] * len(pixels)
        token_ids = expand_image_tokens(np.array(whole), spec.image_token_id, [N], grids).token_ids.tolist()
        calls.append((len(token_ids) - turn["prefilled_tokens"], len(token_ids)))
        assert turn["prompt_tokens"] == len(token_ids)
        expected = two_picture_model.greedy(token_ids, pixels, case["prune"], case["max_tokens"], calls)
        stops = runner.bundle.manifest.generation.stop_token_ids
        ends = [place for place, token in enumerate(expected) if token in stops]
        assert turn["token_ids"] == expected[: ends[0] if ends else None]
        text += " " + turn["text"].strip()


def test_conversations_tell_right_from_wrong() -> None:
    """Pruned and unpruned ones differ, and so do turns with new images; most rows are not run again."""
    pruned, unpruned = CONVERSATIONS[::2], CONVERSATIONS[1::2]
    assert all(a["turns"][-1] != b["turns"][-1] for a, b in zip(pruned, unpruned, strict=True))
    assert any(turn["images"] and turn["pruned"] for case in pruned for turn in case["turns"][1:])
    further = [turn for case in CONVERSATIONS for turn in case["turns"][1:] if not turn["images"]]
    assert all(turn["prefilled_tokens"] < turn["prompt_tokens"] / 2 for turn in further)


@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("images", [1, 2])
def test_logits_about_images_on_three_axes(images: int, prune: bool) -> None:
    """The caches hold all layers of the pruned sequence; positions go on from those of the unpruned one."""
    runner, pixels = two_pictures()
    pipeline, encoded = runner.bundle.manifest, runner.encode("why?", ONE_VIEW * images)
    state = prefill(pipeline, runner.engine, encoded, pixels[:images], prune=prune)
    token_ids, calls = encoded.token_ids.tolist(), [(0, len(encoded.token_ids))]
    for token in (5, pipeline.prompt.image_token_id, 17):  # an answer may hold the image token: it is text there
        expected = two_picture_model.next_logits(token_ids, calls, pixels[:images], prune)
        assert state.logits == pytest.approx(expected, abs=1e-4)
        assert state.past_tokens == {"tail": len(token_ids) - (images * (N - K) if prune else 0)}
        state = decode(pipeline, runner.engine, token, state)
        token_ids.append(token)


def test_images_are_taken_in_the_order_of_the_prompt() -> None:
    """Each is pruned by itself, so that swapping them swaps what is kept, and changes the answer."""
    first, second = TWO_IMAGES.images
    runner = runner_of(TWO_IMAGES)
    there, back = (runner.answer(Request(order, "why?")) for order in ((first, second), [second, first]))
    assert [image.kept for image in there.pruned] == [image.kept for image in reversed(back.pruned)]
    assert there.pruned[0].kept != there.pruned[1].kept
    assert there.token_ids != back.token_ids
    alone, listed = (runner.answer(Request(image, "why?")).pruned for image in (str(first), [first]))
    assert alone == listed
    assert len(alone) == 1


@pytest.mark.parametrize(
    ("golden", "images", "message"),
    [
        (TWO_IMAGES, 3, "got 3 images; allowed: 1 to 2"),
        (TWO_IMAGES, 0, "got 0 images; allowed: 1 to 2"),
        (ONE_IMAGE, 0, "got 0 images; allowed: 1 or more"),
        (
            ONE_IMAGE,
            4,
            "the prompt takes 75 tokens with its 4 images, the context has 64; an export with --images 4 or a longer "
            "--context has more",
        ),
    ],
)
def test_a_image_too_many_or_too_few(golden: Golden, images: int, message: str) -> None:
    """Before any image is read."""
    with pytest.raises(BadRequest) as caught:
        runner_of(golden).answer(Request(["no such file"] * images, "why?"))
    assert str(caught.value) == message


@pytest.mark.parametrize("case", cases(GOLDEN / "bundle_errors.json"), ids=lambda case: case["name"])
def test_bundle_errors(tmp_path: Path, case: dict[str, Any]) -> None:
    """A case sets the field at `path` to `value`, or deletes it if it has none."""
    folder = Path(shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle"))
    fields = json.loads((folder / "bundle.json").read_text())
    target = fields
    for key in case["path"][:-1]:
        target = target[key]
    if "value" in case:
        target[case["path"][-1]] = case["value"]
    else:
        del target[case["path"][-1]]
    (folder / "bundle.json").write_text(json.dumps(fields))
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    assert (caught.value.file, caught.value.field) == (case["file"], case["field"])
