"""Scratch folders beside what is written: gone when the work ends, and found again if its process was killed."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.progress import Report, silent

if sys.platform != "win32":
    import fcntl

HELD = ".held"  # the file in a scratch folder that its process keeps locked for as long as it lives


@contextmanager
def scratch_folder(parent: Path, prefix: str, notice: Report = silent) -> Iterator[Path]:
    """Gives a new folder in `parent` and removes it afterwards.

    Folders of that prefix whose process was killed are removed first, and `notice` is called with a line on each.
    Raises `OSError` if no folder can be made.
    """
    for dead in sorted(path for path in parent.glob(f"{prefix}*") if _is_dead(path)):
        size_bytes = sum(path.stat().st_size for path in dead.rglob("*") if path.is_file() and not path.is_symlink())
        shutil.rmtree(dead, ignore_errors=True)
        notice(f"note: {dead} is removed, which a process that was killed has left ({format_bytes(size_bytes)})")
    handle = None
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=prefix) as name:
            handle = _held(Path(name))
            yield Path(name)
    finally:
        if handle is not None:
            os.close(handle)


def _held(folder: Path) -> int | None:
    """Returns an open handle whose lock shows that the folder is in use, None where the system has no locks for files.

    The file gets its name when it is locked already, so that nobody ever sees it unlocked while this process lives.
    """
    if sys.platform == "win32":
        return None
    unnamed = folder / f"{HELD}.new"
    handle = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        unnamed.unlink()
        return None
    unnamed.rename(folder / HELD)
    return handle


def _is_dead(folder: Path) -> bool:
    """Says whether a folder is a scratch folder of ours whose process has certainly ended."""
    if sys.platform == "win32" or folder.is_symlink():
        return False
    try:
        handle = os.open(folder / HELD, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # none of ours, ended meanwhile, or another user's
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:  # in use, or on a disk without locks, where nothing is certain
        return False
    finally:
        os.close(handle)
