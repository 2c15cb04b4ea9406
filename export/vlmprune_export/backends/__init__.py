"""Backends lower the stages of a model: one folder per target."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.errors import MissingExtra, UnknownName
from vlmprune_runtime.progress import Report
from vlmprune_runtime.schema import Stage

TARGETS: Mapping[str, str] = {
    "onnx": "vlmprune_export.backends.onnx",
    "executorch": "vlmprune_export.backends.executorch",
    "coreml": "vlmprune_export.backends.coreml",
}


class Backend(Protocol):
    """The interface of a target's module.

    It may also have `OPTIONS`, see `lower`, and `FITTED`: per quantisation, on which values the weights of the tail's
    linear layers lie when `lower` is called (`vlmprune_export.quantisation_grids.QuantisationGrid`).
    """

    QUANTISATIONS: tuple[str, ...]

    def lower(
        self, staged: StagedModel, folder: Path, *, quantisation: str, context_tokens: int, report: Report,
        **options: str,
    ) -> dict[str, Stage]:  # fmt: skip
        """Writes every stage into `folder` and returns its declaration; calls `report` with each stage as it begins.

        `options` are the target's own: its module lists their names and choices in `OPTIONS`, if it has any; where
        there are no choices, the text is its own to read.
        """
        ...

    def versions(self) -> dict[str, str]:
        """Returns the versions of the packages that exported the files and of those that can run them."""
        ...


def backend_for(target: str) -> Backend:
    """Returns the module of a target, which is imported only now. Raises `UnknownName` and `MissingExtra`."""
    if target not in TARGETS:
        raise UnknownName("target", target, TARGETS)
    try:
        backend: Backend = import_module(TARGETS[target])
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or target, "export" if target == "onnx" else target) from missing
    return backend
