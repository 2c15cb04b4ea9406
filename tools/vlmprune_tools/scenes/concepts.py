"""The concepts that the model names; each is one token, so the projector can start from its embedding."""

import json
from collections.abc import Iterable
from pathlib import Path

from vlmprune_export.pocket_model.trained_weights import TRAINED
from vlmprune_runtime.errors import BadRequest

HERE = Path(__file__).parent


def read_groups(lines: Iterable[str]) -> dict[str, dict[str, str | None]]:
    """Reads groups of related concepts, some with the code point of their artwork (it has another name).

    >>> read_groups(["# a remark", "pets: dog cat=1f408"])
    {'pets': {'dog': None, 'cat': '1f408'}}
    """
    groups: dict[str, dict[str, str | None]] = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            group, _, members = line.partition(":")
            groups[group] = {name: code or None for name, _, code in (item.partition("=") for item in members.split())}
    return groups


GROUPS = read_groups((HERE / "concepts.txt").read_text(encoding="utf-8").splitlines())
CONCEPTS = tuple(name for members in GROUPS.values() for name in members)
GROUP_OF = {name: group for group, members in GROUPS.items() for name in members}
# A concept is never asked for as absent if one that it includes is present.
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

# Code points of concepts whose emoji has another name.
CODE_OF = {name: code for members in GROUPS.values() for name, code in members.items() if code}


def known_concepts(weights: Path | None = None) -> tuple[str, ...]:
    """Returns the concepts that packed weights were trained on (default: the shipped weights).

    Raises `BadRequest` if no record lies beside the weights.
    """
    path = (weights or TRAINED).with_suffix(".json")
    if not path.is_file():
        raise BadRequest(f"no {path} beside the weights says what they were trained on")
    record = json.loads(path.read_text(encoding="utf-8"))
    return tuple(name for name in CONCEPTS if name in set(record["labels"]))
