"""A bundle's manifest, read and changed as tests want it."""

import json
from pathlib import Path
from typing import Any

from vlmprune_runtime.bundle import file_sha256


def manifest_of(bundle: Path) -> dict[str, Any]:
    """bundle.json as it lies there."""
    found: dict[str, Any] = json.loads((bundle / "bundle.json").read_text())
    return found


def change_manifest(bundle: Path, **fields: Any) -> None:
    """Bring sizes and hashes up to date, as a careless tool would, and set fields."""
    manifest = manifest_of(bundle)
    for name, entry in manifest["files"].items():
        entry |= {"size_bytes": (bundle / name).stat().st_size, "sha256": file_sha256(bundle / name)}
    (bundle / "bundle.json").write_text(json.dumps(manifest | fields))
