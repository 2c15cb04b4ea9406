"""Prints the record's JSON Schema, for `schema.json` beside this file."""

import json

from vlmprune_runtime.benchmark.record import json_schema

print(json.dumps(json_schema(), indent=1))
