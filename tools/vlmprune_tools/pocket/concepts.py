"""What the model learns to name; each concept is one token, so the projector can start from its embedding."""

import json
from collections.abc import Iterable
from pathlib import Path

from vlmprune_export.pocket.trained import TRAINED
from vlmprune_runtime.errors import BadRequest

HERE = Path(__file__).parent


def read_kin(lines: Iterable[str]) -> dict[str, dict[str, str | None]]:
    """Groups of kindred concepts, each with the code point of its artwork where that is not filed under its name.

    >>> read_kin(["# a remark", "pets: dog cat=1f408"])
    {'pets': {'dog': None, 'cat': '1f408'}}
    """
    kin: dict[str, dict[str, str | None]] = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            group, _, members = line.partition(":")
            kin[group] = {name: code or None for name, _, code in (item.partition("=") for item in members.split())}
    return kin


KIN = read_kin((HERE / "concepts.txt").read_text(encoding="utf-8").splitlines())
CONCEPTS = tuple(name for members in KIN.values() for name in members)
GROUP_OF = {name: group for group, members in KIN.items() for name in members}
# Never asked for as absent where one of the second is there.
INCLUDES = {
    "car": ("taxi", "ambulance", "van", "truck"),
    "tree": ("pine", "palm"),
    "fish": ("shark",),
    "shoe": ("boot",),
    "hat": ("cap", "crown", "helmet"),
    "book": ("notebook",),
    "money": ("coin",),
    "clock": ("watch",),
    "phone": ("telephone",),
    "leaf": ("clover",),
    "house": ("castle", "hut", "church"),
    "ship": ("canoe",),
    "bread": ("sandwich",),
    "bulb": ("candle", "flashlight", "lantern"),
}
WORDS = tuple((HERE / "words.txt").read_text(encoding="utf-8").split())

COLOURS = {
    "red": (200, 40, 40),
    "blue": (40, 70, 200),
    "green": (40, 160, 60),
    "yellow": (230, 210, 60),
    "gray": (128, 128, 128),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
    "purple": (130, 50, 160),
}

SHAPES = ("circle", "rectangle", "triangle")
SHAPE_COLOURS = ("teal", "brown")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

# Labels whose emoji is filed under another name.
CODE_OF = {name: code for members in KIN.values() for name, code in members.items() if code}


def known_concepts(weights: Path | None = None) -> tuple[str, ...]:
    """The concepts that packed weights were trained on (default: the shipped ones); `BadRequest` without a record."""
    path = (weights or TRAINED).with_suffix(".json")
    if not path.is_file():
        raise BadRequest(f"no {path} beside the weights says what they were trained on; `pack` writes both")
    record = json.loads(path.read_text(encoding="utf-8"))
    return tuple(name for name in CONCEPTS if name in set(record["labels"]))
