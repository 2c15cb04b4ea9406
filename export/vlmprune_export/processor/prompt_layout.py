"""Splits rendered prompts where images, the user's text and dates stand."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from vlmprune_export.processor.chat_template import DATE_BEGIN, DATE_END
from vlmprune_runtime.schema import DateSegment, ImagesSegment, Segment, Segments, TextSegment, UserTextSegment


@dataclass(frozen=True)
class PromptLayout:
    """The text before and after the images; the user's text is a mark in one of them."""

    before: str
    images: ImagesSegment | None
    after: str

    def segments(self, user_text: UserTextSegment, mark: str) -> Segments:
        """Returns the layout as the manifest declares it."""
        images = () if self.images is None else (self.images,)
        return (*_cut(self.before, user_text, mark), *images, *_cut(self.after, user_text, mark))


def find_layout(rendered: Mapping[int, str], image_token: str) -> PromptLayout | None:
    """Returns the layout that explains prompts by their number of images, None if that with one is not explained.

    >>> prompts = {count: "<i>\\n" * count + "Q: x" for count in range(4)}
    >>> find_layout(prompts, "<i>").images.after
    '\\n'
    """
    before, *after = rendered.get(1, "").split(image_token)
    if len(after) != 1:
        return None
    between = _between(rendered, before, after[0], image_token)
    if between is None:
        return PromptLayout(before, ImagesSegment(most=1), after[0])
    return _without_images(rendered.get(0), before, after[0], between)


def text_layout(rendered: str) -> PromptLayout:
    """Returns the layout of a prompt without images."""
    return PromptLayout(rendered, None, "")


def _between(rendered: Mapping[int, str], before: str, after: str, image_token: str) -> str | None:
    """Returns the text between two images, None if several images are not rendered in a regular way."""
    two = rendered.get(2, "")
    pieces = two.split(image_token)
    if len(pieces) != 3 or (pieces[0], pieces[2]) != (before, after):
        return None
    regular = rendered.get(3) == image_token.join([before, pieces[1], pieces[1], after])
    return pieces[1] if regular else None


def _without_images(empty: str | None, before: str, after: str, between: str) -> PromptLayout:
    """Returns the layout in which text that is missing without an image belongs to each image."""
    if empty == before + after:
        return PromptLayout(before, ImagesSegment(between=between, fewest=0), after)
    for cut in range(len(between), -1, -1):
        behind, ahead = between[:cut], between[cut:]
        outer, inner = before.removesuffix(ahead), after.removeprefix(behind)
        if before.endswith(ahead) and after.startswith(behind) and empty == outer + inner:
            return PromptLayout(outer, ImagesSegment(before=ahead, after=behind, fewest=0), inner)
    return PromptLayout(before, ImagesSegment(between=between), after)


def _cut(text: str, user_text: UserTextSegment, mark: str) -> Iterator[Segment]:
    first, *rest = text.split(mark)
    yield from _dated(first)
    for piece in rest:
        yield user_text
        yield from _dated(piece)


def _dated(text: str) -> Iterator[Segment]:
    for nth, piece in enumerate(re.split(f"{DATE_BEGIN}(.*?){DATE_END}", text, flags=re.DOTALL)):
        if nth % 2:
            yield DateSegment(format=piece)
        elif piece:
            yield TextSegment(text=piece)


def date_formats(texts: Iterable[str]) -> list[str]:
    """Returns the formats between marks.

    >>> date_formats(["on \\ue000%d %b\\ue001."])
    ['%d %b']
    """
    return re.findall(f"{DATE_BEGIN}(.*?){DATE_END}", "".join(texts), flags=re.DOTALL)
