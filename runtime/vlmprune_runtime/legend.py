"""The legend below an overlay: how many tokens were kept, and which colour means which turn."""

from PIL import Image, ImageDraw, ImageFont

PLATE, INK, SOFT_INK = (17, 19, 24), (240, 240, 240), (160, 165, 175)
# Viridis from its bright end: the first choice catches the eye, and it is readable to the colour-blind.
COLOURS = ((253, 231, 37), (122, 209, 81), (34, 168, 132), (42, 120, 142), (65, 68, 135))
UNIT_FRACTION, SMALLEST_UNIT_PX = 1 / 42, 8


def colour_of(turn: int, turns: int) -> tuple[int, int, int]:
    """The colour of one turn out of `turns`.

    >>> colour_of(0, 5), colour_of(4, 5)
    ((253, 231, 37), (65, 68, 135))
    """
    place = turn / max(turns - 1, 1) * (len(COLOURS) - 1)
    low = min(int(place), len(COLOURS) - 2)
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(COLOURS[low], COLOURS[low + 1], strict=True)]
    return mixed[0], mixed[1], mixed[2]


def font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface."""
    return ImageFont.load_default(size_px)


def with_legend(picture: Image.Image, kept: int, visual_tokens: int, name: str = "") -> Image.Image:
    """Returns the picture with a legend of two lines below it, the first of which begins with the picture's name."""
    unit = max(SMALLEST_UNIT_PX, round(picture.width * UNIT_FRACTION))
    sheet = Image.new("RGB", (picture.width, picture.height + 4 * unit), PLATE)
    sheet.paste(picture, (0, 0))
    draw, top, face = ImageDraw.Draw(sheet), picture.height + unit // 2, font(unit)
    summary = f"{name}{kept} of {visual_tokens} visual tokens kept ({100 * kept / visual_tokens:.0f} %)"
    draw.text((unit, top), summary, fill=INK, font=face)
    _scale(draw, (unit, top + 3 * unit // 2), unit)
    return sheet


def _scale(draw: ImageDraw.ImageDraw, at: tuple[int, int], unit: int) -> None:
    """First colour to last, and what is dim."""
    left, top = at
    left = _word(draw, (left, top), "chosen first", unit)
    for step in range(8 * unit):
        colour = colour_of(step, 8 * unit)
        draw.line((left + step, top + unit // 4, left + step, top + unit * 5 // 4), fill=colour)
    left = _word(draw, (left + 8 * unit + unit // 2, top), "last", unit)
    _word(draw, (left + unit, top), "dim: dropped    darkest: not seen by the model", unit)


def _word(draw: ImageDraw.ImageDraw, at: tuple[int, int], word: str, unit: int) -> int:
    """The word written, and where the next thing may begin."""
    face = font(round(unit * 0.8))
    draw.text((at[0], at[1] + unit // 4), word, fill=SOFT_INK, font=face)
    return at[0] + round(draw.textlength(word, font=face)) + unit // 2
