"""Records to report: a real one of the golden bundle and a made-up evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlmprune_runtime.benchmark import BenchmarkRequest, measure

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="session")
def benchmark_fields() -> dict[str, Any]:
    """Not to be changed."""
    request = BenchmarkRequest(GOLDEN / "image.png", "why?", repetitions=2, warmups=1, tokens=3)
    fields: dict[str, Any] = json.loads(measure([GOLDEN / "bundle"], request).model_dump_json())
    return fields


@pytest.fixture
def benchmark_file(benchmark_fields: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(benchmark_fields))
    return path


def row(method: str, keep: int, accuracy: float, task: str = "naming") -> dict[str, Any]:
    """One row whose interval is five points either way."""
    return {
        "task": task,
        "method": method,
        "keep": keep,
        "accuracy": accuracy,
        "low": max(0.0, accuracy - 0.05),
        "high": min(1.0, accuracy + 0.05),
        "n": 200,
        "retained_percent": 100 * accuracy / 0.9,
    }


@pytest.fixture
def accuracy_fields() -> dict[str, Any]:
    """Two tasks, two pruners, one rate missing."""
    rows = [row("unpruned", 576, 0.9), row("vlm-pruner", 64, 0.88), row("vlm-pruner", 32, 0.84), row("random", 64, 0.7)]
    rows += [row("unpruned", 576, 0.5, "reading"), row("vlm-pruner", 64, 0.4, "reading")]
    data = {"name": "scenes", "questions": 20, "pictures": 7, "templated": True}
    return {"kind": "accuracy", "model": "pocket", "visual_tokens": 576, "data": data, "rows": rows, "seed": 0}


@pytest.fixture
def accuracy_file(accuracy_fields: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "accuracy.json"
    path.write_text(json.dumps(accuracy_fields))
    return path
