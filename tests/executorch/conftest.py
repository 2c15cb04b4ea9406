"""One tiny bundle that all tests of this folder share; `executorch_bundles.py` makes others."""

from pathlib import Path

import pytest

from tiny import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), tied=True)


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from executorch_bundles import exported

    return exported(checkpoint, tmp_path_factory.mktemp("bundles") / "plain")
