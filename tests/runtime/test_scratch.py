"""A scratch folder is gone when its work ends, and when the process was killed, with the next one."""

import subprocess
import sys
from pathlib import Path

import pytest

from vlmprune_runtime.scratch import scratch_folder

PREFIX = ".vlmprune-"
WORKS = """
import sys
from pathlib import Path
from vlmprune_runtime.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), ".vlmprune-") as folder:
    (folder / "bundle").mkdir()
    (folder / "bundle" / "tail.onnx").write_bytes(bytes(3 * 2**20))
    print(folder, flush=True)
    sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let go of files in use")


def test_it_is_removed_when_the_block_ends(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, PREFIX) as folder:
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())


def test_that_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    foreign, notes = tmp_path / ".vlmprune-notes", list[str]()
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with subprocess.Popen(
        [sys.executable, "-c", WORKS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        other = Path(process.stdout.readline().strip())
        with scratch_folder(tmp_path, PREFIX, notes.append):
            assert (other / "bundle" / "tail.onnx").exists()
        assert not notes
        process.kill()
        process.wait()
        assert other.exists()
        with scratch_folder(tmp_path, PREFIX, notes.append):
            assert not other.exists()
    assert notes == [f"note: {other} is removed, which a process that was killed has left (3.0 MiB)"]
    assert [path.name for path in tmp_path.iterdir()] == [".vlmprune-notes"]


def test_a_link_of_that_name_stays(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "elsewhere-") as folder:
        (tmp_path / ".vlmprune-link").symlink_to(folder)
        with scratch_folder(tmp_path, PREFIX):
            assert folder.exists()
