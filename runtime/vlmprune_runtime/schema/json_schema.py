"""Makes the JSON Schema of `bundle.json` for readers in other languages; it is committed as `bundle.schema.json`."""

from typing import Any

from vlmprune_runtime.schema.bundle import Bundle

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """Returns the schema as it follows from the models."""
    return {"$schema": DIALECT, **Bundle.model_json_schema(by_alias=True)}
