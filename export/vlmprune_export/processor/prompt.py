"""Describes a processor's chat template as segments that a runner follows."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from vlmprune_export.processor.chat_template import ChatTemplate, Turn, chat_template, first_that_renders
from vlmprune_export.processor.prompt_layout import PromptLayout, date_formats, find_layout, text_layout
from vlmprune_export.processor.text_edits import MARK, find_edits
from vlmprune_export.processor.tiles import tiles_text
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.progress import Report
from vlmprune_runtime.prompt import render
from vlmprune_runtime.schema import FollowUp, PromptSpec, Segments, UserTextSegment
from vlmprune_runtime.schema.prompt import date_format

_ANSWER, _SECOND = "wX5Answer6Xw", "second question"
_SHOWN_TEXTS = 3  # that a warning names
_CHECKED_TEXTS = ("What is in the picture?", " two  spaces\n", "na\u00efve \N{GRINNING FACE} \u6f22\u5b57")


def prompt_spec(processor: Any, model: Any, notice: Report = lambda line: None) -> PromptSpec:
    """Returns the segments of the chat template; calls `notice` with its source and with differences of a runner.

    Raises `BadRequest` for a template that fails, or does not render one image and one question.
    """
    template = _form(chat_template(processor))
    notice(f"note: chat template: {template.source}")
    dated = _with_dates(template, notice)
    tokenizer = processor.tokenizer
    begins = tokenizer.bos_token is not None and template.render(Turn(MARK, 1)).startswith(tokenizer.bos_token)
    spec = PromptSpec(
        segments=_first_turn(dated, notice),
        follow_up=_follow_up(dated),
        tiles=tiles_text(processor),
        image_token=processor.image_token,
        image_token_id=model.config.image_token_id,
        add_special_tokens=not begins,
    )
    _check_ids(spec, processor)
    return spec


def _form(template: ChatTemplate) -> ChatTemplate:
    """Returns the template with the form of a message's content that it takes: in parts, or as one text."""
    forms = (template, replace(template, content_is_text=True))
    return first_that_renders(forms, Turn(MARK, 1))[0]


def _with_dates(template: ChatTemplate, notice: Report) -> ChatTemplate:
    """Returns the template with marked dates if a runner can fill them in; otherwise with today's, and warns."""
    if "strftime_now" not in template.text:
        return template
    now, marked = template.render(Turn(MARK, 1)), template.with_marked_dates()
    try:
        text = marked.render(Turn(MARK, 1))
        formats = [date_format(one) for one in date_formats([text])]
    except (BadRequest, ValueError):
        text, formats = now, []
    if formats and now == _dated(text, formats):
        return marked
    if text != now or not formats:
        notice(f"warning: the chat template in {template.source} writes a date that is frozen to that of this export")
    return template


def _dated(text: str, formats: list[str]) -> str:
    moment = datetime.now()
    for one in formats:
        text = text.replace(f"\ue000{one}\ue001", moment.strftime(one))
    return text


def _first_turn(template: ChatTemplate, notice: Report) -> Segments:
    asking = _Asking(template)
    rendered = asking.rendered()
    turn_layout = find_layout(rendered, template.processor.image_token)
    assert turn_layout is not None  # `_form` has looked for one image token
    user_text, unexplained = asking.user_text(1)
    if unexplained:
        texts = ", ".join(repr(text.replace(MARK, "..."))[:40] for text in unexplained[:_SHOWN_TEXTS])
        notice(f"warning: the chat template changes some questions in a way that a runner does not, such as {texts}")
    if turn_layout.images is not None and turn_layout.images.fewest == 0 and asking.user_text(0)[0] != user_text:
        turn_layout = find_layout(
            {count: text for count, text in rendered.items() if count}, template.processor.image_token
        )
        assert turn_layout is not None
    return turn_layout.segments(user_text, MARK)


