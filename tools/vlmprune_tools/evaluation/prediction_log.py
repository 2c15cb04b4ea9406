"""A log of predictions, one JSON line per item, from which a killed evaluation resumes."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.json_lines import append_json_line, read_json_lines

Kept = Sequence[float]
"""For each cut, how many visual tokens of a view stay."""


@dataclass
class PredictionLog:
    """Predictions by item key and config name. Without a path nothing is written.

    `kept` has what stayed at each cut, of the configs whose number depends on the image.

    `digests` are those of the configs by name: what was predicted under another config of the same name is not read.
    """

    path: Path | None = None
    predictions: dict[str, dict[str, str]] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    kept: dict[str, dict[str, Kept]] = field(default_factory=dict)

    def known(self, key: str) -> set[str]:
        """Returns the names of the configs that have predicted an item."""
        return set(self.predictions.get(key, ()))

    def add(self, key: str, predictions: Mapping[str, str], kept: Mapping[str, Kept] | None = None) -> None:
        """Adds the predictions for one item and writes them to disk."""
        self.predictions.setdefault(key, {}).update(predictions)
        self.kept.setdefault(key, {}).update(kept or {})
        if self.path is not None:
            configs = {name: self.digests[name] for name in predictions}
            record = {"item": key, "predictions": dict(predictions), "configs": configs}
            append_json_line(self.path, record | ({"kept": dict(kept)} if kept else {}))


def open_prediction_log(out: Path | None, request: str, configs: Mapping[str, str]) -> PredictionLog:
    """Opens a request's log beside its result: `OUT.json` has `OUT.0123456789ab.jsonl`.

    `configs` are the digests of the configs by name; the request's digest is of all else.
    """
    if out is None:
        return PredictionLog(digests=configs)
    path = out.with_suffix(f".{request[:12]}.jsonl")
    return read_log(path, configs)


def read_log(path: Path, configs: Mapping[str, str]) -> PredictionLog:
    """Reads what configs predicted. Raises `BadRequest` for any other file."""
    log = PredictionLog(path, digests=configs)
    try:
        for record in read_json_lines(path):
            made_by, kept = record["configs"], record.get("kept", {})
            same = [name for name in record["predictions"] if made_by[name] == configs.get(name)]
            log.predictions.setdefault(str(record["item"]), {}).update(
                {name: record["predictions"][name] for name in same}
            )
            log.kept.setdefault(str(record["item"]), {}).update({name: kept[name] for name in same if name in kept})
        return log
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadRequest(f"{path}: is not a log of predictions; delete it to start again") from None


def digest(content: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of plain data, which equal requests share."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
