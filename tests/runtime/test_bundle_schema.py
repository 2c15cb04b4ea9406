"""The committed JSON Schema of the manifest: current, and it accepts what the golden bundles are."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from vlmprune_runtime import schema
from vlmprune_runtime.schema.json_schema import json_schema

COMMITTED = Path(schema.__file__).parent / "bundle.schema.json"
GOLDEN = Path(__file__).parents[1] / "golden"
BUNDLES = sorted(path.name for path in GOLDEN.glob("bundle*") if path.is_dir())


def manifest(name: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((GOLDEN / name / "bundle.json").read_text())
    return fields


def test_committed_schema_is_current() -> None:
    """Else: `python -m vlmprune_runtime.schema > runtime/vlmprune_runtime/schema/bundle.schema.json`."""
    assert json.loads(COMMITTED.read_text()) == json_schema()


@pytest.mark.parametrize("name", BUNDLES)
def test_golden_bundles_are_valid(name: str) -> None:
    jsonschema.validate(manifest(name), json.loads(COMMITTED.read_text()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["schema", "major"], 1),
        (["stages", "head", "inputs", 0, "source"], "somewhere"),
        (["stages", "head", "role"], "middle"),
        (["positions", "axes"], 2),
        (["files", "head.onnx", "sha256"], "short"),
    ],
)
def test_schema_refuses(path: list[Any], value: Any) -> None:
    fields = manifest("bundle")
    target: Any = fields
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(fields, json.loads(COMMITTED.read_text()))
