"""Publishes a finished bundle under its path, and never removes anything but a bundle."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path

from vlmprune_runtime.atomic import move_folder, writing
from vlmprune_runtime.errors import BadRequest, comma_list, first_line, short_repr
from vlmprune_runtime.lock import locked
from vlmprune_runtime.progress import Report, silent
from vlmprune_runtime.schema import MANIFEST
from vlmprune_runtime.scratch import scratch_folder

_REPLACED = "replaced-"
IGNORED = {".DS_Store", "Thumbs.db", "desktop.ini"}  # file browsers put them everywhere


@contextmanager
def publishing(out: Path, *, force: bool, notice: Report = silent) -> Iterator[Path]:
    """Gives an empty folder beside `out`, and renames it to `out` when the block has ended well.

    A lock on the path refuses a second export to it. `out` is checked before and after the block: without `force`
    it must not exist, with `force` it may be a bundle that holds no other file. If something appears there meanwhile,
    it stays, and the new bundle gets a free name beside it. `notice` is called with a line on what an export that was
    killed has left. Raises `BadRequest`.
    """
    place = _real(out)
    _check(place, force)
    with ExitStack() as stack:
        with writing(place):
            stack.enter_context(_folders_above(place))
            stack.enter_context(locked(place))
            _check(place, force)  # another export may have ended since
            for left in sorted(place.parent.glob(f".{escape(place.name)}.{_REPLACED}*")):
                notice(f"warning: {left} is what an export of {place.name} was replacing when it was killed")
            folder = stack.enter_context(scratch_folder(place.parent, ".vlmprune-", notice)) / "bundle"
            folder.mkdir()
        yield folder
        with writing(place):
            _publish(folder, place, force)


@contextmanager
def _folders_above(place: Path) -> Iterator[None]:
    """Creates the folders above a path; a failed export removes those that it has created."""
    created = [path for path in place.parents if not path.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # another process uses the folder by now
            for path in created:
                path.rmdir()
        raise


def _real(out: Path) -> Path:
    """Returns the absolute path with links resolved, so that a link stays a link to the new bundle."""
    try:
        if out.is_symlink() and not out.exists():
            raise BadRequest(f"{short_repr(out)} is a link to {short_repr(out.readlink())}, which does not exist")
        return out.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadRequest(
            f"{short_repr(out)} cannot be a bundle's folder: {getattr(error, 'strerror', None) or first_line(error)}"
        ) from None


def _check(place: Path, force: bool) -> None:
    above = next(path for path in place.parents if os.path.lexists(path))
    if not above.is_dir():
        raise BadRequest(f"{short_repr(place)} cannot be created: {short_repr(above)} is a file")
    if not os.path.lexists(place):
        return
    if not force:
        raise BadRequest(f"{short_repr(place)} exists; choose another --out or add --force")
    if problem := _no_bundle(place):
        raise BadRequest(f"{short_repr(place)} exists and {problem}; --force replaces bundles only")


def _no_bundle(place: Path) -> str | None:
    """Returns why a folder may not be replaced, None if it may.

    It must be empty, or a bundle of any version without files that its manifest does not list.
    """
    if place.is_symlink() or not place.is_dir():
        return "is not a bundle"
    files = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_symlink() or not path.is_dir()}
    files = {name for name in files if name.split("/")[-1] not in IGNORED}
    if not files:
        return None
    known = _listed_files(place / MANIFEST)
    if known is None:
        return "is not a bundle"
    strange = sorted(files - known)
    return f"holds files that are no part of its bundle: {comma_list(strange, 120)}" if strange else None


def _listed_files(manifest: Path) -> set[str] | None:
    """Returns the files of a bundle of any version, None if the manifest cannot be read as such."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        return {MANIFEST, *content["files"]} if {"schema", "schema_version"} & content.keys() else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _publish(folder: Path, place: Path, force: bool) -> None:
    aside = _moved_aside(place) if force and os.path.lexists(place) else None
    try:
        move_folder(folder, place)
    except BaseException as error:
        if aside is not None:
            move_folder(aside, place)
        if isinstance(error, FileExistsError):
            _keep_beside(folder, place, "has appeared during the export")
        raise
    if aside is not None:
        shutil.rmtree(aside)


def _moved_aside(place: Path) -> Path | None:
    """Renames the old bundle and checks it there, where nobody else writes; returns None if it is no bundle."""
    aside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.{_REPLACED}"))
    aside.rmdir()
    move_folder(place, aside)
    if _no_bundle(aside) is None:
        return aside
    move_folder(aside, place)
    return None


def _keep_beside(folder: Path, place: Path, reason: str) -> None:
    """Moves the bundle to a free name, for an export may have taken hours. Raises `BadRequest` with that name."""
    names = (place.with_name(f"{place.name}-{number}") for number in range(2, 10_000))
    spare = next(name for name in names if not os.path.lexists(name))
    move_folder(folder, spare)
    raise BadRequest(f"{short_repr(place)} {reason} and is left alone; the new bundle is {short_repr(spare)}") from None
