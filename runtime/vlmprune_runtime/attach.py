"""Attaches a result to the bundle that it was measured on, as `--attach` does in every command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmprune_runtime.atomic import check_output_file, save_text, writing
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.lock import locked
from vlmprune_runtime.schema import MANIFEST

PATIENCE_S = 60.0


def check_attach(folder: Path) -> None:
    """Raises `BundleError` or `BadRequest` if a result could not be attached, before minutes of measuring."""
    open_bundle(folder, verify=False)
    check_output_file(folder / MANIFEST)


def attach(folder: Path, field: str, result: Mapping[str, Any]) -> None:
    """Writes a result into a field of the bundle's manifest; the manifest is replaced whole or not at all.

    The manifest is read again under a lock, so that a result which another command attached meanwhile stays. Raises
    `BundleError`, and `BadRequest` if the folder cannot be written.
    """
    path = folder.resolve() / MANIFEST
    with writing(path), locked(path, PATIENCE_S):
        place = check_output_file(path)
        manifest = open_bundle(folder, verify=False).manifest.model_copy(update={field: dict(result)})
        save_text(manifest.model_dump_json(indent=2) + "\n", place)
