"""Saved packages, damaged on purpose."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coremltools.proto import Model_pb2

INNER = Path("Data/com.apple.CoreML")
WEIGHTS = INNER / "weights/weight.bin"


@contextmanager
def edited(package: Path) -> Iterator[Any]:
    """The package's model as a message that may be changed in place."""
    file = package / INNER / "model.mlmodel"
    model = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    yield model
    file.write_bytes(model.SerializeToString())


def operations(model: Any, function: str = "main") -> Any:
    """The operations of a function, to be changed in place."""
    found = model.mlProgram.functions[function]
    return found.block_specializations[found.opset].operations


def copied(package: Path, out: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(package, out))


def drop(found: Any, kind: str, nth: int) -> None:
    """Without the n-th operation of a kind."""
    places = [place for place, one in enumerate(found) if one.type == kind]
    del found[places[nth]]
