"""The runner, built once, and one tiny bundle with a question for it; a build that lacks a tool skips, and says so."""

import shutil
from pathlib import Path

import pytest
from running import built

from tiny import write_checkpoint

# More tokens with its image than one block of query rows in the attention kernel.
PROMPT, TOKENS = "what is in the picture ? " * 3, 24


@pytest.fixture(scope="session")
def runner() -> Path:
    return built("native")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not tied: with tied random weights a token's likeliest successor is itself, and all answers are alike."""
    from executorch_bundles import exported

    checkpoint = write_checkpoint(tmp_path_factory.mktemp("checkpoint"))
    return exported(checkpoint, tmp_path_factory.mktemp("bundles") / "untied")


@pytest.fixture(scope="session")
def question(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `vlmprune-run --dump` writes, with the answers of the Python engine."""
    from vlmprune_runtime.cli import run
    from vlmprune_runtime.sample import SAMPLE_IMAGE

    out = tmp_path_factory.mktemp("questions") / "sample"
    asked = ["--image", str(SAMPLE_IMAGE), "--prompt", PROMPT, "--max-tokens", str(TOKENS)]
    assert run.main([str(bundle), *asked, "--dump", str(out)]) == 0
    return out


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "broken"))
