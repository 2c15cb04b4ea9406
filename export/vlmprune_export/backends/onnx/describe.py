"""Describes saved graphs for the manifest."""

from collections.abc import Sequence
from pathlib import Path

import onnx

from vlmprune_export.stage_table import StageEntry
from vlmprune_runtime.schema import Cache, Graph, Stage


def describe(entry: StageEntry, paths: Sequence[Path], cache: Cache | None, quantisation: str | None) -> Stage:
    """Returns the stage with its graphs, one per module, and the weight files that they read."""
    graphs = tuple(Graph(file=path.name, grid=entry.grid_of(nth)) for nth, path in enumerate(paths))
    data = sorted({name for path in paths for name in _data_files(path)})
    update = {"graphs": graphs, "data": tuple(data), "cache": cache, "quantisation": quantisation or "none"}
    return entry.declared.model_copy(update=update)


def _data_files(path: Path) -> set[str]:
    model = onnx.load(str(path), load_external_data=False)
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}
