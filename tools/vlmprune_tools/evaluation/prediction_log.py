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
    """Predictions by item key and config name. Without a path nothing is written."""

    path: Path | None = None
    predictions: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, key: str, predictions: Mapping[str, str]) -> None:
        """Adds the predictions for one item and writes them to disk."""
        self.predictions[key] = dict(predictions)
        if self.path is not None:
            append_json_line(self.path, {"item": key, "predictions": self.predictions[key]})


def open_prediction_log(out: Path | None, request: str) -> PredictionLog:
    """Opens a request's log beside its result: `OUT.json` has `OUT.0123456789ab.jsonl`."""
    if out is None:
        return PredictionLog()
    path = out.with_suffix(f".{request[:12]}.jsonl")
    return PredictionLog(path, read_predictions(path))


def read_predictions(path: Path) -> dict[str, dict[str, str]]:
    """Reads the predictions by item key and config name. Raises `BadRequest` for any other file."""
    try:
        return {str(record["item"]): dict(record["predictions"]) for record in read_json_lines(path)}
    except (ValueError, KeyError, TypeError):
        raise BadRequest(f"{path}: is not a log of predictions; delete it to start again") from None


def digest(content: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of plain data, which equal requests share."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
