"""A finished bundle goes to its place, and nothing that is not a bundle is ever lost for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlmprune_export.publishing import publishing
from vlmprune_runtime.errors import BadRequest


def write_bundle(folder: Path, content: str) -> None:
    """What counts as a bundle here: a manifest, and the file that it lists."""
    folder.mkdir(exist_ok=True)
    (folder / "head.onnx").write_text(content)
    (folder / "bundle.json").write_text(json.dumps({"schema_version": 1, "files": {"head.onnx": {}}}))


def published(out: Path, content: str = "new", *, force: bool = False, meanwhile: object = None) -> None:
    with publishing(out, force=force) as folder:
        write_bundle(folder, content)
        if callable(meanwhile):
            meanwhile()


def content(out: Path) -> str:
    return (out / "head.onnx").read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_is_published_and_nothing_else_stays(tmp_path: Path) -> None:
    published(tmp_path / "new" / "bundle")
    assert content(tmp_path / "new" / "bundle") == "new"
    assert names(tmp_path / "new") == ["bundle"]


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_that_appears_meanwhile_stays(tmp_path: Path, force: bool) -> None:
    out = tmp_path / "bundle"

    def appear() -> None:
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")

    with pytest.raises(BadRequest, match=r"has appeared during the export and is left alone; .*bundle-2"):
        published(out, force=force, meanwhile=appear)
    assert (out / "thesis.txt").read_text() == "years of work"
    assert content(tmp_path / "bundle-2") == "new"
    assert names(tmp_path) == ["bundle", "bundle-2"]


@pytest.mark.parametrize("kind", ["file", "dangling", "empty", "bundle"])
def test_whatever_appears_meanwhile_stays(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "bundle"
    appear = {
        "file": lambda: out.write_text("mine"),
        "dangling": lambda: out.symlink_to("nowhere"),
        "empty": out.mkdir,
        "bundle": lambda: write_bundle(out, "mine"),
    }
    with pytest.raises(BadRequest, match="left alone"):
        published(out, meanwhile=appear[kind])
    assert os.path.lexists(out)
    assert not (out / "head.onnx").exists() or content(out) == "mine"


def test_force_replaces_the_bundle(tmp_path: Path) -> None:
    published(tmp_path / "bundle", "old")
    published(tmp_path / "bundle", "new", force=True)
    assert content(tmp_path / "bundle") == "new"
    assert names(tmp_path) == ["bundle"]


def test_force_keeps_a_bundle_to_which_a_file_is_added_meanwhile(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    published(out, "old")
    with pytest.raises(BadRequest, match="left alone"):
        published(out, force=True, meanwhile=lambda: (out / "notes.txt").write_text("mine"))
    assert (content(out), (out / "notes.txt").read_text()) == ("old", "mine")
    assert content(tmp_path / "bundle-2") == "new"


def test_force_refuses_a_bundle_that_holds_other_files(tmp_path: Path) -> None:
    published(tmp_path / "bundle", "old")
    (tmp_path / "bundle" / "notes.txt").write_text("mine")
    with pytest.raises(BadRequest, match=r"no part of its bundle: notes\.txt; --force replaces bundles only"):
        published(tmp_path / "bundle", force=True)


def test_the_old_bundle_is_put_back_if_the_new_one_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vlmprune_export import publishing as module

    move, out = module.move_folder, tmp_path / "bundle"
    published(out, "old")

    def fail(source: Path, target: Path) -> None:
        if source.name == "bundle" and source.parent.name.startswith(".vlmprune-"):
            raise OSError(5, "Input/output error")
        move(source, target)

    monkeypatch.setattr(module, "move_folder", fail)
    with pytest.raises(BadRequest, match="Input/output error"):
        published(out, force=True)
    assert content(out) == "old"
    assert names(tmp_path) == ["bundle"]


def test_a_failure_leaves_the_old_bundle_and_no_new_folders(tmp_path: Path) -> None:
    published(tmp_path / "bundle", "old")
    for out, force in ((tmp_path / "bundle", True), (tmp_path / "a" / "b" / "bundle", False)):
        with pytest.raises(ZeroDivisionError):
            published(out, force=force, meanwhile=lambda: 1 / 0)
    assert content(tmp_path / "bundle") == "old"
    assert names(tmp_path) == ["bundle"]


def test_a_second_export_is_refused_in_another_process(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    code = (
        "from pathlib import Path; from vlmprune_export.publishing import publishing\n"
        f"with publishing(Path({str(out)!r}), force=False): pass"
    )
    with publishing(out, force=False) as folder:
        write_bundle(folder, "first")
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process is writing there" in done.stderr
    assert content(out) == "first"
    assert names(tmp_path) == ["bundle"]


def test_the_lock_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    code = (
        "import os; from pathlib import Path; from vlmprune_runtime.lock import locked\n"
        f"with locked(Path({str(tmp_path / 'bundle')!r})): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert names(tmp_path) == [".bundle.vlmprune-lock"]
    published(tmp_path / "bundle")
    assert names(tmp_path) == ["bundle"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    published(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    published(tmp_path / "link", "new", force=True)
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == "new"


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    wrong = {
        tmp_path / "file" / "bundle": "file is a file",
        tmp_path / "dangling": "is a link to nowhere, which does not exist",
        tmp_path / "loop": "loop",
        tmp_path / ("x" * 300): "too long",
        tmp_path / "a\0b": "null",
    }
    for out, message in wrong.items():
        with pytest.raises(BadRequest, match=message):
            published(out)
        assert len(names(tmp_path)) == 3, out


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="Linux has a folder that nobody can write to")
def test_a_disk_that_cannot_be_written() -> None:
    with pytest.raises(BadRequest, match="/proc/bundle: cannot be written"):
        published(Path("/proc/bundle"))
