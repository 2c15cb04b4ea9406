"""Encodes a question as token ids, with image tokens in the places of the visual tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from vlmprune_runtime.bundle import OpenBundle
from vlmprune_runtime.errors import BadRequest, BundleError, first_line
from vlmprune_runtime.schema import (
    MANIFEST,
    ImagesSegment,
    PromptSpec,
    Segment,
    Segments,
    Strip,
    TilesText,
    UserTextSegment,
)


class Span(NamedTuple):
    """Names the tokens `start` to `stop` - 1 of a prompt, in whose places the visual tokens of one view stand."""

    start: int
    stop: int


@dataclass(frozen=True)
class ImagePlace:
    """Says which places an image takes in a prompt: the index of the grid of each of its views, in order.

    An image in tiles has `rows` x `columns` of them, row by row, and the whole image behind them; others have 0 x 0.
    """

    grids: tuple[int, ...] = (0,)
    rows: int = 0
    columns: int = 0


@dataclass(frozen=True)
class EncodedPrompt:
    """Holds token ids (S,), a span per view, and the index of each view's grid; no `grids` means the first for all.

    `images` says which views belong to one image; without it every view is an image of its own.
    """

    token_ids: npt.NDArray[np.int64]
    spans: tuple[Span, ...]
    grids: tuple[int, ...] = ()
    images: tuple[ImagePlace, ...] = ()

    @property
    def seen_images(self) -> tuple[ImagePlace, ...]:
        """The places of each image, also where every view is an image of its own."""
        return self.images or ONE_VIEW * len(self.spans)

    @property
    def view_places(self) -> tuple[tuple[int, int], ...]:
        """The index of each view's image, and the index of the view among the views of its image."""
        return tuple((nth, view) for nth, image in enumerate(self.seen_images) for view in range(len(image.grids)))


ONE_VIEW = (ImagePlace(),)
"""The places of one image that has one view on the first grid."""


def encode_prompt(
    tokenizer: Tokenizer,
    spec: PromptSpec,
    view_tokens: Sequence[int],
    prompt: str,
    images: Sequence[ImagePlace] = ONE_VIEW,
) -> EncodedPrompt:
    """Returns the first question about images, tokenized whole; a view on grid g takes `view_tokens[g]` tokens."""
    ids = tokenize(tokenizer, spec, render(spec, prompt, images))
    return expand_ids(ids, spec, view_tokens, images)


def check_room(prompt: EncodedPrompt, context_tokens: int) -> None:
    """Raises `BadRequest` for a first question that takes more tokens than the context has."""
    tokens, images, views = len(prompt.token_ids), len(prompt.seen_images), len(prompt.spans)
    if tokens <= context_tokens:
        return
    described = "image" if images == 1 else f"{images} images"
    described += f" in {views} views" if views > images else ""
    longer = f"--images {images} or a longer --context" if images > 1 else "a longer --context"
    raise BadRequest(
        f"the prompt takes {tokens} tokens with its {described}, the context has {context_tokens}; "
        f"an export with {longer} has more"
    )


def encode_follow_up(tokenizer: Tokenizer, spec: PromptSpec, prompt: str) -> npt.NDArray[np.int64]:  # -> (S,)
    """Returns the tokens of a further question without images, and of the end of the answer before it.

    They equal the tokens in the whole conversation only if the bundle says `standalone`; `Conversation` handles both.
    """
    text = render_follow_up(spec, prompt)
    return np.array(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)


