"""Logs of one JSON object per line, which survive a kill: only whole lines count."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest


def append_json_line(path: Path, record: Mapping[str, Any]) -> None:
    """Appends one record and writes it to disk."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the whole lines; removes a last line that a kill cut off. Raises `BadRequest` for any other file."""
    if not path.is_file():
        return []
    *lines, torn = path.read_bytes().split(b"\n")
    if torn:
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    try:
        return [dict(json.loads(line)) for line in lines]
    except (ValueError, TypeError):
        raise BadRequest(f"{path}: is not a log of JSON lines; delete it to start again") from None
