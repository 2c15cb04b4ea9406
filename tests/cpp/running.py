"""Calling the runner as users do."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vlmprune_runtime.dump import EXPECTED, PIXELS, PROMPT_IDS

BUILD = Path(__file__).parents[2] / "runtime" / "cpp" / "build_runner.py"
WHY = "executorch is not installed: pip install 'vlmprune[executorch]'; the C++ runner is NOT tested"
# More tokens with its image than one block of query rows in the attention kernel.
PROMPT, TOKENS = "what is in the picture ? " * 3, 24
WAYS = {"pruned": (), "unpruned": ("--no-prune",)}


def built(target: str) -> Path:
    """The runner's path, the last line that its build prints; a missing tool skips, and says how to get it."""
    run = subprocess.run([sys.executable, BUILD, "--target", target], capture_output=True, text=True)
    if run.returncode == 2:
        pytest.skip(f"the C++ runner ({target}) is NOT tested: {run.stderr.splitlines()[-1]}")
    assert run.returncode == 0, run.stderr
    return Path(run.stdout.splitlines()[-1])


def dumped(bundle: Path, out: Path) -> Path:
    """What `vlmprune-run --dump` writes, with the answers of the Python engine."""
    from vlmprune_runtime.cli import run
    from vlmprune_runtime.sample import SAMPLE_IMAGE

    asked = ["--image", str(SAMPLE_IMAGE), "--prompt", PROMPT, "--max-tokens", str(TOKENS)]
    assert run.main([str(bundle), *asked, "--dump", str(out)]) == 0
    return out


def asked(bundle: Path, question: Path, *more: str) -> list[str]:
    """The arguments."""
    return [str(bundle), "--pixels", str(question / PIXELS), "--prompt-ids", str(question / PROMPT_IDS), *more]


def called(runner: Sequence[str | Path], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, runner), *arguments], capture_output=True, text=True)


def tokens(run: subprocess.CompletedProcess[str]) -> list[int]:
    assert run.returncode == 0, run.stderr
    return [int(word) for word in run.stdout.split()]


def expected(question: Path, way: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((question / EXPECTED).read_text())[way]
    return found
