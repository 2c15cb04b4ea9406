"""A setting as commands take it: NAME=VALUE."""

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
