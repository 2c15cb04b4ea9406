"""Answers so far, one JSON line an item, so that a killed evaluation goes on where it stopped."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest


@dataclass
class Journal:
    """`said` holds by item key what each way said. Without a path nothing is kept."""

    path: Path | None = None
    said: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, key: str, answers: Mapping[str, str]) -> None:
        """Note the answers to one item; on disk before the next is asked."""
        self.said[key] = dict(answers)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"item": key, "said": self.said[key]}, ensure_ascii=False) + "\n")


def open_journal(out: Path | None, request: str) -> Journal:
    """The journal of a request beside its result: `OUT.json` has `OUT.0123456789ab.jsonl`."""
    if out is None:
        return Journal()
    path = out.with_suffix(f".{request[:12]}.jsonl")
    return Journal(path, read_lines(path))


def read_lines(path: Path) -> dict[str, dict[str, str]]:
    """What the whole lines of a journal say; a last one that a kill cut off is taken out."""
    if not path.is_file():
        return {}
    *lines, torn = path.read_bytes().split(b"\n")
    if torn:
        path.write_bytes(b"".join(line + b"\n" for line in lines))
    try:
        records = [json.loads(line) for line in lines]
        return {str(record["item"]): dict(record["said"]) for record in records}
    except (ValueError, KeyError, TypeError):
        raise BadRequest(f"{path} is no journal of answers; delete it to start anew") from None


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, the same for the same request."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
