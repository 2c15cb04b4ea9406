"""Imports go only tools -> export -> runtime, and the runtime knows no training framework."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "runtime": {"vlmprune_runtime"},
    "export": {"vlmprune_runtime", "vlmprune_export"},
    "tools": {"vlmprune_runtime", "vlmprune_export", "vlmprune_tools", "pocket_training"},
}
OURS = set().union(*MAY_IMPORT.values())
HEAVY = {"torch", "transformers", "onnx", "onnxscript", "onnx_ir", "safetensors"}
SOURCES = sorted(path for folder in MAY_IMPORT for path in (ROOT / folder).rglob("*.py"))


def imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0] if node.level == 0 else "relative"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    found = set(imported(path.read_text(encoding="utf-8")))
    assert "relative" not in found
    assert found & OURS <= MAY_IMPORT[layer]
    assert layer != "runtime" or not found & HEAVY


def test_the_walk_sees_what_it_must() -> None:
    assert {"torch", "vlmprune_tools"} <= set(
        imported("def f():\n    import torch\n    from vlmprune_tools.x import y\n")
    )
    assert len(SOURCES) > 50


def test_the_wheel_does_not_need_the_training_recipe() -> None:
    wheel = (ROOT / "tools" / "vlmprune_tools").rglob("*.py")
    assert not any("pocket_training" in imported(path.read_text(encoding="utf-8")) for path in wheel)
