"""Describes how a question becomes token ids, as data that a runner in any language follows literally."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from vlmprune_runtime.schema.base import Record

# The directives of a date's format, those of C's strftime that depend on no locale.
DATE_DIRECTIVES = "aAbBdHIjmMpSyY%"


def date_format(text: str) -> str:
    """Returns `text` if a runner can format a date with it. Raises `ValueError` otherwise.

    >>> date_format("%d %b %Y")
    '%d %b %Y'
    >>> date_format("%c")
    Traceback (most recent call last):
    ...
    ValueError: date format '%c' has a directive other than % and one of aAbBdHIjmMpSyY%
    """
    letters = iter(text)
    for letter in letters:
        if letter == "%" and next(letters, "") not in tuple(DATE_DIRECTIVES):
            raise ValueError(f"date format {text!r} has a directive other than % and one of {DATE_DIRECTIVES}")
    return text


class Strip(Record):
    """Removes all leading, trailing or both kinds of `characters` from the user's text."""

    kind: Literal["strip"] = "strip"
    side: Literal["start", "end", "both"]
    characters: Annotated[str, Field(min_length=1)]


class Replace(Record):
    """Replaces every occurrence of `old`, found from left to right without overlap, by `new`."""

    kind: Literal["replace"] = "replace"
    old: Annotated[str, Field(min_length=1)]
    new: str


class TextSegment(Record):
    """Is text that stands in every prompt as it is, with special tokens written out."""

    kind: Literal["text"] = "text"
    text: str


class ImagesSegment(Record):
    """Stands for the images in order: each is `before`, the image token, `after`; `between` stands between two of them.

    A prompt has room for `fewest` to `most` images, `most` null being any number.
    """

    kind: Literal["images"] = "images"
    before: str = ""
    after: str = ""
    between: str = ""
    fewest: Annotated[int, Field(ge=0, le=1)] = 1
    most: Annotated[int, Field(ge=1)] | None = None


class UserTextSegment(Record):
    """Stands for the user's text after `edits`, which are made one after the other."""

    kind: Literal["user_text"] = "user_text"
    edits: tuple[Annotated[Strip | Replace, Field(discriminator="kind")], ...] = ()


class DateSegment(Record):
    """Stands for the runner's local date and time, written as C's strftime does in the C locale."""

    kind: Literal["date"] = "date"
    format: Annotated[str, AfterValidator(date_format)]


Segment = Annotated[TextSegment | ImagesSegment | UserTextSegment | DateSegment, Field(discriminator="kind")]
Segments = tuple[Segment, ...]


class FollowUp(Record):
    """Describes a further question in the same conversation.

    The text of a conversation is that of the first question, then for each further one `before_answer`, the text of
    the answer before it without white space around, and the texts of `segments`; it is tokenized whole as a first
    question is. Where `standalone`, these segments begin with a token that texts are split at: tokenized by themselves,
    without the tokenizer's own special tokens, they have the ids that they have in the whole text, and a runner can go
    on behind the tokens of the last answer, which are without the stop token.
    """

    before_answer: str = ""
    segments: Segments
    standalone: bool

    @model_validator(mode="after")
    def _segments_have_their_places(self) -> "FollowUp":
        if _count(self.segments, "user_text") != 1 or _count(self.segments, "images") > 1:
            raise ValueError("segments need one place for the user's text, and at most one for images")
        return self


class TilesText(Record):
    """Describes the text of an image that is seen as tiles and the whole, in which each view has its own image token.

    For every tile, row by row, stands `tile`, in which the numbers of its row and column, from 1, replace `{row}` and
    `{column}`, then the image token; behind the last tile of a row stands `row_end`. Then follow `whole`, the image
    token of the whole image, and `end`. An image that is seen as one view is `only`, the image token, `end`.
    """

    tile: str
    row_end: str
    whole: str
    only: str
    end: str


class PromptSpec(Record):
    """Describes how a question becomes token ids.

    The texts of all `segments` are joined, and the whole text is tokenized at once, with the tokenizer's own special
    tokens where `add_special_tokens` says so; a text tokenized piece by piece would have other tokens at the joints.
    A segment of images has one image token per view of each image; where there are `tiles`, the text that they
    describe stands in its place. Every `image_token_id` is then repeated once per visual token of its view. A user's
    text that contains `image_token` after its edits is refused.
    `follow_up` is null where the chat template knows no further turn.
    """

    segments: Segments
    follow_up: FollowUp | None = None
    tiles: TilesText | None = None
    image_token: Annotated[str, Field(min_length=1)]
    image_token_id: Annotated[int, Field(ge=0)]
    add_special_tokens: bool

    @property
    def images(self) -> ImagesSegment:
        """Where the images go."""
        return next(segment for segment in self.segments if isinstance(segment, ImagesSegment))

    @model_validator(mode="after")
    def _segments_have_their_places(self) -> "PromptSpec":
        if _count(self.segments, "images") != 1:
            raise ValueError("segments need one place for images")
        if _count(self.segments, "user_text") != 1:
            raise ValueError("segments need one place for the user's text")
        return self

    @model_validator(mode="after")
    def _images_are_segments(self) -> "PromptSpec":
        further = self.follow_up.segments if self.follow_up else ()
        texts = [segment.text for segment in (*self.segments, *further) if segment.kind == "text"]
        texts += self.tiles.model_dump().values() if self.tiles else ()
        if any(self.image_token in text for text in texts):
            raise ValueError("the image token stands in a text; its place is a segment of images")
        return self


def _count(segments: Segments, kind: str) -> int:
    return sum(segment.kind == kind for segment in segments)
