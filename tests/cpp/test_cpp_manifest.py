"""The C++ reader of the manifest against the manifest's JSON Schema; needs neither a compiler nor ExecuTorch."""

import json
import re
from pathlib import Path
from typing import Any

from vlmprune_runtime.schema import base

SOURCES = Path(__file__).parents[2] / "runtime" / "cpp" / "src"
SCHEMA = Path(base.__file__).with_name("bundle.schema.json")
READS = re.compile(r'(?:\b(?:at|find|size)\(|(?:whole_or_none|check_only)\(\w+, )"(\w+)"')
OLD = {"schema_version"}
"""Fields of version 1, by which it is told apart."""


def test_every_field_that_is_read_is_in_the_schema() -> None:
    read = set(READS.findall((SOURCES / "manifest.cpp").read_text()))
    assert {"grids", "source", "entry", "prefill", "phase", "hidden_size"} <= read
    assert read - OLD <= field_names(json.loads(SCHEMA.read_text()))


def field_names(schema: Any) -> set[str]:
    """The names of all fields of all records."""
    if isinstance(schema, list):
        return set().union(*map(field_names, schema))
    if not isinstance(schema, dict):
        return set()
    own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
    return own.union(*map(field_names, schema.values()))
