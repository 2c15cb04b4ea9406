"""Opens a bundle, which is a folder with a manifest; a `BundleError` names the file and the field that are wrong."""

import hashlib
import json
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.errors import BundleError, first_line, short_repr, shorten
from vlmprune_runtime.schema import MAJOR, MANIFEST, MINOR, Bundle, FileEntry

MAX_MANIFEST_BYTES = 8 * 2**20
_PART_BYTES = 2**22


@dataclass(frozen=True)
class OpenBundle:
    """Holds a bundle whose manifest and files agree."""

    folder: Path
    manifest: Bundle

    def path(self, name: str) -> Path:
        """Returns the path of a listed file or package. Raises `BundleError` for other names."""
        if name not in {*self.manifest.files, *_packages(self.manifest)}:
            raise BundleError(MANIFEST, f"{short_repr(name)} is not listed", "files")
        return self.folder / name


def open_bundle(
    path: str | PathLike[str], *, verify: bool = True, report: Callable[[str], None] = lambda line: None
) -> OpenBundle:
    """Returns the bundle in folder `path`. Raises `BundleError`.

    `verify=False` skips the hashes; sizes and paths are checked always. `report` gets the percentage of the bytes
    whose hashes are checked.
    """
    folder = Path(path)
    if not _is_folder(folder):
        raise BundleError(str(path), "no such folder")
    manifest = parse_manifest(_read_manifest(folder / MANIFEST))
    read = counted_bytes(sum(entry.size_bytes for entry in manifest.files.values()), report)
    for name, entry in manifest.files.items():
        _check_file(folder, name, entry, read if verify else None)
    for package in _packages(manifest):
        _check_package(folder, package, manifest)
    return OpenBundle(folder, manifest)


def parse_manifest(text: str) -> Bundle:
    """Returns the manifest in a JSON text. Raises `BundleError`; the schema version is checked before anything else."""
    fields = _parse_json(text)
    if not isinstance(fields, dict):
        raise BundleError(MANIFEST, f"is not a JSON object but {short_repr(fields)}")
    newer = _check_version(fields)
    try:
        return Bundle.model_validate_json(text, strict=True)
    except ValidationError as error:
        if newer and (known := _without_unknown(fields, error)) is not None:
            return parse_manifest(json.dumps(known))
        raise _first_problem(error, fields) from None


def _check_version(fields: dict[str, Any]) -> bool:
    """Returns whether the manifest's minor version is newer than this package's. Raises `BundleError`."""
    if "schema_version" in fields:
        raise BundleError(MANIFEST, "was exported by an older vlmprune: export it again", "schema_version")
    version = fields.get("schema")
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


def _without_unknown(fields: dict[str, Any], error: ValidationError) -> dict[str, Any] | None:
    """Returns the manifest of a newer minor version without the fields that are unknown here, None if all are known."""
    unknown = [problem["loc"] for problem in error.errors() if problem["type"] == "extra_forbidden"]
    for *path, name in unknown:
        inner: Any = fields
        for part in path:
            inner = inner[part]
        del inner[name]
    return fields if unknown else None


def file_sha256(path: Path, read: Callable[[int], None] = lambda size_bytes: None) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits; `read` gets the number of bytes of each part of it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART_BYTES):
            digest.update(part)
            read(len(part))
    return digest.hexdigest()


def counted_bytes(total: int, report: Callable[[str], None]) -> Callable[[int], None]:
    """Returns a function that takes numbers of bytes and reports each new percentage of their total.

    >>> lines = []
    >>> read = counted_bytes(3000, lines.append)
    >>> for _ in range(3): read(1000)
    >>> lines
    ['33 % of 2.9 KiB', '66 % of 2.9 KiB', '100 % of 2.9 KiB']
    """
    done, percent = 0, 0

    def read(size_bytes: int) -> None:
        nonlocal done, percent
        done += size_bytes
        if 100 * done // max(1, total) > percent:
            percent = 100 * done // max(1, total)
            report(f"{percent} % of {format_bytes(total)}")

    return read


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
        return json.loads(text, object_pairs_hook=_unique_fields, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(MANIFEST, f"is not JSON: {first_line(error)}") from None


def _unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BundleError(MANIFEST, f"field {short_repr(twice)} is there twice")
    return fields


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _first_problem(error: ValidationError, fields: dict[str, Any]) -> BundleError:
    problem = error.errors(include_url=False, include_context=False)[0]
    missing = problem["type"] == "missing"
    loc = problem["loc"]
    field = field_path([*_known_parts(loc[:-1], fields), loc[-1]] if missing else _known_parts(loc, fields))
    if missing:
        return BundleError(MANIFEST, "is missing", field)
    if problem["type"] == "extra_forbidden":
        return BundleError(MANIFEST, "is not a known field", field)
    reason = first_line(problem["msg"]).removeprefix("Value error, ")
    got = "" if isinstance(problem["input"], dict) else f", got {short_repr(problem['input'])}"
    return BundleError(MANIFEST, reason + got, field)


def field_path(loc: Iterable[int | str]) -> str | None:
    """Returns the path of a field in the manifest as one printable word, None for the manifest itself.

    >>> field_path(("stages", "head", "inputs", 0, "dtype"))
    'stages.head.inputs.0.dtype'
    """
    words = [shorten(str(part)) if isinstance(part, int) or part.isidentifier() else short_repr(part) for part in loc]
    return ".".join(words) or None


def _known_parts(loc: Iterable[int | str], fields: Any) -> Iterator[int | str]:
    """Yields the parts of a path that the manifest has; pydantic adds the members of unions and a mark for keys."""
    for part in loc:
        try:
            fields = fields[part]
        except (KeyError, IndexError, TypeError):
            continue
        yield part


def _check_file(folder: Path, name: str, entry: FileEntry, read: Callable[[int], None] | None) -> None:
    path = folder / name
    try:
        _check_location(folder, name)
        size = path.stat().st_size
        if size != entry.size_bytes:
            what = "truncated" if size < entry.size_bytes else "too long"
            raise BundleError(name, f"is {what}: got {size} bytes, expected {entry.size_bytes}", "size_bytes")
        if read and file_sha256(path, read) != entry.sha256:
            raise BundleError(name, "is not the file that was exported: other sha256", "sha256")
    except OSError as error:
        raise BundleError(name, f"cannot be read: {error.strerror}") from None


def _packages(manifest: Bundle) -> set[str]:
    return {name.split("/")[0] for name in manifest.files if "/" in name}


def _check_package(folder: Path, package: str, manifest: Bundle) -> None:
    """Raises `BundleError` for a file in a package that is not listed, since Core ML reads a package as a whole."""
    for path in (folder / package).rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name not in manifest.files and (path.is_symlink() or not path.is_dir()):
            raise BundleError(name, "is in the package, but not listed", "files")


def _check_location(folder: Path, name: str) -> None:
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
    """Says whether the folder is a snapshot in a model hub's cache and the file lies in that cache's blob store."""
    return folder.parent.name == "snapshots" and real.parent == folder.parent.parent / "blobs"
