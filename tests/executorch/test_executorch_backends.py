"""Backends of the ExecuTorch target: what they take, what is only lowered, what is refused and why."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from executorch_bundles import QUICK, WHY, exported

from manifests import manifest_of
from vlmprune_export.cli.delegation import delegation_lines
from vlmprune_runtime.bundle import parse_manifest
from vlmprune_runtime.errors import BadRequest, LoweringError, UnknownName

pytest.importorskip("executorch.runtime", reason=WHY)

from vlmprune_export.backends.executorch.partition import BACKENDS

STAGES = ("embed", "vision", "head", "prune", "tail")


@pytest.mark.parametrize(
    ("wishes", "error", "message"),
    [
        (
            {"options": {"backend": "tpu"}},
            UnknownName,
            "unknown backend 'tpu'; choose one of: coreml, portable, vulkan",
        ),
        ({"options": {"backend": "coreml"}}, BadRequest, "cannot take this model: its partitioner refuses the dynamic"),
        ({"options": {"stock": "maybe"}}, UnknownName, "unknown stock 'maybe'; choose one of: no, yes"),
        ({"options": {"colour": "red"}}, BadRequest, "target 'executorch' has no option 'colour'"),
        ({"target": "onnx", "options": {"backend": "xnnpack"}}, BadRequest, "target 'onnx' has no option 'backend'"),
        ({"quantisation": "int8"}, UnknownName, "unknown quantisation 'int8'; choose one of: 8da4w, 8da8w, none"),
        ({"quantisation": "8da8w", "options": {"backend": "portable"}}, BadRequest, "does not take quantised weights"),
    ],
)
def test_wrong_wishes_are_refused(
    checkpoint: Path, tmp_path: Path, wishes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        exported(checkpoint, tmp_path / "bundle", **wishes)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_lowering_is_told_and_leaves_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator")

    module = import_module("vlmprune_export.backends.executorch.lower")
    monkeypatch.setattr(module, "to_edge_transform_and_lower", fail)
    with pytest.raises(LoweringError, match=r"could not be lowered to executorch \(xnnpack\): no such operator"):
        exported(checkpoint, tmp_path / "bundle", prune=QUICK)
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_run_is_told(bundle: Path) -> None:
    manifest = manifest_of(bundle)
    manifest["stages"]["tail"]["lowering"] |= {"backend": "vulkan", "status": "lowered, not run", "operators": ["a::b"]}
    lines = list(delegation_lines(parse_manifest(json.dumps(manifest))))
    assert [line.partition(":")[0] for line in lines] == list(STAGES)
    assert lines[-1].endswith("of its operators went to vulkan (lowered, not run); the runtime's own: a::b")
    assert "llama::custom_sdpa.out" in lines[2] and "not run" not in lines[2]


def test_only_what_runs_here_is_marked_runnable() -> None:
    assert {name: kind.runnable for name, kind in BACKENDS.items()} == {
        "xnnpack": True,
        "portable": True,
        "vulkan": False,
    }


def test_no_delegate_takes_a_loop_that_it_would_break() -> None:
    assert [name for name, kind in BACKENDS.items() if not kind.partitioners_of("prune")] == ["portable", "vulkan"]
