"""Pixels of a padding, a resize and a crop that follow each other.

Resizing goes across first and then down, as the manifest says and torchvision does. Pillow 13 picks an order by the
sizes, and since values are rounded in between, that would be seen: up to 7/255 in single pixels.
"""

from collections.abc import Iterator

from PIL import Image

from vlmprune_runtime.geometry import Placement, Span
from vlmprune_runtime.schema import Kernel
from vlmprune_runtime.schema.image import Rgb

WHOLE_PX, STRIP_PX = 2**24, 2**24
Edges = tuple[int, int, int, int]


def apply_placement(image: Image.Image, place: Placement) -> Image.Image:
    """The RGB picture after padding, resize and crop."""
    across, down = place.width, place.height
    if place.kernel is None:
        (left, right), (top, bottom) = across.shown, down.shown
        shown = crop_or_extend(_padded(image, place), (left, top, right, bottom), place.around)
    elif _is_small(image, place):
        shown = _whole_resized(_padded(image, place), place, place.kernel)
    else:
        shown = _part_resized(image, place, place.kernel)
    left, top = (axis.start_px - axis.shown.first for axis in (across, down))
    return crop_or_extend(shown, (left, top, left + across.seen_px, top + down.seen_px), place.around)


def crop_or_extend(image: Image.Image, edges: Edges, colour: Rgb) -> Image.Image:
    """What lies between left, top, right and bottom; `colour` where these reach beyond the picture."""
    left, top, right, bottom = edges
    if edges == (0, 0, *image.size):
        return image
    if left >= 0 and top >= 0 and right <= image.width and bottom <= image.height:
        return image.crop(edges)
    canvas = Image.new("RGB", (right - left, bottom - top), colour)
    canvas.paste(image, (-left, -top))
    return canvas


def _padded(image: Image.Image, place: Placement) -> Image.Image:
    across, down = place.width, place.height
    left, top = -across.before_px, -down.before_px
    return crop_or_extend(image, (left, top, left + across.padded_px, top + down.padded_px), place.padding)


def _is_small(image: Image.Image, place: Placement) -> bool:
    """Whether neither the padded nor the resized picture takes much more memory than the given one."""
    padded = place.width.padded_px * place.height.padded_px
    resized = place.width.resized_px * place.height.resized_px
    return resized <= WHOLE_PX and padded <= WHOLE_PX + 2 * image.width * image.height


def _whole_resized(image: Image.Image, place: Placement, kernel: Kernel) -> Image.Image:
    """The padded picture resized across, then down, and reduced to what is shown."""
    resample, columns, rows = _resample(kernel), place.width.shown, place.height.shown
    across = image.resize((place.width.resized_px, image.height), resample)
    across = across.crop((columns.first, 0, columns.stop, image.height))
    down = across.resize((columns.px, place.height.resized_px), resample)
    return down.crop((0, rows.first, columns.px, rows.stop))


def _part_resized(image: Image.Image, place: Placement, kernel: Kernel) -> Image.Image:
    """The same for a picture that would get huge: only what is shown, from the pixels that it depends on."""
    columns, rows = (axis.live(kernel.support_px) for axis in (place.width, place.height))
    source = place.height.source(rows, kernel.support_px)
    offset = source.first - place.height.before_px  # the given row that the first row of the source is
    given = Span(max(offset, 0), min(offset + source.px, image.height))
    narrow = _narrowed(image, place, columns, given)
    tall = crop_or_extend(
        narrow, (0, offset - given.first, columns.px, offset + source.px - given.first), place.padding
    )
    first, stop = (place.height.to_padded(row) - source.first for row in rows)
    down = tall.resize((columns.px, rows.px), _resample(kernel), (0, first, columns.px, stop))
    shown_x, shown_y = place.width.shown, place.height.shown
    left, top = shown_x.first - columns.first, shown_y.first - rows.first
    return crop_or_extend(down, (left, top, left + shown_x.px, top + shown_y.px), place.padding)


def _narrowed(image: Image.Image, place: Placement, columns: Span, rows: Span) -> Image.Image:
    """Some columns of the padded picture resized across, some given rows of them, a strip of rows after the other."""
    assert place.kernel is not None
    source = place.width.source(columns, place.kernel.support_px)
    left, right = (edge - place.width.before_px for edge in source)
    first, stop = (place.width.to_padded(column) - source.first for column in columns)
    joined = Image.new("RGB", (columns.px, rows.px))
    for top, bottom in _strips(rows, STRIP_PX // source.px):
        strip = crop_or_extend(image, (left, top, right, bottom), place.padding)
        height = bottom - top
        narrow = strip.resize((columns.px, height), _resample(place.kernel), (first, 0, stop, height))
        joined.paste(narrow, (0, top - rows.first))
    return joined


def _strips(rows: Span, height: int) -> Iterator[tuple[int, int]]:
    step = max(height, 1)
    return ((top, min(top + step, rows.stop)) for top in range(rows.first, rows.stop, step))


def _resample(kernel: Kernel) -> Image.Resampling:
    return Image.Resampling[kernel.filter.upper()]
