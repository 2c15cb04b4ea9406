"""The runner, built once, and tiny bundles with a question for each; a build that lacks a tool skips, and says so."""

import shutil
from pathlib import Path

import pytest
from cut_cases import CONTEXT_TOKENS, CUTS
from running import built, dumped

from tiny import write_checkpoint


@pytest.fixture(scope="session")
def runner() -> Path:
    return built("native")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not tied: with tied random weights a token's likeliest successor is itself, and all answers are alike."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from executorch_bundles import exported

    return exported(checkpoint, tmp_path_factory.mktemp("bundles") / "untied")


@pytest.fixture(scope="session")
def question(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dumped(bundle, tmp_path_factory.mktemp("questions") / "sample")


@pytest.fixture(scope="session")
def quantised(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from executorch_bundles import QUICK, exported

    return exported(checkpoint, tmp_path_factory.mktemp("bundles") / "8da8w", quantisation="8da8w", prune=QUICK)


@pytest.fixture(scope="session")
def quantised_question(quantised: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dumped(quantised, tmp_path_factory.mktemp("questions") / "8da8w")


@pytest.fixture(scope="session")
def cut_bundles(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bundles of `CUTS`, each with a question in a folder beside it; XNNPACK, which others have, lowers slowly."""
    from executorch_bundles import exported

    from vlmprune_export.cuts import PruneOptions

    folder = tmp_path_factory.mktemp("cuts")
    bundles = {}
    for name, options in CUTS.items():
        pruner = PruneOptions(**{"method": "uniform", "keep": 8, **options})
        options = {"backend": "portable"}
        bundles[name] = exported(
            checkpoint, folder / name, prune=pruner, context_tokens=CONTEXT_TOKENS, options=options
        )
        dumped(bundles[name], folder / f"{name} question")
    return bundles


@pytest.fixture
def broken(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "broken"))
