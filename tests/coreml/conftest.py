"""One tiny float32 bundle that all tests of this folder share; `coreml_bundles.py` makes others."""

from pathlib import Path

import pytest

from tiny import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), tied=True)


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from coreml_bundles import exported

    return exported(checkpoint, tmp_path_factory.mktemp("bundles") / "plain", options={"precision": "fp32"})
