"""A log of predictions, one JSON line per item, from which a killed evaluation resumes."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.json_lines import append_json_line, read_json_lines


@dataclass
class PredictionLog:
    """Predictions by item key and config name. Without a path nothing is written.

    `digests` are those of the configs by name: what was predicted under another config of the same name is not read.
    """

    path: Path | None = None
    predictions: dict[str, dict[str, str]] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)

    def known(self, key: str) -> set[str]:
        """Returns the names of the configs that have predicted an item."""
        return set(self.predictions.get(key, ()))

    def add(self, key: str, predictions: Mapping[str, str]) -> None:
        """Adds the predictions for one item and writes them to disk."""
        self.predictions.setdefault(key, {}).update(predictions)
        if self.path is not None:
            configs = {name: self.digests[name] for name in predictions}
            append_json_line(self.path, {"item": key, "predictions": dict(predictions), "configs": configs})


def open_prediction_log(out: Path | None, request: str, configs: Mapping[str, str]) -> PredictionLog:
    """Opens a request's log beside its result: `OUT.json` has `OUT.0123456789ab.jsonl`.

    `configs` are the digests of the configs by name; the request's digest is of all else.
    """
    if out is None:
        return PredictionLog(digests=configs)
    path = out.with_suffix(f".{request[:12]}.jsonl")
    return PredictionLog(path, read_predictions(path, configs), configs)


def read_predictions(path: Path, configs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Reads the predictions of configs by item key and config name. Raises `BadRequest` for any other file."""
    found: dict[str, dict[str, str]] = {}
    try:
        for record in read_json_lines(path):
            of_item, made_by = found.setdefault(str(record["item"]), {}), record["configs"]
            same = [name for name in record["predictions"] if made_by[name] == configs.get(name)]
            of_item.update({name: record["predictions"][name] for name in same})
        return found
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadRequest(f"{path}: is not a log of predictions; delete it to start again") from None


def digest(content: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of plain data, which equal requests share."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
