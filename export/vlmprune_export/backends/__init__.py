"""One folder per target: each lowers the five stages and says which files and tensors came out."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Protocol

from vlmprune_export.staged_model import StagedModel
from vlmprune_runtime.errors import MissingExtra, UnknownName
from vlmprune_runtime.schema import Stage

Report = Callable[[str], None]

TARGETS: Mapping[str, str] = {
    "onnx": "vlmprune_export.backends.onnx",
    "executorch": "vlmprune_export.backends.executorch",
    "coreml": "vlmprune_export.backends.coreml",
}


class Backend(Protocol):
    """What a target's module offers.

    It may also have `OPTIONS`, see `lower`, and `FITTED`: per quantisation, on which values the weights of the tail's
    linear layers lie when `lower` is called (`vlmprune_export.quantisation_grids.QuantisationGrid`).
    """

    QUANTISATIONS: tuple[str, ...]

    def lower(
        self, staged: StagedModel, folder: Path, *, quantisation: str, context_tokens: int, report: Report,
        **options: str,
    ) -> dict[str, Stage]:  # fmt: skip
        """Write every stage into `folder`; `report` is told each stage as it begins.

        `options` are the target's own: its module lists their names and choices in `OPTIONS`, if it has any; where
        there are no choices, the text is its own to read.
        """
        ...

    def versions(self) -> dict[str, str]:
        """Versions of exporter and runtime packages that made and can run the files."""
        ...


def backend_for(target: str) -> Backend:
    """The module of a target, imported only when wanted."""
    if target not in TARGETS:
        raise UnknownName("target", target, TARGETS)
    try:
        backend: Backend = import_module(TARGETS[target])
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or target, "export" if target == "onnx" else target) from missing
    return backend