@dataclass(frozen=True)
class _Asking:
    """Renders a question after the turns before it."""

    template: ChatTemplate
    before: tuple[Turn, ...] = ()

    def render(self, text: str, images: int) -> str:
        return self.template.render(*self.before, Turn(text, images))

    def rendered(self) -> dict[int, str]:
        """Renders the mark as a question about 0 to 3 images, as far as the template accepts them."""
        renderings = {}
        for images in range(4):
            try:
                text = self.render(MARK, images)
            except BadRequest:
                continue
            if text.count(MARK) == 1:
                renderings[images] = text
        return renderings

    def user_text(self, images: int) -> tuple[UserTextSegment, list[str]]:
        """Returns the edits of a question about so many images, and texts that they do not explain."""
        before, after = self.render(MARK, images).split(MARK)

        def written(text: str) -> str | None:
            try:
                prompt = self.render(text, images)
            except BadRequest:
                return None
            inside = prompt.startswith(before) and prompt.endswith(after) and len(prompt) >= len(before + after)
            return prompt[len(before) : len(prompt) - len(after)] if inside else None

        processor = self.template.processor
        return find_edits(
            written, self.template.literals() | {processor.image_token, *processor.tokenizer.all_special_tokens}
        )


def _follow_up(template: ChatTemplate) -> FollowUp | None:
    """Returns a second turn, None if the template renders it unlike the first or unlike a third."""
    first, answer = Turn("first question", 1), Turn(_ANSWER, role="assistant")
    asked, asking = template.render(first), _Asking(template, (first, answer))
    behind, spaces = {}, set()
    for images, text in asking.rendered().items():
        space, *rest = text.removeprefix(asked).split(_ANSWER)
        if text.startswith(asked) and len(rest) == 1 and not space.strip():
            behind[images] = rest[0]
            spaces.add(space)
    turn_layout = _second_layout(behind, asking)
    if turn_layout is None or len(spaces) != 1:
        return None
    [space] = spaces
    answered = space + _ANSWER + behind[0]
    third = _Asking(template, (first, answer, Turn(_SECOND), answer))
    if third.rendered().get(0) != asked + answered.replace(MARK, _SECOND) + answered:
        return None
    return FollowUp(
        before_answer=space,
        segments=turn_layout.segments(asking.user_text(0)[0], MARK),
        standalone=_begins_with_a_token(turn_layout.before, template.processor.tokenizer),
    )


def _second_layout(behind: dict[int, str], asking: _Asking) -> PromptLayout | None:
    """Returns a layout for any number of images if the template has one, otherwise for none."""
    turn_layout = find_layout(behind, asking.template.processor.image_token)
    several = turn_layout is not None and turn_layout.images is not None and turn_layout.images.fewest == 0
    if several and asking.user_text(0) == asking.user_text(1):
        return turn_layout
    return text_layout(behind[0]) if 0 in behind else None


def _begins_with_a_token(text: str, tokenizer: Any) -> bool:
    """Returns whether the text begins with an added token, so that it can be tokenized on its own."""
    return any(token and text.startswith(token) for token in tokenizer.get_added_vocab())


def _check_ids(spec: PromptSpec, processor: Any) -> None:
    """Raises `BadRequest` if the checkpoint's tokenizer.json and its processor give different ids."""
    tokenizer = processor.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise BadRequest("the checkpoint's tokenizer has no tokenizer.json form (a fast tokenizer)")
    for text in _CHECKED_TEXTS:
        whole = render(spec, text)
        ids = list(tokenizer(whole, add_special_tokens=spec.add_special_tokens)["input_ids"])
        if ids.count(spec.image_token_id) != 1:
            got = tokenizer.convert_tokens_to_ids(spec.image_token)
            wanted = f"the tokenizer gives {got}, the model has {spec.image_token_id}"
            raise BadRequest(f"image token {spec.image_token!r}: {wanted}")
        if ids != backend.encode(whole, add_special_tokens=spec.add_special_tokens).ids:
            raise BadRequest("the tokenizer does not give the ids of its own tokenizer.json form")
