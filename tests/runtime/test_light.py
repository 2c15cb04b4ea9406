"""The runtime needs neither torch nor transformers, and importing it loads nothing."""

import pkgutil
import subprocess
import sys

import vlmprune_runtime

MODULES = [found.name for found in pkgutil.walk_packages(vlmprune_runtime.__path__, "vlmprune_runtime.")]
HEAVY = ("torch", "transformers", "onnx", "scipy", "safetensors")


def loaded(code: str) -> set[str]:
    """Names of all modules after `code` in a new process."""
    code += "\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_no_module_needs_torch() -> None:
    assert len(MODULES) > 15
    modules = loaded("\n".join(f"import {name}" for name in MODULES))
    assert "onnxruntime" in modules
    assert not modules & set(HEAVY)


def test_the_package_itself_is_light() -> None:
    modules = loaded("import vlmprune_runtime")
    assert not modules & {*HEAVY, "numpy", "PIL", "onnxruntime", "pydantic", "rich", "tokenizers"}


def test_onnxruntime_waits_for_an_engine() -> None:
    assert "onnxruntime" not in loaded("import vlmprune_runtime.generate, vlmprune_runtime.cli.inspect")