def tokenize(tokenizer: Tokenizer, spec: PromptSpec, text: str) -> list[int]:
    """Returns the ids of a whole text, each image token once."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=spec.add_special_tokens).ids
    return ids


def render_follow_up(spec: PromptSpec, prompt: str, images: Sequence[ImagePlace] = ()) -> str:
    """Returns the text between the last answer and the next. Raises `BadRequest` if the bundle has none."""
    if spec.follow_up is None:
        raise BadRequest("this bundle's chat template has no further question in a conversation")
    return _rendered(spec, spec.follow_up.segments, prompt, images)


def render_answer(spec: PromptSpec, answer: str) -> str:
    """Returns the text of an answer as it stands in a conversation."""
    return (spec.follow_up.before_answer if spec.follow_up else "") + answer.strip()


def render(
    spec: PromptSpec, prompt: str, images: Sequence[ImagePlace] = ONE_VIEW, *, now: datetime | None = None
) -> str:
    """Returns the whole text of a first question, with an image token per view; `now` None is the time of the call.

    >>> segments = ({"kind": "images"}, {"kind": "text", "text": "Q: "}, {"kind": "user_text"})
    >>> spec = PromptSpec(segments=segments, image_token="<image>", image_token_id=9, add_special_tokens=False)
    >>> render(spec, "why {x}?")
    '<image>Q: why {x}?'
    """
    return _rendered(spec, spec.segments, prompt, images, now)


def _rendered(
    spec: PromptSpec, segments: Segments, prompt: str, images: Sequence[ImagePlace], now: datetime | None = None
) -> str:
    """Returns the joined text of segments. Raises `BadRequest` for a prompt or a number of images that do not fit."""
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise BadRequest("the prompt is not valid Unicode text") from None
    if images and not any(segment.kind == "images" for segment in segments):
        raise BadRequest(f"got {len(images)} images; allowed: none in this turn")
    turn = _Turn(spec, prompt, images, now or datetime.now())
    return "".join(turn.text_of(segment) for segment in segments)


@dataclass(frozen=True)
class _Turn:
    """Holds the values that fill the segments of one turn."""

    spec: PromptSpec
    prompt: str
    images: Sequence[ImagePlace]
    now: datetime

    def text_of(self, segment: Segment) -> str:
        if segment.kind == "images":
            return self._images(segment)
        if segment.kind == "user_text":
            return self._user_text(segment)
        return self.now.strftime(segment.format) if segment.kind == "date" else segment.text

    def _user_text(self, segment: UserTextSegment) -> str:
        text = apply_edits(segment, self.prompt)
        if self.spec.image_token in text:
            raise BadRequest(f"the prompt contains {self.spec.image_token!r}, which stands for the image")
        return text

    def _images(self, segment: ImagesSegment) -> str:
        count = len(self.images)
        most = count if segment.most is None else segment.most
        if not segment.fewest <= count <= most:
            limit = "or more" if segment.most is None else f"to {segment.most}"
            raise BadRequest(f"got {count} images; allowed: {segment.fewest} {limit}")
        texts = (image_text(self.spec, image) for image in self.images)
        return segment.between.join(segment.before + text + segment.after for text in texts)


def image_text(spec: PromptSpec, image: ImagePlace) -> str:
    """Returns the text of an image, with an image token for each of its views.

    >>> tiles = TilesText(tile="({row},{column})", row_end=";", whole="all", only="one", end=".")
    >>> segments = ({"kind": "images"}, {"kind": "user_text"})
    >>> spec = PromptSpec(segments=segments, tiles=tiles, image_token="_", image_token_id=9, add_special_tokens=False)
    >>> image_text(spec, ImagePlace((0, 0, 0), rows=1, columns=2))
    '(1,1)_(1,2)_;all_.'
    """
    tiles, token = spec.tiles, spec.image_token
    if tiles is None:
        return token * len(image.grids)
    if not image.rows:
        return tiles.only + token + tiles.end
    rows = (
        "".join(_tile_text(tiles, row, column) + token for column in range(1, image.columns + 1)) + tiles.row_end
        for row in range(1, image.rows + 1)
    )
    return "".join(rows) + tiles.whole + token + tiles.end


def _tile_text(tiles: TilesText, row: int, column: int) -> str:
    return tiles.tile.replace("{row}", str(row)).replace("{column}", str(column))


def apply_edits(segment: UserTextSegment, text: str) -> str:
    """Returns the user's text as it stands in the prompt.

    >>> apply_edits(UserTextSegment(edits=(Strip(side="end", characters=" "),)), " why? ")
    ' why?'
    """
    for edit in segment.edits:
        text = _stripped(edit, text) if isinstance(edit, Strip) else text.replace(edit.old, edit.new)
    return text


def _stripped(strip: Strip, text: str) -> str:
    if strip.side in ("start", "both"):
        text = text.lstrip(strip.characters)
    return text.rstrip(strip.characters) if strip.side in ("end", "both") else text


def expand_ids(
    ids: list[int], spec: PromptSpec, view_tokens: Sequence[int], images: Sequence[ImagePlace]
) -> EncodedPrompt:
    """Returns the ids with each view's image token repeated. Raises `BundleError` for another number of them."""
    grids = [grid for image in images for grid in image.grids]
    if ids.count(spec.image_token_id) != len(grids):
        reason = f"the tokenizer does not turn {spec.image_token!r} into this id"
        raise BundleError(MANIFEST, reason, "prompt.image_token_id")
    expanded = expand_image_tokens(np.array(ids, dtype=np.int64), spec.image_token_id, view_tokens, grids)
    return replace(expanded, images=tuple(images))


def expand_image_tokens(
    token_ids: npt.NDArray[np.int64], image_token_id: int, view_tokens: Sequence[int], grids: Sequence[int] = (0,)
) -> EncodedPrompt:
    """Repeats each image token once per token of its view; a view on grid g has `view_tokens[g]`.

    >>> expand_image_tokens(np.array([5, 9, 6, 9]), 9, [3, 2], [0, 1]).spans
    (Span(start=1, stop=4), Span(start=5, stop=7))
    """
    repeats = np.ones(len(token_ids), dtype=np.int64)
    places = token_ids == image_token_id
    repeats[places] = [view_tokens[grid] for grid in grids]
    ends = np.cumsum(repeats)[places].tolist()
    spans = tuple(Span(end - view_tokens[grid], end) for end, grid in zip(ends, grids, strict=True))
    return EncodedPrompt(np.repeat(token_ids, repeats), spans, tuple(grids))


def load_tokenizer(bundle: OpenBundle) -> Tokenizer:
    """Returns the bundle's tokenizer, without the padding and truncation that its file may enable."""
    name = bundle.manifest.tokenizer
    try:
        tokenizer = Tokenizer.from_file(str(bundle.path(name)))
    except BundleError:
        raise
    except Exception as error:  # tokenizers raises only Exception itself
        raise BundleError(name, f"is not a tokenizer: {first_line(error)}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
