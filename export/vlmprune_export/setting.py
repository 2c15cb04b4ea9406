"""Parses settings as commands take them: NAME=VALUE, and grids of visual tokens."""

import json
import re
from typing import Any

from vlmprune_runtime.errors import BadRequest


def parse_setting(text: str) -> tuple[str, Any]:
    """Returns the setting's name and its value, which is read as JSON, or is a word. Raises `BadRequest`.

    >>> parse_setting("batch=1"), parse_setting("place=vision")
    (('batch', 1), ('place', 'vision'))
    """
    name, _, value = text.partition("=")
    if re.fullmatch(r"[a-z][a-z0-9_-]*", value) and value not in ("true", "false", "null"):
        return name, value
    try:
        return name, json.loads(value)
    except ValueError:
        raise BadRequest(f"setting {text!r}: allowed: NAME=VALUE with a number, a word, true or false") from None


def parse_grids(text: str) -> tuple[tuple[int, int], ...]:
    """Returns grids (height, width) from HxW with commas between them. Raises `BadRequest`.

    >>> parse_grids("16x16,16x24")
    ((16, 16), (16, 24))
    """
    parts = [part.strip() for part in text.split(",")]
    if len(set(parts)) != len(parts) or not all(
        re.fullmatch(r"[1-9][0-9]{0,3}x[1-9][0-9]{0,3}", part) for part in parts
    ):
        raise BadRequest(f"grids: got {text!r}; allowed: different HEIGHTxWIDTH with commas, like 16x16,16x24")
    return tuple((int(height), int(width)) for height, width in (part.split("x") for part in parts))
