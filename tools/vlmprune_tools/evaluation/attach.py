"""`--attach`: the accuracy of a bundle in its own manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmprune_runtime.atomic import save_text
from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.schema import MANIFEST


def check_attach(folder: Path) -> None:
    """Refuse before anything is asked what is no bundle."""
    open_bundle(folder, verify=False)


def attach(record: Mapping[str, Any], folder: Path) -> None:
    """Write the record into `bundle.json`; `BadRequest` if it was measured on another model or cut.

    Measured on the checkpoint that the bundle was made from, or on the bundle itself.
    """
    manifest = open_bundle(folder, verify=False).manifest
    model = record["identity"]
    if model["source_sha256"] != manifest.source.sha256:
        raise BadRequest(f"{folder} was made from another checkpoint than the one that was evaluated (other sha256)")
    if model["layer"] != manifest.pruner.layer:
        raise BadRequest(f"{folder} is cut before layer {manifest.pruner.layer}, evaluated was layer {model['layer']}")
    with_accuracy = manifest.model_copy(update={"accuracy": dict(record)})
    save_text(with_accuracy.model_dump_json(indent=2) + "\n", folder / MANIFEST)
