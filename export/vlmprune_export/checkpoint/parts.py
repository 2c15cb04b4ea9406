"""Finds a checkpoint's parts: the base weights, and the adapter to merge with them."""

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from vlmprune_export.checkpoint.file_checks import check_files, read_json, weight_files
from vlmprune_export.checkpoint.lora import CONFIG, adapter_weights
from vlmprune_runtime.bundle import counted_bytes, file_sha256
from vlmprune_runtime.errors import BadRequest, comma_list, short_repr
from vlmprune_runtime.progress import Report, part_of

_PATTERNS = ("*.json", "*.model", "*.txt", "*.jinja", "*.safetensors")
_OTHER_WEIGHTS = (".gguf", ".onnx", ".safetensors", ".bin", ".pth", ".pt", ".msgpack", ".h5", ".npz")
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
_ADAPTER_WEIGHTS = "adapter_model"
_PATIENCE_S = 5  # for a hub's first answer


@dataclass(frozen=True)
class Parts:
    """The folders of the base weights and of the adapter, if there is one; both may be the same."""

    base: Path
    adapter: Path | None = None

    @property
    def processor(self) -> Path:
        """Returns the folder of tokenizer and image processor: the adapter's, if it has both."""
        if self.adapter and any((self.adapter / name).is_file() for name in _PROCESSORS):
            return self.adapter
        return self.base

    def folders(self) -> tuple[Path, ...]:
        """Returns each folder once."""
        return (self.base, self.adapter) if self.adapter and self.adapter != self.base else (self.base,)

    def digest(self, report: Report) -> str:
        """Returns the SHA-256 over names and contents of configs and weights; `report` gets how much is read."""
        files = [file for folder in self.folders() for file in _hashed(folder)]
        read = counted_bytes(sum(file.stat().st_size for file in files), part_of("hashing", report))
        lines = "\n".join(f"{file.name} {file_sha256(file, read)}" for file in files)
        return hashlib.sha256(lines.encode()).hexdigest()


def parts_of(folder: Path) -> Parts:
    """Returns the parts of the checkpoint in a folder; an adapter alone is completed with the base model that it names.

    Raises `BadRequest` for damaged files, and when a base model is not at hand.
    """
    check_files(folder)
    if not (folder / CONFIG).is_file():
        _check_has_weights(folder)
        return Parts(folder)
    adapter_weights(folder)
    if _has_weights(folder):
        return Parts(folder, folder)
    base = _base_of(folder)
    check_files(base)
    _check_has_weights(base)
    return Parts(base, folder)


def _check_has_weights(folder: Path) -> None:
    if not weight_files(folder):
        others = sorted(path.name for path in folder.iterdir() if path.suffix in _OTHER_WEIGHTS)
        found = f", but {comma_list(others, 200)}, which are not read" if others else ""
        raise BadRequest(
            f"{folder} has no weights{found}; allowed: model.safetensors or pytorch_model.bin, or their parts with the "
            "index that lists them"
        )


def _hashed(folder: Path) -> Iterator[Path]:
    if (folder / "config.json").is_file():
        yield folder / "config.json"
    if (folder / CONFIG).is_file():
        yield folder / CONFIG
    yield from sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])


def _has_weights(folder: Path) -> bool:
    """Returns whether a folder holds a model of its own, beside an adapter's weights."""
    weights = (*folder.glob("*.safetensors"), *folder.glob("*.bin"))
    return (folder / "config.json").is_file() and any(not path.name.startswith(_ADAPTER_WEIGHTS) for path in weights)


def _base_of(folder: Path) -> Path:
    name = read_json(folder / CONFIG).get("base_model_name_or_path")
    if not name:
        raise BadRequest(f"{folder} is an adapter that names no base model (base_model_name_or_path)")
    for path in (Path(str(name)), folder / str(name)):
        if (path / "config.json").is_file():
            return path
    try:
        return fetched(str(name))
    except (OSError, ValueError, BadRequest) as cause:
        raise BadRequest(
            f"{folder} is an adapter to {str(name)[:200]!r}, which is not at hand; give the folder of that model as "
            f"base_model_name_or_path in {CONFIG}"
        ) from cause


def fetched(name: str, revision: str | None = None) -> Path:
    """Returns the folder of a hub's model in the hub's cache, and fetches the model if it is not there.

    Raises `OSError` or `ValueError` when it cannot be had.
    """
    from huggingface_hub import snapshot_download

    cached_only = not _reachable()

    def folder_with(*patterns: str) -> Path:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=cached_only)
        )

    try:
        folder = folder_with(*_PATTERNS)
        return folder if any(folder.glob("*.safetensors")) else folder_with(*_PATTERNS, "*.bin")
    except OSError as cause:
        if not cached_only:
            raise
        raise BadRequest(
            f"no folder {short_repr(name)}; as a hub id it is not in the cache, and no hub is reachable"
        ) from cause


def _reachable() -> bool:
    """Returns whether the hub answers, because its client would try for a minute. A proxy is left to the client."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    if getproxies():
        return True
    address = urlsplit(constants.ENDPOINT)
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        with socket.create_connection((address.hostname or "", port), timeout=_PATIENCE_S):
            return True
    except OSError:
        return False
