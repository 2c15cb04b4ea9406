"""A disk that is too small is known before lowering; one that fills up meanwhile is named in one line."""

from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

from vlmprune_export import disk_space
from vlmprune_export.disk_space import enough_disk, needed_bytes
from vlmprune_runtime.errors import BadRequest, LoweringError

Usage = namedtuple("Usage", "total used free")


def free_bytes(monkeypatch: pytest.MonkeyPatch, *sizes: int) -> None:
    following: Iterator[int] = iter(sizes)
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda folder: Usage(0, 0, next(following)))


def test_tied_weights_count_once_and_quantised_ones_need_less() -> None:
    model = nn.ModuleDict({"embedding": nn.Embedding(100, 10), "head": nn.Linear(10, 100, bias=False)})
    untied = needed_bytes(model, "executorch", "none")
    model["head"].weight = model["embedding"].weight
    assert needed_bytes(model, "executorch", "none") == untied // 2 == 4800
    assert needed_bytes(model, "onnx", "int8") < needed_bytes(model, "onnx", "none")


def test_too_small_a_disk_is_refused_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free_bytes(monkeypatch, 2**30)
    with (
        pytest.raises(BadRequest, match=r"needs about 3\.00 GiB of disk, 1\.00 GiB are free"),
        enough_disk(tmp_path, 3 * 2**30, tmp_path),
    ):
        pytest.fail("the export began")


def test_a_disk_that_fills_up_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free_bytes(monkeypatch, 2**30, 0)
    with pytest.raises(BadRequest, match=r"the disk is full, 1\.00 GiB were free"), enough_disk(tmp_path, 9, tmp_path):
        raise LoweringError("tail", "onnx", "problem writing element 3072")


def test_another_failure_stays_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free_bytes(monkeypatch, 2**30, 2**30)
    with pytest.raises(LoweringError, match="no such operator"), enough_disk(tmp_path, 9, tmp_path):
        raise LoweringError("tail", "onnx", "no such operator")
