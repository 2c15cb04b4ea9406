"""Pictures that are seen as tiles and the whole: which layouts there are, and the text that stands around each view."""

from typing import Any

from tokenizers import Tokenizer

from vlmprune_export.staged_model import PictureLength
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.prompt import PicturePlace, picture_text
from vlmprune_runtime.schema import ImageSpec, LongestEdge, PromptSpec, Resize, TilesText

TileLayout = tuple[int, int]
"""Rows and columns of tiles; 0 x 0 is a picture that is seen as one view."""


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
    """Returns the rows and columns of tiles that pictures may have; the last layout has the most tiles.

    The longer side of every picture becomes equally many tiles. Raises `BadRequest` where that is not so.
    """
    if spec.split is None:
        return ((0, 0),)
    first = next(iter(spec.geometric_steps), None)
    if not (isinstance(first, Resize) and isinstance(first.to, LongestEdge)):
        raise BadRequest("the image processor splits pictures of any size (do_resize is off); allowed: a longest_edge")
    edge_px = min(first.to.edge_px + first.to.edge_px % 2, first.to.limit_px)  # an odd side gets one pixel more
    most = -(-edge_px // spec.split.tile_px)
    if most == 1:
        return ((0, 0),)
    sides = range(1, most)
    return (*((rows, most) for rows in sides), *((most, columns) for columns in sides), (most, most))


def picture_lengths(image: ImageSpec, prompt: PromptSpec, tokenizer: Tokenizer) -> tuple[PictureLength, ...]:
    """Returns for each number of views that a picture may have the most text tokens between them, ascending."""
    text_tokens = dict[int, int]()
    for rows, columns in layouts_of(image):
        views = rows * columns + 1
        text = picture_text(prompt, PicturePlace((0,) * views, rows, columns))
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        text_tokens[views] = max(text_tokens.get(views, 0), len(ids) - views)
    return tuple(PictureLength(views, text_tokens[views]) for views in sorted(text_tokens))
