"""How a question becomes token ids, as data that a runner follows."""

from typing import Annotated

from pydantic import Field, model_validator

from vlmprune_runtime.schema.base import Record


class PromptSpec(Record):
    """How a question becomes token ids.

    `template` holds `image_token` once per image and `{prompt}` once; the whole text is tokenized at once
    and every image token is then repeated `visual_tokens` times.
    """

    template: str
    image_token: str
    image_token_id: Annotated[int, Field(ge=0)]
    add_special_tokens: bool
    stop_token_ids: tuple[int, ...]

    @model_validator(mode="after")
    def _template_has_both_places(self) -> "PromptSpec":
        if not self.image_token or self.image_token not in self.template:
            raise ValueError("template has no place for an image")
        if self.template.count("{prompt}") != 1:
            raise ValueError("template needs {prompt} once")
        return self
