"""Locks a path between processes, by a file beside the path that both want to write."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from vlmprune_runtime.errors import BadRequest

if sys.platform != "win32":
    import fcntl

POLL_S = 0.02
UNSUPPORTED = (errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK)  # what network drives without locks answer


def lock_path(place: Path) -> Path:
    """Returns the path of a place's lock file, which is hidden beside the place.

    >>> lock_path(Path("bundles/llava")).name
    '.llava.vlmprune-lock'
    """
    return place.with_name(f".{place.name}.vlmprune-lock")


@contextmanager
def locked(place: Path, patience_s: float = 0) -> Iterator[None]:
    """Holds the lock of a place; the system lets go of it when the process ends, however that happens.

    Raises `BadRequest` if another process holds it for longer than `patience_s`, `OSError` if no file can be put
    beside the place.
    """
    path, deadline = lock_path(place), monotonic() + patience_s
    while (handle := _take(path)) is None and monotonic() < deadline:
        sleep(POLL_S)
    if handle is None:
        raise BadRequest(f"{place}: another process is writing there; wait for it, or choose another place")
    try:
        yield
    finally:
        if sys.platform != "win32":
            path.unlink(missing_ok=True)  # before the lock is let go of, so that it is still ours
        os.close(handle)


def _take(path: Path) -> int | None:
    """Returns an open handle that holds the lock, or None if another process holds it."""
    while True:
        handle = _opened(path)
        if handle is None or _is_ours(handle, path):
            return handle
        os.close(handle)
        if path.exists():
            return None


def _opened(path: Path) -> int | None:
    if sys.platform != "win32":
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TEMPORARY)  # gone when it is closed
    except FileExistsError:
        return None


def _is_ours(handle: int, path: Path) -> bool:
    """Says whether the lock was taken on the file that lies there now, not on one that was just released."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in UNSUPPORTED
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
