"""Checks a checkpoint's files before any of them is loaded: each must be complete and of the kind its name says."""

import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest

_POINTER = b"version https://git-lfs.github.com/spec/"
_PICKLE = b"\x80"  # PyTorch's format before 1.6
_HEADER_BYTES = 8
_LARGEST_HEADER_BYTES = 100_000_000  # the format's own limit
_NAMES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "adapter_config.json",
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
)


def check_files(folder: Path) -> None:
    """Raises `BadRequest` for a file that is a git-lfs pointer, is cut short, or is not of its kind.

    The message has the path of the file and says what to do.
    """
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        if path.suffix in (".safetensors", ".bin", ".model", ".json", ".txt", ".jinja"):
            _check_pointer(path)
    for name in _NAMES:
        if (folder / name).is_file():
            read_json(folder / name)
    for path in weight_files(folder):
        check_weights(path)


def weight_files(folder: Path) -> list[Path]:
    """Returns the files with a checkpoint's weights, safetensors before PyTorch's own; those of adapters are excluded.

    Raises `BadRequest` when an index names a file that is not there.
    """
    for suffix, stem in ((".safetensors", "model"), (".bin", "pytorch_model")):
        index = folder / f"{stem}{suffix}.index.json"
        if (folder / f"{stem}{suffix}").is_file():
            return [folder / f"{stem}{suffix}"]
        if index.is_file():
            return list(_shards(index))
    return []


def check_weights(path: Path) -> None:
    """Raises `BadRequest` for a weight file that is cut short or is not one."""
    if path.suffix == ".safetensors":
        stored_shapes(path)
        return
    with path.open("rb") as file:
        first = file.read(1)
    if not zipfile.is_zipfile(path) and first != _PICKLE:
        raise BadRequest(f"{path} is no file of PyTorch weights, or is cut short; fetch it again")


def stored_shapes(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns element type and shape of every tensor in a safetensors file, read from its header.

    Raises `BadRequest` for a file that is cut short or no safetensors file.
    """
    size = path.stat().st_size
    entries = _header(path, size)
    entries.pop("__metadata__", None)
    end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    whole = end + _header_end(path)
    if whole > size:
        raise BadRequest(f"{path} is cut short: {size:,} bytes of {whole:,}; fetch it again")
    return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in entries.items()}


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file. Raises `BadRequest` if there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as cause:
        raise BadRequest(f"{path} is no JSON file, or is cut short: {cause}"[:300]) from cause
    if not isinstance(content, dict):
        raise BadRequest(f"{path} holds no JSON object")
    return content


def _check_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise BadRequest(f"{path} is a git-lfs pointer, not the file itself; run: git -C {path.parent} lfs pull")


def _shards(index: Path) -> Iterator[Path]:
    names = read_json(index).get("weight_map", {})
    files: Iterable[str] = names.values() if isinstance(names, dict) else ()
    for name in sorted({str(name) for name in files}):
        path = index.parent / name
        if not path.is_file():
            raise BadRequest(f"{path} is missing, which {index.name} names; fetch it")
        yield path


def _header_end(path: Path) -> int:
    with path.open("rb") as file:
        return _HEADER_BYTES + int.from_bytes(file.read(_HEADER_BYTES), "little")


def _header(path: Path, size: int) -> dict[str, Any]:
    """Returns the entries of the tensors by name."""
    end = _header_end(path)
    if size < _HEADER_BYTES or end > _LARGEST_HEADER_BYTES:
        raise BadRequest(f"{path} is no safetensors file; fetch it again")
    if size < end:
        raise BadRequest(
            f"{path} is cut short: {size:,} bytes, of which the header alone takes {end:,}; fetch it again"
        )
    try:
        with path.open("rb") as file:
            file.seek(_HEADER_BYTES)
            entries: dict[str, Any] = json.loads(file.read(end - _HEADER_BYTES))
        if not all("data_offsets" in entry for name, entry in entries.items() if name != "__metadata__"):
            raise ValueError("an entry without data_offsets")
    except (ValueError, AttributeError, TypeError) as cause:
        raise BadRequest(f"{path} is no safetensors file: {cause}"[:300]) from cause
    return entries
