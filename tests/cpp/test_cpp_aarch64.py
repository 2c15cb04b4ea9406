"""The runner for 64-bit ARM under qemu: the same tokens as on this machine. Never a timing."""

import shutil
from pathlib import Path

import pytest
from running import WAYS, WHY, asked, built, called, expected, tokens

pytest.importorskip("executorch.runtime", reason=WHY)

QEMU, ROOT = "qemu-aarch64-static", "/usr/aarch64-linux-gnu"
TOKENS = 6


@pytest.fixture(scope="module")
def arm_runner() -> list[str]:
    if not shutil.which(QEMU):
        pytest.skip(
            f"the aarch64 runner is NOT tested: {QEMU} is not installed; on Debian: apt install qemu-user-static"
        )
    return [QEMU, "-cpu", "cortex-a76", "-L", ROOT, str(built("aarch64"))]


@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_the_same_on_arm(arm_runner: list[str], bundle: Path, question: Path, way: str) -> None:
    run = called(arm_runner, *asked(bundle, question, "--max-tokens", str(TOKENS), *WAYS[way]))
    assert tokens(run) == expected(question, way)["token_ids"][:TOKENS]


def test_errors_are_the_same_on_arm(arm_runner: list[str], bundle: Path, question: Path, tmp_path: Path) -> None:
    shutil.copy(question / "prompt_ids.json", tmp_path)
    run = called(arm_runner, *asked(bundle, tmp_path))
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert "pixels.f32: no such file" in run.stderr
