"""Icon sets that come as one JSON file of SVG bodies under names, made pictures under code points once fetched."""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from vlmprune_tools.extra import tools_package

ICONS, DRAWN = "icons.json", "drawn"  # the file of a set; the folder of its pictures
SIDE_PX, SIDE_UNITS = 128, 16  # of a picture; of an icon when the set gives none

OTHER_THINGS = {"streamline-emojis": ("turkey",), "fxemoji": ("keyboard", "window")}  # named like one, but not it


def squeezed(name: str) -> str:
    """A name without what sets write differently.

    >>> squeezed("Hot beverage"), squeezed("lion-face")
    ('hotbeverage', 'lionface')
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())


def names_of(label: str, code: str) -> Iterator[str]:
    """What a set may call the picture of a code: its label, and the older name that Unicode gives a single character.

    >>> list(names_of("panda", "1f43c"))
    ['panda', 'pandaface']
    """
    yield squeezed(label)
    points = [point for point in code.split("-") if point != "fe0f"]
    if len(points) == 1:
        yield squeezed(unicodedata.name(chr(int(points[0], 16)), ""))


def svg_of(icons: Mapping[str, object], icon: Mapping[str, object]) -> str:
    """A whole SVG of one icon of a set."""
    wide, high = (icon.get(side, icons.get(side, SIDE_UNITS)) for side in ("width", "height"))
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}">{icon["body"]}</svg>'


def draw_icons(folder: Path, labels: Mapping[str, str]) -> None:
    """Draw the icons of a fetched set that have a label, as `drawn/CODE.png`; `labels`: by code."""
    icons = json.loads((folder / ICONS).read_text(encoding="utf-8"))
    wrong = OTHER_THINGS.get(icons["prefix"], ())
    named = {squeezed(name): icon for name, icon in icons["icons"].items() if name not in wrong}
    draw = tools_package("resvg_py").svg_to_bytes
    (folder / DRAWN).mkdir()
    for code, label in labels.items():
        icon = next((named[name] for name in names_of(label, code) if name in named), None)
        if icon is not None:
            picture = draw(svg_string=svg_of(icons, icon), width=SIDE_PX, height=SIDE_PX, skip_system_fonts=True)
            (folder / DRAWN / f"{code}.png").write_bytes(picture)
