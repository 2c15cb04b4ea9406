"""coremltools' readers are loaded without the rest of coremltools, and their absence is an error with its remedy."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("coremltools", reason="pip install 'vlmprune[coreml]'; the MIL reference is NOT tested")

from mil_toys import convert

from vlmprune_runtime.errors import MissingExtra
from vlmprune_runtime.mil_reference import ReferencePackage, readers

READ = """
import sys
from pathlib import Path
import numpy as np
from vlmprune_runtime.mil_reference import ReferencePackage
found = ReferencePackage(Path(sys.argv[1])).run("main", {"x0": np.ones((2, 64), np.float32)})["y0"]
loaded = [name for name in ("torch", "sklearn", "coremltools") if name in sys.modules]
from coremltools.libmilstoragepython import _BlobStorageReader
from coremltools.proto.Model_pb2 import Model
from vlmprune_runtime.mil_reference.readers import model_messages, weight_reader
print(found.shape, loaded, model_messages().Model is Model, weight_reader() is _BlobStorageReader)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readers")
    return convert(torch.nn.Linear(64, 32), [torch.ones(2, 64)], folder / "linear.mlpackage")


def test_reading_a_package_imports_neither_coremltools_nor_torch(package: Path) -> None:
    done = subprocess.run([sys.executable, "-c", READ, str(package)], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["(2, 32) [] True True"], done.stderr


def test_without_coremltools_the_error_names_the_extra(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    readers.model_messages.cache_clear()
    with pytest.raises(MissingExtra, match=r"coremltools is not installed; run: .*pip install .*\[coreml\]'"):
        ReferencePackage(package)
