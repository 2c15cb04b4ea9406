"""Draws the legend below an overlay: how many tokens were kept, and which colour stands for which rank."""

from PIL import Image, ImageDraw, ImageFont

BACKGROUND, INK, SOFT_INK = (17, 19, 24), (240, 240, 240), (160, 165, 175)
# Viridis from its bright end: the first choice catches the eye, and the scale is readable to the colour-blind.
COLOURS = ((253, 231, 37), (122, 209, 81), (34, 168, 132), (42, 120, 142), (65, 68, 135))
UNIT_FRACTION, SMALLEST_UNIT_PX = 1 / 42, 8


def colour_of(rank: int, ranks: int) -> tuple[int, int, int]:
    """Returns the colour of one rank out of `ranks`.

    >>> colour_of(0, 5), colour_of(4, 5)
    ((253, 231, 37), (65, 68, 135))
    """
    position = rank / max(ranks - 1, 1) * (len(COLOURS) - 1)
    low = min(int(position), len(COLOURS) - 2)
    mixed = [round(a + (b - a) * (position - low)) for a, b in zip(COLOURS[low], COLOURS[low + 1], strict=True)]
    return mixed[0], mixed[1], mixed[2]


def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Returns Pillow's own typeface in a size."""
    return ImageFont.load_default(size_px)


def with_legend(image: Image.Image, kept: int, visual_tokens: int, name: str = "") -> Image.Image:
    """Returns the image with a legend of two lines below it, the first of which begins with the image's name."""
    unit = max(SMALLEST_UNIT_PX, round(image.width * UNIT_FRACTION))
    sheet = Image.new("RGB", (image.width, image.height + 4 * unit), BACKGROUND)
    sheet.paste(image, (0, 0))
    draw, top, face = ImageDraw.Draw(sheet), image.height + unit // 2, font(unit)
    summary = f"{name}{kept} of {visual_tokens} visual tokens kept ({100 * kept / visual_tokens:.0f} %)"
    draw.text((unit, top), summary, fill=INK, font=face)
    _scale(draw, (unit, top + 3 * unit // 2), unit)
    return sheet


def _scale(draw: ImageDraw.ImageDraw, at: tuple[int, int], unit: int) -> None:
    """Draws the scale of colours, and a note on what the dim parts mean."""
    left, top = at
    left = _write(draw, (left, top), "chosen first", unit)
    for step in range(8 * unit):
        colour = colour_of(step, 8 * unit)
        draw.line((left + step, top + unit // 4, left + step, top + unit * 5 // 4), fill=colour)
    left = _write(draw, (left + 8 * unit + unit // 2, top), "last", unit)
    _write(draw, (left + unit, top), "dim: dropped    darkest: not seen by the model", unit)


def _write(draw: ImageDraw.ImageDraw, at: tuple[int, int], words: str, unit: int) -> int:
    """Writes words, and returns the left edge of what may follow them."""
    face = font(round(unit * 0.8))
    draw.text((at[0], at[1] + unit // 4), words, fill=SOFT_INK, font=face)
    return at[0] + round(draw.textlength(words, font=face)) + unit // 2
