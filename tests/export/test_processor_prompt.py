"""Chat templates taken apart: the ids of our prompts are those of Hugging Face's processor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prompt_cases import (
    QUESTIONS,
    TEMPLATES,
    TEXT_TEMPLATES,
    TOKENIZERS,
    VISUAL_TOKENS,
    expected_ids,
    ids_of_text,
    model_of,
    processor_with,
    turn,
)
from transformers import AutoProcessor

from tiny import TEMPLATE, tiny_llava, tiny_processor, write_checkpoint
from vlmprune_export.processor import prompt_spec
from vlmprune_runtime.conversation import Conversation, Turn
from vlmprune_runtime.detokenize import TextStream
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prompt import ONE_VIEW, encode_follow_up, encode_prompt, expand_ids, render, tokenize
from vlmprune_runtime.schema import DateSegment, PromptSpec, Replace, Strip, UserTextSegment
from vlmprune_runtime.state import State

PARTS = {name: template for name, template in TEMPLATES.items() if template is not None}


def silent(line: str) -> None:
    assert line.startswith("note: "), line


def encoded(processor: Any, spec: PromptSpec, question: str, images: int = 1) -> list[int]:
    backend = processor.tokenizer.backend_tokenizer
    return encode_prompt(backend, spec, [VISUAL_TOKENS], question, ONE_VIEW * images).token_ids.tolist()


def user_text(spec: PromptSpec) -> UserTextSegment:
    return next(segment for segment in spec.segments if isinstance(segment, UserTextSegment))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("template", PARTS)
def test_ids_are_those_of_apply_chat_template(tokenizer: str, template: str) -> None:
    processor = processor_with(tokenizer, PARTS[template])
    spec = prompt_spec(processor, model_of(processor), silent)
    for question in QUESTIONS:
        assert encoded(processor, spec, question) == expected_ids(processor, [turn(question)]), question


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("template", TEXT_TEMPLATES)
def test_templates_of_text_models_have_the_image_before_the_text(tokenizer: str, template: str) -> None:
    processor = processor_with(tokenizer, TEXT_TEMPLATES[template])
    spec = prompt_spec(processor, model_of(processor), silent)
    for question in filter(str.strip, QUESTIONS):
        message = {"role": "user", "content": f"<image>\n{question}"}
        text = processor.apply_chat_template([message], add_generation_prompt=True)
        assert encoded(processor, spec, question) == ids_of_text(processor, text), question


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_without_a_template_the_prompt_is_that_of_llava(tokenizer: str) -> None:
    processor = processor_with(tokenizer, None)
    spec = prompt_spec(processor, model_of(processor))
    for question in QUESTIONS:
        text = f"USER: <image>\n{question} ASSISTANT:"
        assert encoded(processor, spec, question) == ids_of_text(processor, text), question


@pytest.mark.parametrize("images", [0, 2, 3])
@pytest.mark.parametrize("template", PARTS)
def test_other_counts_of_images(template: str, images: int) -> None:
    processor = processor_with("byte-level", PARTS[template])
    spec = prompt_spec(processor, model_of(processor))
    assert encoded(processor, spec, "why?", images) == expected_ids(processor, [turn("why?", images)])


def test_an_irregular_second_image_leaves_room_for_one() -> None:
    numbered = TEMPLATE.replace("<image>", "{{ loop.index }}: <image>")
    processor = processor_with("byte-level", numbered)
    spec = prompt_spec(processor, model_of(processor))
    assert (spec.images.fewest, spec.images.most) == (1, 1)
    with pytest.raises(BadRequest, match="got 2 images; allowed: 1 to 1"):
        render(spec, "why?", ONE_VIEW * 2)


CONVERSING = ["chatml", "chatml, dated", "images first", "trimmed", "llava 1.5", "pocket", "mistral", "chatml of text"]


def messages(template: str, *texts: str) -> list[dict[str, Any]]:
    """A conversation of questions and answers, the first about an image."""
    as_text = template in TEXT_TEMPLATES
    return [
        {"role": role, "content": ("" if nth else "<image>\n") + text} if as_text else turn(text, int(nth == 0), role)
        for nth, (text, role) in enumerate(zip(texts, ["user", "assistant"] * len(texts), strict=False))
    ]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("template", CONVERSING)
def test_a_conversation_has_the_ids_of_apply_chat_template(tokenizer: str, template: str) -> None:
    processor = processor_with(tokenizer, (TEMPLATES | TEXT_TEMPLATES)[template])
    spec, backend = prompt_spec(processor, model_of(processor), silent), processor.tokenizer.backend_tokenizer
    assert spec.follow_up is not None
    for question in filter(str.strip, QUESTIONS):
        said = messages(template, "first?", "An answer.", "and then", "no", question)
        expected = ids_of_text(processor, processor.apply_chat_template(said, add_generation_prompt=True))
        conversation = told(backend, spec, [("first?", "An answer."), ("and then", " no\n")])
        gone_on = conversation.go_on(backend, spec, [VISUAL_TOKENS], question)
        assert gone_on.token_ids.tolist() == expected
        if spec.follow_up.standalone:
            alone = encode_follow_up(backend, spec, question).tolist()
            assert expected[-len(alone) :] == alone


def told(tokenizer: Any, spec: PromptSpec, turns: list[tuple[str, str]]) -> Conversation:
    """A conversation about one image, whose answers the model has written as the tokenizer does after a space."""
    (first, answer), *further = turns
    text = render(spec, first)
    ids = tokenize(tokenizer, spec, text)
    prompt = expand_ids(ids, spec, [VISUAL_TOKENS], ONE_VIEW)
    conversation = answered(Turn(text, ids, ONE_VIEW, prompt), tokenizer, answer)
    for question, answer in further:
        conversation = answered(conversation.go_on(tokenizer, spec, [VISUAL_TOKENS], question), tokenizer, answer)
    return conversation


def answered(question: Turn, tokenizer: Any, answer: str) -> Conversation:
    """The conversation after an answer, all of whose tokens but the last have been run."""
    tokens = len(question.token_ids)
    conversation = question.asked(State(np.zeros(1), {"tail": tokens}, tokens, (), 1), TextStream(tokenizer))
    for token in tokenizer.encode(f" {answer}", add_special_tokens=False).ids:
        conversation.answer.push(token)
        tokens += 1
        state = State(np.zeros(1), {"tail": tokens}, tokens, (), 1)
        conversation.held = conversation.held.with_token(token, state)
    conversation.held = conversation.held.without_last(1)
    return conversation


def test_where_a_further_turn_can_be_tokenized_by_itself() -> None:
    def standalone(template: str) -> bool | None:
        processor = processor_with("byte-level", (TEMPLATES | TEXT_TEMPLATES)[template])
        further = prompt_spec(processor, model_of(processor)).follow_up
        return None if further is None else further.standalone

    found = {template: standalone(template) for template in [*CONVERSING, "none", "tiny"]}
    assert found == dict.fromkeys(CONVERSING, True) | {
        "images first": False, "trimmed": False, "llava 1.5": False, "none": True, "tiny": None,
    }  # fmt: skip


def test_what_is_done_to_the_text_is_recorded() -> None:
    def edits(template: str) -> tuple[Any, ...]:
        processor = processor_with("byte-level", TEMPLATES[template])
        return user_text(prompt_spec(processor, model_of(processor))).edits

    assert edits("chatml") == ()
    [trimmed] = edits("trimmed")
    assert isinstance(trimmed, Strip)
    assert (trimmed.side, set(trimmed.characters)) == ("both", {chr(c) for c in range(0x110000) if chr(c).isspace()})
    assert edits("stripped of lines") == (Strip(side="both", characters="\n"),)
    assert set(edits("without tokens")[:2]) == {Replace(old="</s>", new=""), Replace(old="[INST]", new="(")}
    assert edits("escaped")[0] == Replace(old="&", new="&amp;")


def test_a_date_is_filled_in_by_the_runner() -> None:
    processor = processor_with("byte-level", TEMPLATES["chatml, dated"])
    assert DateSegment(format="%d %b %Y") in prompt_spec(processor, model_of(processor), silent).segments


@pytest.mark.parametrize("date", ["strftime_now('%c')", "strftime_now('%d %b').upper()", "strftime_now('%Y')[2:]"])
def test_a_date_that_no_runner_writes_is_frozen_with_a_warning(date: str) -> None:
    processor, said = processor_with("byte-level", "{{ " + date + " }}" + TEMPLATE), []
    spec = prompt_spec(processor, model_of(processor), said.append)
    assert not any(isinstance(segment, DateSegment) for segment in spec.segments)
    assert [line for line in said if line.startswith("warning: ") and "date" in line and "frozen" in line]


def test_a_template_that_reacts_to_the_text_is_warned_of() -> None:
    reacting = TEMPLATE.replace("{{ part['text'] }}", "{{ part['text'].split('/no_think')[0] }}")
    processor, said = processor_with("byte-level", reacting), []
    prompt_spec(processor, model_of(processor), said.append)
    [warning] = [line for line in said if line.startswith("warning: ")]
    assert "/no_think" in warning


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (TEMPLATE.replace("{{ part['text'] }}", ""), "does not render one image and one question"),
        (TEMPLATE.replace("<image>", ""), "does not render one image and one question"),
        (TEMPLATE.replace("{{ part['text'] }}", "{{ part['text'].upper() }}"), "does not render"),
        ("{{ raise_exception('roles must alternate') }}", "fails: TemplateError: roles must alternate"),
        ("{% for message in messages %}", "fails: TemplateSyntaxError, line 1: "),
        ("{{ messages[7]['content'] }}", "fails: UndefinedError: "),
        ("{{ 1 // 0 }}", "fails: ZeroDivisionError: "),
    ],
)
def test_templates_that_are_refused_in_one_line(template: str, message: str) -> None:
    processor = processor_with("byte-level", template)
    with pytest.raises(BadRequest) as caught:
        prompt_spec(processor, model_of(processor))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_template_may_contain_what_looks_like_a_place() -> None:
    processor = processor_with("byte-level", "{% raw %}{prompt} {{ x }}{% endraw %}" + TEMPLATE)
    spec = prompt_spec(processor, model_of(processor))
    assert render(spec, "why {prompt}?") == "{prompt} {{ x }}<s>USER: <image>why {prompt}? ASSISTANT:"


def test_of_several_templates_the_default_is_taken() -> None:
    processor = processor_with("byte-level", None)
    processor.chat_template = {"default": TEMPLATE, "tool_use": "{{ 1 // 0 }}"}
    assert render(prompt_spec(processor, model_of(processor)), "why?") == "<s>USER: <image>why? ASSISTANT:"
    processor.chat_template = {"rag": TEMPLATE}
    with pytest.raises(BadRequest, match="got rag; allowed: one of the name 'default'"):
        prompt_spec(processor, model_of(processor))


@pytest.mark.parametrize("place", ["chat_template.jinja", "chat_template.json", "tokenizer_config.json"])
def test_the_template_is_found_wherever_it_stands(tmp_path: Path, place: str) -> None:
    folder = write_checkpoint(tmp_path)
    (folder / "chat_template.jinja").rename(tmp_path / "moved")
    if place == "chat_template.jinja":
        (tmp_path / "moved").rename(folder / place)
    else:
        path = folder / place
        fields = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(fields | {"chat_template": TEMPLATE}))
    said: list[str] = []
    spec = prompt_spec(AutoProcessor.from_pretrained(folder), tiny_llava(), said.append)
    assert said == [f"note: chat template: {place}"]
    assert render(spec, "why?") == "<s>USER: <image>why? ASSISTANT:"


def test_an_image_token_of_another_model_is_refused() -> None:
    processor = tiny_processor("clip")
    model = model_of(processor)
    model.config.image_token_id = 7
    with pytest.raises(BadRequest, match="image token '<image>': the tokenizer gives 3, the model has 7"):
        prompt_spec(processor, model)
