"""Joins functions into one saved package, which holds every weight once."""

import json
import logging
import uuid
from collections.abc import Mapping
from pathlib import Path

from vlmprune_export.backends.coreml.convert import Model, ct, loops_allowed
from vlmprune_export.quiet_libraries import quiet

SPEC = Path("Data/com.apple.CoreML/model.mlmodel")
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122's for URLs


def save_function(model: Model, path: Path) -> None:
    """Saves one function as a package of its own."""
    with quiet(logging.ERROR), loops_allowed():
        model.save(str(path))


def join(functions: Mapping[str, Path], path: Path) -> None:
    """Joins several packages into one, whose default is the first function."""
    first, *_ = functions
    with quiet(logging.ERROR):
        if list(functions) == ["main"]:
            functions["main"].rename(path)
            return
        descriptor = ct.utils.MultiFunctionDescriptor()
        for name, source in functions.items():
            descriptor.add_function(str(source), src_function_name="main", target_function_name=name)
        descriptor.default_function_name = first
        ct.utils.save_multifunction(descriptor, str(path))


def name_items(path: Path) -> None:
    """Renames the package's items after their paths, so that equal models are equal files."""
    file = path / "Manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    items = manifest["itemInfoEntries"]
    names = {old: str(uuid.uuid5(_NAMESPACE, entry["path"])).upper() for old, entry in items.items()}
    manifest["itemInfoEntries"] = {names[old]: items[old] for old in sorted(items, key=names.__getitem__)}
    manifest["rootModelIdentifier"] = names[manifest["rootModelIdentifier"]]
    file.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
