"""Computes the pixels of a padding, a resize and a crop that follow each other.

Resizing runs horizontally first and then vertically, as the manifest says and torchvision does. Pillow 13 chooses the
order by the sizes, and since it rounds values between the passes, single pixels would differ by up to 7/255.
"""

from collections.abc import Iterator

from PIL import Image

from vlmprune_runtime.geometry import Placement, Span
from vlmprune_runtime.schema import Kernel
from vlmprune_runtime.schema.image import Rgb

WHOLE_PX, STRIP_PX = 2**24, 2**24
Edges = tuple[int, int, int, int]


def apply_placement(image: Image.Image, place: Placement) -> Image.Image:
    """Returns the RGB image after padding, resize and crop."""
    across, down = place.width, place.height
    if place.kernel is None:
        (left, right), (top, bottom) = across.cropped, down.cropped
        cropped = crop_or_extend(_padded(image, place), (left, top, right, bottom), place.crop_colour)
    elif _is_small(image, place):
        cropped = _whole_resized(_padded(image, place), place, place.kernel)
    else:
        cropped = _part_resized(image, place, place.kernel)
    left, top = (axis.crop_start_px - axis.cropped.first for axis in (across, down))
    return crop_or_extend(cropped, (left, top, left + across.crop_px, top + down.crop_px), place.crop_colour)


def crop_or_extend(image: Image.Image, edges: Edges, colour: Rgb) -> Image.Image:
    """Returns the part between left, top, right and bottom; what reaches beyond the image has one colour."""
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
    left, top = -across.pad_before_px, -down.pad_before_px
    return crop_or_extend(image, (left, top, left + across.padded_px, top + down.padded_px), place.pad_colour)


def _is_small(image: Image.Image, place: Placement) -> bool:
    """Says whether neither the padded nor the resized image takes much more memory than the given image."""
    padded = place.width.padded_px * place.height.padded_px
    resized = place.width.resized_px * place.height.resized_px
    return resized <= WHOLE_PX and padded <= WHOLE_PX + 2 * image.width * image.height


def _whole_resized(image: Image.Image, place: Placement, kernel: Kernel) -> Image.Image:
    """Returns the padded image, resized horizontally and then vertically, without what the crop removes."""
    resample, columns, rows = _resample(kernel), place.width.cropped, place.height.cropped
    across = image.resize((place.width.resized_px, image.height), resample)
    across = across.crop((columns.first, 0, columns.stop, image.height))
    down = across.resize((columns.px, place.height.resized_px), resample)
    return down.crop((0, rows.first, columns.px, rows.stop))


def _part_resized(image: Image.Image, place: Placement, kernel: Kernel) -> Image.Image:
    """Returns the same for an image that would become huge: it computes only what the crop keeps, from a part."""
    columns, rows = (axis.cropped_content(kernel.support_px) for axis in (place.width, place.height))
    source = place.height.source(rows, kernel.support_px)
    offset = source.first - place.height.pad_before_px  # the row of the image that is the first row of the source
    available = Span(max(offset, 0), min(offset + source.px, image.height))
    narrow = _resized_across(image, place, columns, available)
    tall = crop_or_extend(
        narrow, (0, offset - available.first, columns.px, offset + source.px - available.first), place.pad_colour
    )
    first, stop = (place.height.to_padded(row) - source.first for row in rows)
    down = tall.resize((columns.px, rows.px), _resample(kernel), (0, first, columns.px, stop))
    cropped_x, cropped_y = place.width.cropped, place.height.cropped
    left, top = cropped_x.first - columns.first, cropped_y.first - rows.first
    return crop_or_extend(down, (left, top, left + cropped_x.px, top + cropped_y.px), place.pad_colour)


def _resized_across(image: Image.Image, place: Placement, columns: Span, rows: Span) -> Image.Image:
    """Returns these columns of the image resized horizontally, for these of its rows; it takes one strip at a time."""
    assert place.kernel is not None
    source = place.width.source(columns, place.kernel.support_px)
    left, right = (edge - place.width.pad_before_px for edge in source)
    first, stop = (place.width.to_padded(column) - source.first for column in columns)
    joined = Image.new("RGB", (columns.px, rows.px))
    for top, bottom in _strips(rows, STRIP_PX // source.px):
        strip = crop_or_extend(image, (left, top, right, bottom), place.pad_colour)
        height = bottom - top
        narrow = strip.resize((columns.px, height), _resample(place.kernel), (first, 0, stop, height))
        joined.paste(narrow, (0, top - rows.first))
    return joined


def _strips(rows: Span, height: int) -> Iterator[tuple[int, int]]:
    step = max(height, 1)
    return ((top, min(top + step, rows.stop)) for top in range(rows.first, rows.stop, step))


def _resample(kernel: Kernel) -> Image.Resampling:
    return Image.Resampling[kernel.filter.upper()]
