"""Finds a checkpoint's chat template and renders conversations with it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, TemplateError, TemplateSyntaxError

from vlmprune_runtime.errors import BadRequest, first_line

TEMPLATE_FILES = ("processor_config.json", "chat_template.json", "chat_template.jinja", "tokenizer_config.json")
# Characters of a private range: no template writes them itself.
DATE_BEGIN, DATE_END = "\ue000", "\ue001"
# The macro hides the function of the same name that transformers gives to templates. The line break behind it is not
# rendered, and leaves the template's first line to be the beginning of a line.
_MARKED_DATES = "{% macro strftime_now(format) %}" + DATE_BEGIN + "{{ format }}" + DATE_END + "{% endmacro %}\n"
# The prompt of LLaVA-1.5, whose first checkpoints are older than chat templates.
_VICUNA = """\
{%- for message in messages -%}
  {{- 'USER: ' if message['role'] == 'user' else 'ASSISTANT: ' -}}
  {%- for part in message['content'] -%}
    {{- part['text'] if part['type'] == 'text' else IMAGE_TOKEN -}}
  {%- endfor -%}
  {{- ' ' if message['role'] == 'user' else eos_token -}}
{%- endfor -%}
{{- 'ASSISTANT:' -}}
"""


class Turn(NamedTuple):
    """One turn of a conversation: a text below a number of images."""

    text: str
    images: int = 0
    role: str = "user"


@dataclass(frozen=True)
class ChatTemplate:
    """A template and the name of the file that it was read from.

    `content_is_text` is for templates of text models, which take a message's content as one string: the image tokens
    then stand before the text, each on a line of its own, where LLaVA has them.
    """

    processor: Any
    text: str
    source: str
    content_is_text: bool = False

    def render(self, *turns: Turn) -> str:
        """Renders the conversation as text up to where the model's answer begins.

        Raises `BadRequest` with the first line of whatever the template raises.
        """
        messages = [{"role": turn.role, "content": self._content(turn)} for turn in turns]
        try:
            rendered = self.processor.apply_chat_template(
                messages, chat_template=self.text, add_generation_prompt=True, tokenize=False
            )
        except Exception as cause:  # a template is a program that may raise anything
            raise BadRequest(f"the chat template in {self.source} fails: {_reason(cause)}") from cause
        return str(rendered)

    def with_marked_dates(self) -> "ChatTemplate":
        """Returns the template that writes each date's format, between marks, in the date's place."""
        return replace(self, text=_MARKED_DATES + self.text)

    def literals(self) -> set[str]:
        """Returns the strings in the template's expressions, which it may search for in a user's text."""
        try:
            return {
                str(token[2])[1:-1].encode("raw_unicode_escape").decode("unicode_escape")
                for token in Environment().lex(self.text)
                if token[1] == "string"
            } - {""}
        except (TemplateError, UnicodeError):  # what it looks for stays unknown, as with computed strings
            return set()

    def _content(self, turn: Turn) -> Any:
        if self.content_is_text:
            return (self.processor.image_token + "\n") * turn.images + turn.text
        return [{"type": "image"}] * turn.images + [{"type": "text", "text": turn.text}]


def chat_template(processor: Any) -> ChatTemplate:
    """Returns the processor's template, or its tokenizer's, or if neither has one the prompt of LLaVA-1.5."""
    for owner in (processor, processor.tokenizer):
        text = _default(getattr(owner, "chat_template", None))
        if text is not None:
            return ChatTemplate(processor, text, _source(processor, text))
    text = _VICUNA.replace("IMAGE_TOKEN", f"{json.dumps(processor.image_token)} + '\\n'")
    return ChatTemplate(processor, text, "LLaVA-1.5, for the checkpoint has none")


def _default(templates: str | dict[str, str] | None) -> str | None:
    """Returns the template that is used by default if there are several."""
    if isinstance(templates, dict):
        if "default" not in templates:
            raise BadRequest(f"chat templates: got {', '.join(templates)}; allowed: one of the name 'default'")
        return templates["default"]
    return templates


def _source(processor: Any, text: str) -> str:
    for name, content in _template_files(str(getattr(processor.tokenizer, "name_or_path", ""))):
        if content == text:
            return name
    return "the processor"


def _template_files(checkpoint: str) -> Iterator[tuple[str, str | None]]:
    """Yields names of files in a checkpoint's folder or the hub's cache, and the template in each."""
    from transformers.utils.hub import cached_file

    for name in TEMPLATE_FILES if checkpoint else ():
        try:
            path = cached_file(checkpoint, name, local_files_only=True, _raise_exceptions_for_missing_entries=False)
            content = Path(path).read_text(encoding="utf-8") if path else ""
            yield name, (_written(content) if name.endswith(".json") else content)
        except (OSError, ValueError):
            continue


def _written(content: str) -> str | None:
    templates = json.loads(content or "{}").get("chat_template")
    if isinstance(templates, list):
        templates = {entry["name"]: entry["template"] for entry in templates}
    return templates.get("default") if isinstance(templates, dict) else templates


def _reason(cause: Exception) -> str:
    line = f", line {cause.lineno}" if isinstance(cause, TemplateSyntaxError) else ""
    return f"{type(cause).__name__}{line}: {first_line(cause)}"


def first_that_renders(templates: Sequence[ChatTemplate], turn: Turn) -> tuple[ChatTemplate, str]:
    """Returns the first template that renders the turn with its text and images once each, and what it renders."""
    problems = []
    for template in templates:
        try:
            rendered = template.render(turn)
        except BadRequest as problem:
            problems.append(problem)
            continue
        texts, images = rendered.count(turn.text), rendered.count(template.processor.image_token)
        if texts == 1 and images == turn.images:
            return template, rendered
        problems.append(
            BadRequest(
                f"the chat template in {template.source} does not render one image and one question: got {images} "
                f"image tokens for {turn.images}, and the question's words unchanged {texts} times; allowed: once"
            )
        )
    raise problems[0]
