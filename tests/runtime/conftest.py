"""One handmade bundle for all tests, and a fresh copy for those that break it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from handmade_bundle import write_bundle
from PIL import Image

from vlmprune_runtime.generate import Runner, open_runner


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return write_bundle(tmp_path_factory.mktemp("handmade") / "bundle")


@pytest.fixture
def copied_folder(bundle_folder: Path, tmp_path: Path) -> Path:
    """To be broken."""
    return Path(shutil.copytree(bundle_folder, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def runner(bundle_folder: Path) -> Runner:
    """The bundle, loaded."""
    return open_runner(bundle_folder)


@pytest.fixture(scope="session")
def image() -> Image.Image:
    """Coloured noise of 50 x 40 pixels."""
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def image_file(image: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a PNG file."""
    path = tmp_path_factory.mktemp("image") / "noise.png"
    image.save(path)
    return path
