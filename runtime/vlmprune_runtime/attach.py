"""Attaches a result to the bundle that it was measured on: what `--attach` does in every command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmprune_runtime.atomic import save_text
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.schema import MANIFEST


def attach(folder: Path, field: str, result: Mapping[str, Any]) -> None:
    """Writes a result into a field of the bundle's manifest, whole or not at all. Raises `BundleError`."""
    manifest = open_bundle(folder, verify=False).manifest.model_copy(update={field: dict(result)})
    save_text(manifest.model_dump_json(indent=2) + "\n", folder / MANIFEST)
