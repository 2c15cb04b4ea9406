"""Two tiny bundles that all tests of this folder share; `executorch_bundles.py` makes others."""

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


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), "qwen2", "siglip")


@pytest.fixture(scope="session")
def portable_bundle(other_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another family, without delegates, with `stock.pte`."""
    from executorch_bundles import QUICK, exported

    options = {"backend": "portable", "stock": "yes"}
    return exported(other_checkpoint, tmp_path_factory.mktemp("bundles") / "portable", options=options, prune=QUICK)
