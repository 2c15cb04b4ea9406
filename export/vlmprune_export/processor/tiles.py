"""Images that are seen as tiles and the whole: which layouts there are, and the text that stands around each view."""

from typing import Any

from tokenizers import Tokenizer

from vlmprune_export.staged_model import ImageLength
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prompt import ImagePlace, image_text
from vlmprune_runtime.schema import ImageSpec, LongestEdge, PromptSpec, Resize, TilesText

TileLayout = tuple[int, int]
"""Rows and columns of tiles; 0 x 0 is an image that is seen as one view."""


def tiles_text(processor: Any) -> TilesText | None:
    """Returns what the processors of Idefics3 and SmolVLM write around each view, None for a processor without tiles.

    SmolVLM's processor lets the tokenizer name the two tokens, Idefics3's does not.
    """
    if not hasattr(processor.image_processor, "do_image_splitting"):
        return None
    fake = getattr(processor.tokenizer, "fake_image_token", "<fake_token_around_image>")
    whole = fake + getattr(processor.tokenizer, "global_image_token", "<global-img>")
    return TilesText(tile=fake + "<row_{row}_col_{column}>", row_end="\n", whole="\n" + whole, only=whole, end=fake)


def layouts_of(spec: ImageSpec) -> tuple[TileLayout, ...]:
    """Returns the rows and columns of tiles that images may have; the last layout has the most tiles.

    The longer side of every image becomes equally many tiles. Raises `BadRequest` where that is not so.
    """
    if spec.split is None:
        return ((0, 0),)
    first = next(iter(spec.geometric_steps), None)
    if not (isinstance(first, Resize) and isinstance(first.to, LongestEdge)):
        raise BadRequest("the image processor splits images of any size (do_resize is off); allowed: a longest_edge")
    edge_px = min(first.to.edge_px + first.to.edge_px % 2, first.to.limit_px)  # an odd side gets one pixel more
    most = -(-edge_px // spec.split.tile_px)
    if most == 1:
        return ((0, 0),)
    sides = range(1, most)
    return (*((rows, most) for rows in sides), *((most, columns) for columns in sides), (most, most))


def image_lengths(image: ImageSpec, prompt: PromptSpec, tokenizer: Tokenizer) -> tuple[ImageLength, ...]:
    """Returns for each number of views that an image may have the most text tokens between them, ascending."""
    text_tokens = dict[int, int]()
    for rows, columns in layouts_of(image):
        views = rows * columns + 1
        text = image_text(prompt, ImagePlace((0,) * views, rows, columns))
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        text_tokens[views] = max(text_tokens.get(views, 0), len(ids) - views)
    return tuple(ImageLength(views, text_tokens[views]) for views in sorted(text_tokens))
