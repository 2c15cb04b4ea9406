"""Loads coremltools' own readers of saved models without the rest of coremltools.

`import coremltools` takes about ten seconds, because it imports PyTorch, torchao and scikit-learn where they are
installed. Reading a package needs two of its modules alone, the message classes and the reader of weight files.
"""

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from vlmprune_runtime.errors import MissingExtra

# A name of our own: within coremltools the import of a message would import the whole package first. Both imports
# give the same classes, because protobuf keeps one class per message.
_MESSAGES = "vlmprune_runtime.mil_reference.coremltools_proto"
# The name that it has in coremltools: pybind11 refuses to load a library twice, and a later import finds it here.
_WEIGHTS = "coremltools.libmilstoragepython"


@cache
def model_messages() -> Any:
    """Returns the module `coremltools.proto.Model_pb2`. Raises `MissingExtra` if coremltools is not installed."""
    _load(_MESSAGES, _folder() / "proto" / "__init__.py")
    return import_module(f"{_MESSAGES}.Model_pb2")


@cache
def type_messages() -> Any:
    """Returns the module `coremltools.proto.MIL_pb2`. Raises `MissingExtra` if coremltools is not installed."""
    model_messages()
    return import_module(f"{_MESSAGES}.MIL_pb2")


@cache
def weight_reader() -> Any:
    """Returns the class that reads a weight file. Raises `MissingExtra` if this coremltools has none."""
    library = _folder() / "libmilstoragepython.so"
    if not library.is_file():
        raise MissingExtra("coremltools", "coreml")
    return _load(_WEIGHTS, library)._BlobStorageReader


def _folder() -> Path:
    package = find_spec("coremltools")
    if package is None or package.origin is None:
        raise MissingExtra("coremltools", "coreml")
    return Path(package.origin).parent


def _load(name: str, file: Path) -> ModuleType:
    if name not in sys.modules:
        spec = spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise MissingExtra("coremltools", "coreml")
        module = module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
