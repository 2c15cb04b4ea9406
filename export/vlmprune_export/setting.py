"""A setting as commands take it: NAME=VALUE."""

import json
from typing import Any

from vlmprune_runtime.errors import BadRequest


def parse_setting(text: str) -> tuple[str, Any]:
    """Returns the setting's name and its value, which is read as JSON. Raises `BadRequest`.

    >>> parse_setting("batch=1")
    ('batch', 1)
    """
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise BadRequest(f"setting {text!r}: allowed: NAME=VALUE with a number, true or false") from None
