"""Prints the JSON Schema of `bundle.json`: `python -m vlmprune_runtime.schema > .../schema/bundle.schema.json`."""

import json

from vlmprune_runtime.schema.json_schema import json_schema

if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))
