"""Opening a bundle: the folder and its manifest, or a `BundleError` that names file and field."""

import hashlib
import json
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlmprune_runtime.errors import BundleError, first_line, short_repr, shorten
from vlmprune_runtime.schema import MAJOR, MANIFEST, MINOR, Bundle, FileEntry

MAX_MANIFEST_BYTES = 8 * 2**20


@dataclass(frozen=True)
class OpenBundle:
    """A bundle whose manifest and files were found to agree."""

    folder: Path
    manifest: Bundle

    def path(self, name: str) -> Path:
        """Where the listed file or package `name` lies."""
        if name not in {*self.manifest.files, *_packages(self.manifest)}:
            raise BundleError(MANIFEST, f"{short_repr(name)} is not listed", "files")
        return self.folder / name


def open_bundle(path: str | PathLike[str], *, verify: bool = True) -> OpenBundle:
    """The bundle in folder `path`; `verify=False` skips the hashes, never sizes or paths."""
    folder = Path(path)
    if not _is_folder(folder):
        raise BundleError(str(path), "no such folder")
    manifest = parse_manifest(_read_manifest(folder / MANIFEST))
    for name, entry in manifest.files.items():
        _check_file(folder, name, entry, verify)
    for package in _packages(manifest):
        _check_package(folder, package, manifest)
    return OpenBundle(folder, manifest)


def parse_manifest(text: str) -> Bundle:
    """The manifest in a JSON text; the schema version is looked at before anything else."""
    found = _parse_json(text)
    if not isinstance(found, dict):
        raise BundleError(MANIFEST, f"is not a JSON object but {short_repr(found)}")
    newer = _check_version(found)
    try:
        return Bundle.model_validate_json(text, strict=True)
    except ValidationError as error:
        if newer and (known := _without_unknown(found, error)) is not None:
            return parse_manifest(json.dumps(known))
        raise _first_problem(error, found) from None


def _check_version(found: dict[str, Any]) -> bool:
    """Returns whether the manifest's minor version is newer than this package's. Raises `BundleError`."""
    if "schema_version" in found:
        raise BundleError(MANIFEST, "was exported by an older vlmprune: export it again", "schema_version")
    version = found.get("schema")
    major, minor = (version.get(name) if isinstance(version, dict) else None for name in ("major", "minor"))
    if type(major) is not int or type(minor) is not int:
        raise BundleError(MANIFEST, f"got {short_repr(version)}, expected major and minor as whole numbers", "schema")
    if major != MAJOR:
        older = "was exported by an older vlmprune: export it again"
        newer = (
            f"was exported by a newer vlmprune (got version {short_repr(major)}, this runtime reads {MAJOR}): update it"
        )
        raise BundleError(MANIFEST, older if major < MAJOR else newer, "schema.major")
    return minor > MINOR


def _without_unknown(found: dict[str, Any], error: ValidationError) -> dict[str, Any] | None:
    """Returns the manifest of a newer minor version without the fields that are unknown here, None if all are known."""
    places = [problem["loc"] for problem in error.errors() if problem["type"] == "extra_forbidden"]
    for *path, name in places:
        inner: Any = found
        for part in path:
            inner = inner[part]
        del inner[name]
    return found if places else None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except (OSError, ValueError):
        return False


def _read_manifest(path: Path) -> str:
    try:
        if not path.is_file():
            raise BundleError(MANIFEST, "is missing")
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise BundleError(MANIFEST, f"is larger than {MAX_MANIFEST_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(MANIFEST, f"is not JSON: {error}") from None
    except OSError as error:
        raise BundleError(MANIFEST, f"cannot be read: {error.strerror}") from None


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(MANIFEST, f"is not JSON: {first_line(error)}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BundleError(MANIFEST, f"field {short_repr(twice)} is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _first_problem(error: ValidationError, fields: dict[str, Any]) -> BundleError:
    problem = error.errors(include_url=False, include_context=False)[0]
    missing = problem["type"] == "missing"
    loc = problem["loc"]
    field = field_path([*_place(loc[:-1], fields), loc[-1]] if missing else _place(loc, fields))
    if missing:
        return BundleError(MANIFEST, "is missing", field)
    if problem["type"] == "extra_forbidden":
        return BundleError(MANIFEST, "is not a known field", field)
    reason = first_line(problem["msg"]).removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict) else f", got {short_repr(problem['input'])}"
    return BundleError(MANIFEST, reason + got, field)


def field_path(loc: Iterable[int | str]) -> str | None:
    """A place in the manifest as one printable word, None for the manifest itself.

    >>> field_path(("stages", "head", "inputs", 0, "dtype"))
    'stages.head.inputs.0.dtype'
    """
    words = [shorten(str(part)) if isinstance(part, int) or part.isidentifier() else short_repr(part) for part in loc]
    return ".".join(words) or None


def _place(loc: Iterable[int | str], fields: Any) -> Iterator[int | str]:
    """The parts of a place that the manifest has; pydantic adds the sides of unions and a mark for keys."""
    for part in loc:
        try:
            fields = fields[part]
        except (KeyError, IndexError, TypeError):
            continue
        yield part


def _check_file(folder: Path, name: str, entry: FileEntry, verify: bool) -> None:
    path = folder / name
    try:
        _check_place(folder, name)
        size = path.stat().st_size
        if size != entry.size_bytes:
            what = "truncated" if size < entry.size_bytes else "too long"
            raise BundleError(name, f"is {what}: got {size} bytes, expected {entry.size_bytes}", "size_bytes")
        if verify and file_sha256(path) != entry.sha256:
            raise BundleError(name, "is not the file that was exported: other sha256", "sha256")
    except OSError as error:
        raise BundleError(name, f"cannot be read: {error.strerror}") from None


def _packages(manifest: Bundle) -> set[str]:
    return {name.split("/")[0] for name in manifest.files if "/" in name}


def _check_package(folder: Path, package: str, manifest: Bundle) -> None:
    """A package is read as a whole: nothing may lie in it that is not listed."""
    for path in (folder / package).rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name not in manifest.files and (path.is_symlink() or not path.is_dir()):
            raise BundleError(name, "is in the package, but not listed", "files")


def _check_place(folder: Path, name: str) -> None:
    try:
        real = (folder / name).resolve(strict=True)
    except (FileNotFoundError, NotADirectoryError, RuntimeError):
        raise BundleError(name, "is missing") from None
    in_store = _in_blob_store(folder.resolve(), real)
    if not real.is_relative_to(folder.resolve()) and not in_store:
        raise BundleError(name, "leads outside the bundle folder; copy the folder with what its links lead to: cp -rL")
    if "/" in name and not in_store and real != folder.resolve() / name:
        raise BundleError(name, "is a link, or lies behind one")
    if not stat.S_ISREG(real.stat().st_mode):
        raise BundleError(name, "is not a file")


def _in_blob_store(folder: Path, real: Path) -> bool:
    """Whether a file lies in the blob store of the model hub's cache whose snapshot the folder is."""
    return folder.parent.name == "snapshots" and real.parent == folder.parent.parent / "blobs"
