"""Renders icon sets, which come as one JSON file of named SVG bodies, as images named by code point."""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from vlmprune_tools.optional_packages import tools_package

ICONS, RENDERED = "icons.json", "drawn"  # the file of a set; the folder of its images
SIDE_PX, DEFAULT_UNITS = 128, 16  # sides of an image, and of an icon if the set states none

# Icons that have a concept's name but show another thing, by set.
MISNAMED = {"streamline-emojis": ("turkey",), "fxemoji": ("keyboard", "window")}


def squeeze(name: str) -> str:
    """Removes from a name all that sets write differently.

    >>> squeeze("Hot beverage"), squeeze("lion-face")
    ('hotbeverage', 'lionface')
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def names_of(label: str, code: str) -> Iterator[str]:
    """Yields names that a set may give a code: its label, and Unicode's older name of a single character.

    >>> list(names_of("panda", "1f43c"))
    ['panda', 'pandaface']
    """
    yield squeeze(label)
    points = [point for point in code.split("-") if point != "fe0f"]
    if len(points) == 1:
        yield squeeze(unicodedata.name(chr(int(points[0], 16)), ""))


def svg_of(icons: Mapping[str, object], icon: Mapping[str, object]) -> str:
    """Returns the whole SVG of one icon of a set."""
    width, height = (icon.get(side, icons.get(side, DEFAULT_UNITS)) for side in ("width", "height"))
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'


def render_icons(folder: Path, labels: Mapping[str, str]) -> None:
    """Renders the icons of a fetched set that have a label as `drawn/CODE.png`; `labels` are by code."""
    icons = json.loads((folder / ICONS).read_text(encoding="utf-8"))
    wrong = MISNAMED.get(icons["prefix"], ())
    named = {squeeze(name): icon for name, icon in icons["icons"].items() if name not in wrong}
    svg_to_png = tools_package("resvg_py").svg_to_bytes
    (folder / RENDERED).mkdir()
    for code, label in labels.items():
        icon = next((named[name] for name in names_of(label, code) if name in named), None)
        if icon is not None:
            image = svg_to_png(svg_string=svg_of(icons, icon), width=SIDE_PX, height=SIDE_PX, skip_system_fonts=True)
            (folder / RENDERED / f"{code}.png").write_bytes(image)
