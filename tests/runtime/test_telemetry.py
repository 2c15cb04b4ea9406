"""ONNX Runtime reports nothing and leaves nothing behind, whichever of our packages brings it in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
SWIFT = Path(__file__).parents[2] / "runtime" / "swift" / "Sources" / "COnnxRuntime"
SESSION = f"""
import onnxruntime
onnxruntime.InferenceSession({str(GOLDEN / "bundle" / "embed.onnx")!r}, providers=["CPUExecutionProvider"])
"""
ANSWER = f"""
from vlmprune_runtime.cli.run import main
assert main([{str(GOLDEN / "bundle")!r}, "--image", {str(GOLDEN / "image.png")!r}, "--prompt", "why?"]) == 0
"""


def in_a_new_process(code: str, home: Path, **variables: str) -> str:
    """What `code` prints in a process that has no setting of telemetry but the given ones, and an empty home."""
    unset = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    env = {**kept, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_answer_writes_nothing(tmp_path: Path) -> None:
    in_a_new_process(ANSWER, tmp_path)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("package", ["vlmprune_runtime", "vlmprune_export", "vlmprune_tools"])
def test_every_package_comes_before_onnxruntime(package: str, tmp_path: Path) -> None:
    """Its own modules, and those of others that import onnxruntime, are imported after the package itself."""
    told = in_a_new_process(f"import {package}, os, sys; print(os.environ['ORT_DISABLE_TELEMETRY'])", tmp_path)
    assert told.split() == ["1"]
    assert "False" in in_a_new_process(f"import {package}, sys; print('onnxruntime' in sys.modules)", tmp_path)
    in_a_new_process(f"import {package}{SESSION}", tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_a_user_may_allow_it(tmp_path: Path) -> None:
    code = "import vlmprune_runtime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert in_a_new_process(code, tmp_path, ORT_DISABLE_TELEMETRY="0").split() == ["0"]


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler; Swift's engine is NOT tested here")
@pytest.mark.parametrize(("users", "found"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_the_swift_engine_sets_it_before_the_library_is_loaded(
    users: dict[str, str], found: str, tmp_path: Path
) -> None:
    library = tmp_path / "module.so"
    sources: list[str | Path] = [f"-I{SWIFT / 'include'}", SWIFT / "onnx_runtime.c"]
    subprocess.run(["cc", "-shared", "-fPIC", *sources, "-o", library], check=True)
    code = f"""
import ctypes
library, opened = ctypes.CDLL({str(library)!r}), ctypes.c_void_p()
library.vp_open.restype = ctypes.c_char_p
assert b"nowhere" in library.vp_open(b"/nowhere.so", 1, ctypes.byref(opened))
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(getenv(b"ORT_DISABLE_TELEMETRY"))
"""
    assert in_a_new_process(code, tmp_path, **users).strip() == str(found.encode())
