"""Files are written whole or not at all, and only over what the same command wrote before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vlmprune_runtime.atomic import check_output_file, check_output_png, move_folder, save_folder, save_png, save_text
from vlmprune_runtime.errors import BadRequest

MARKS = (b'"kind": "benchmark"',)
OURS, THEIRS = '{"kind": "benchmark"}', '{"kind": "diary"}'
RED = Image.new("RGB", (2, 2), "red")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_the_command_wrote_is_replaced(tmp_path: Path) -> None:
    for text in (OURS, OURS + " "):
        save_text(text, tmp_path / "a.json", MARKS)
        assert (tmp_path / "a.json").read_text() == text
    for colour in ("red", "blue"):
        save_png(Image.new("RGB", (2, 2), colour), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").getpixel((0, 0)) == (0, 0, 255)
    assert names(tmp_path) == ["a.json", "a.png"]


def test_an_empty_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    save_text(OURS, tmp_path / "a.json", MARKS)
    assert (tmp_path / "a.json").read_text() == OURS


def test_what_it_did_not_write_stays(tmp_path: Path) -> None:
    (tmp_path / "diary.json").write_text(THEIRS)
    RED.save(tmp_path / "photo.png")
    with pytest.raises(BadRequest, match="was not written by this command; choose another name"):
        check_output_file(tmp_path / "diary.json", MARKS)
    with pytest.raises(BadRequest, match="was not written by this command"):
        save_png(Image.new("RGB", (9, 9)), tmp_path / "photo.png")
    assert (tmp_path / "diary.json").read_text() == THEIRS
    assert Image.open(tmp_path / "photo.png").size == (2, 2)


@pytest.mark.parametrize("before", [None, OURS])
def test_what_appears_meanwhile_stays(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "a.json"
    if before:
        path.write_text(before)
    place = check_output_file(path, MARKS)
    path.write_text(THEIRS)
    with pytest.raises(BadRequest, match=r"left alone; see .*a-2\.json"):
        save_text(OURS, place)
    assert (path.read_text(), (tmp_path / "a-2.json").read_text()) == (THEIRS, OURS)
    assert names(tmp_path) == ["a-2.json", "a.json"]


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text(OURS)
    (tmp_path / "link.json").symlink_to("real.json")
    save_text(OURS + "new", tmp_path / "link.json", MARKS)
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == OURS + "new"


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    wrong = {
        tmp_path / "none" / "a": "there is no folder",
        tmp_path / "file" / "a": "there is no folder",
        tmp_path / "folder": "is a folder",
        tmp_path / "dangling": "is a link to nowhere, which does not exist",
        tmp_path / "pipe": "is not a file",
        tmp_path / ("x" * 300): "too long",
        tmp_path / "a\0b": "null",
    }
    for path, message in wrong.items():
        with pytest.raises(BadRequest, match=message):
            check_output_file(path)
    assert len(names(tmp_path)) == 4


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="Linux has a folder that nobody can write to")
def test_a_disk_that_cannot_be_written_is_known_at_once() -> None:
    with pytest.raises(BadRequest, match=r"/proc/kept\.png: cannot be written"):
        check_output_png("/proc/kept.png")
    with pytest.raises(BadRequest, match="/proc/dump: cannot be written"):
        save_folder({"a": b""}, "/proc/dump")


@pytest.mark.parametrize("kind", ["file", "full", "empty", "dangling"])
def test_a_folder_is_never_moved_over_anything(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "new").touch()
    if kind == "file":
        target.write_text("mine")
    elif kind == "dangling":
        target.symlink_to("nowhere")
    else:
        target.mkdir()
        if kind == "full":
            (target / "mine").touch()
    with pytest.raises(FileExistsError):
        move_folder(source, target)
    assert names(source) == ["new"]
    assert not (target / "new").exists()


def test_a_disk_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    save_text("a", tmp_path / "a.json")
    assert names(tmp_path) == ["a.json"]


def test_two_results_attached_at_once_both_stay(copied_folder: Path) -> None:
    """Many processes, each with a field of its own, again and again."""
    code = (
        "import sys; from pathlib import Path; from vlmprune_runtime.attach import attach\n"
        "for _ in range(20): attach(Path(sys.argv[1]), sys.argv[2], {'of': sys.argv[2]})"
    )
    fields = ("parity", "accuracy")
    runs = [subprocess.Popen([sys.executable, "-c", code, str(copied_folder), field]) for field in fields]
    assert [run.wait() for run in runs] == [0, 0]
    manifest = json.loads((copied_folder / "bundle.json").read_text())
    assert [manifest[field] for field in fields] == [{"of": "parity"}, {"of": "accuracy"}]
