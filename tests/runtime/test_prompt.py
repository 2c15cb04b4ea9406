"""Questions as token ids."""

from datetime import datetime

import numpy as np
import pytest
from handmade_graphs import IMAGE, N, tokenizer
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.errors import BadRequest, BundleError
from vlmprune_runtime.generate import Runner
from vlmprune_runtime.prompt import (
    ONE_VIEW,
    Span,
    apply_edits,
    encode_follow_up,
    encode_prompt,
    load_tokenizer,
    render,
    render_answer,
    render_follow_up,
)
from vlmprune_runtime.schema import (
    DateSegment,
    FollowUp,
    ImagesSegment,
    PromptSpec,
    Replace,
    Segment,
    Strip,
    TextSegment,
    UserTextSegment,
)

TOKENIZER = tokenizer()


def spec(
    *segments: Segment, special: bool = False, image_token_id: int | None = None, follow_up: FollowUp | None = None
) -> PromptSpec:
    known = TOKENIZER.token_to_id(IMAGE)
    return PromptSpec(
        segments=segments or (TextSegment(text="a"), ImagesSegment(), TextSegment(text="b "), UserTextSegment()),
        follow_up=follow_up,
        image_token=IMAGE,
        image_token_id=known if image_token_id is None else image_token_id,
        add_special_tokens=special,
    )


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: IMAGE not in text))
def test_any_text_goes_in_literally(prompt: str) -> None:
    encoded = encode_prompt(TOKENIZER, spec(), [N], prompt)
    (span,) = encoded.spans
    assert encoded.token_ids.dtype == np.int64
    assert span == Span(1, 1 + N)
    assert set(encoded.token_ids[span.start : span.stop]) == {TOKENIZER.token_to_id(IMAGE)}
    rest = [*encoded.token_ids[: span.start], *encoded.token_ids[span.stop :]]
    assert TOKENIZER.decode(rest, skip_special_tokens=False) == f"ab {prompt}"


def test_two_images_have_two_spans() -> None:
    encoded = encode_prompt(TOKENIZER, spec(ImagesSegment(between="x"), UserTextSegment()), [3], "y", ONE_VIEW * 2)
    assert encoded.spans == (Span(0, 3), Span(4, 7))
    assert len(encoded.token_ids) == 8


def test_each_image_has_what_belongs_to_it() -> None:
    images = ImagesSegment(before="[", after="]", between=", ", fewest=0, most=2)
    made = spec(images, UserTextSegment())
    texts = [render(made, "?", ONE_VIEW * count) for count in (0, 1, 2)]
    assert texts == ["?", f"[{IMAGE}]?", f"[{IMAGE}], [{IMAGE}]?"]
    with pytest.raises(BadRequest, match="got 3 images; allowed: 0 to 2"):
        render(made, "?", ONE_VIEW * 3)
    with pytest.raises(BadRequest, match="got 0 images; allowed: 1 or more"):
        render(spec(), "?", ())


def test_a_date_is_that_of_the_run() -> None:
    made = spec(ImagesSegment(), UserTextSegment(), DateSegment(format=" on %d %b %Y"))
    assert render(made, "?", now=datetime(2031, 2, 3)) == f"{IMAGE}? on 03 Feb 2031"


def test_edits_are_made_in_their_order() -> None:
    edits = (Replace(old="ab", new="b"), Strip(side="start", characters="b "), Strip(side="end", characters="!"))
    assert apply_edits(UserTextSegment(edits=edits), " abab why? !!") == "why? "
    assert apply_edits(UserTextSegment(edits=edits[:1]), "aab") == "ab"


def test_a_text_that_is_the_image_token_only_before_its_edits() -> None:
    made = spec(ImagesSegment(), UserTextSegment(edits=(Replace(old=IMAGE, new=""),)))
    assert render(made, f"why{IMAGE}?") == f"{IMAGE}why?"


def test_a_further_question() -> None:
    segments = (TextSegment(text="<end>b "), UserTextSegment())
    made = spec(follow_up=FollowUp(before_answer=" ", segments=segments, standalone=True))
    token_ids = encode_follow_up(TOKENIZER, made, "why?")
    assert TOKENIZER.decode(token_ids, skip_special_tokens=False) == "<end>b why?"
    assert render_answer(made, "\n an answer ") == " an answer"
    with pytest.raises(BadRequest, match="got 1 images; allowed: none in this turn"):
        render_follow_up(made, "why?", ONE_VIEW)
    with pytest.raises(BadRequest, match="no further question"):
        encode_follow_up(TOKENIZER, spec(), "why?")


def test_special_tokens_only_when_asked_for() -> None:
    made = tokenizer()
    made.post_processor = processors.TemplateProcessing(single="<end> $A", special_tokens=[("<end>", 257)])
    assert encode_prompt(made, spec(special=True), [N], "q").token_ids[0] == 257
    assert encode_prompt(made, spec(special=False), [N], "q").token_ids[0] != 257


@pytest.mark.parametrize("prompt", [f"what {IMAGE}", "\ud800"])
def test_refused_prompts(prompt: str) -> None:
    with pytest.raises(BadRequest):
        encode_prompt(TOKENIZER, spec(), [N], prompt)


def test_image_token_of_another_tokenizer() -> None:
    with pytest.raises(BundleError, match="image_token_id"):
        encode_prompt(TOKENIZER, spec(image_token_id=5), [N], "q")


def test_padding_and_truncation_are_switched_off(runner: Runner) -> None:
    path = runner.bundle.folder / "tokenizer.json"
    saved = path.read_text()
    made = tokenizer()
    made.enable_padding(length=50)
    made.enable_truncation(3)
    try:
        made.save(str(path))
        assert len(load_tokenizer(runner.bundle).encode("abcdef").ids) == 6
    finally:
        path.write_text(saved)


def test_broken_tokenizer(copied_folder: object, runner: Runner) -> None:
    (copied_folder / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match=r"tokenizer\.json: is not a tokenizer"):
        load_tokenizer(OpenBundle(copied_folder, runner.bundle.manifest))
