"""Finds a checkpoint's name and location from what a user gives as MODEL, without fetching anything."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from vlmprune_runtime.errors import BadRequest, comma_list, first_line, short_repr
from vlmprune_runtime.schema import Source

HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
NO_OWNERS = ("datasets", "spaces")  # a hub's addresses that begin with these lead to no model
HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
CONFIGS = ("config.json", "adapter_config.json")
SNAPSHOTS, CACHED = "snapshots", "models--"


@dataclass(frozen=True)
class Origin:
    """A checkpoint's name, its hub id or absolute folder, its revision, and its folder if it is on this machine."""

    name: str
    model: str
    revision: str | None
    folder: Path | None


def origin_of(model: str) -> Origin:
    """Returns the origin of a local folder, a snapshot in the hub's cache, a hub id OWNER/NAME, or a hub's address.

    Raises `BadRequest` for what is none of these.
    """
    try:
        if Path(model).expanduser().exists():
            return _local(model, Path(model).expanduser())
    except (OSError, ValueError, RuntimeError) as error:
        raise BadRequest(
            f"no folder {short_repr(model)}: {getattr(error, 'strerror', None) or first_line(error)}"
        ) from None
    path, revision = _addressed(model)
    if not HUB_ID.fullmatch(path):
        raise BadRequest(
            f"no folder {short_repr(model)}; a checkpoint is a local folder, a hub id OWNER/NAME, or 'pocket'"
        )
    if path == model:
        _check_no_typo(model)
    return Origin(path.split("/")[1], path, revision, None)


def model_argument(source: Source) -> str:
    """Returns what a user would give as MODEL for the checkpoint that a bundle was made from.

    >>> model_argument(Source(model="llava-hf/llava-1.5-7b-hf", revision="0123"))
    'https://huggingface.co/llava-hf/llava-1.5-7b-hf/tree/0123'
    """
    return f"https://{HOSTS[0]}/{source.model}/tree/{source.revision}" if source.revision else source.model


def _local(model: str, path: Path) -> Origin:
    if path.is_file():
        raise BadRequest(f"{short_repr(model)} is a file; a checkpoint is a folder with config.json and weights")
    if not any((path / name).is_file() for name in CONFIGS):
        raise BadRequest(f"{short_repr(model)} is no checkpoint: config.json is missing")
    folder = path.resolve()
    cached = folder.parent.parent.name
    if folder.parent.name == SNAPSHOTS and cached.startswith(CACHED) and cached.count("--") == 2:
        owner, name = cached.split("--")[1:]
        return Origin(name, f"{owner}/{name}", folder.name, folder)
    return Origin(folder.name or "checkpoint", str(folder), None, folder)


def _addressed(model: str) -> tuple[str, str | None]:
    """Returns hub id and revision of an address, and any other text as it is."""
    text = model if "://" in model else f"https://{model}"
    try:
        address = urlsplit(text)
    except ValueError:
        return model, None
    hosts = (*HOSTS, urlsplit(os.environ.get("HF_ENDPOINT", "")).netloc)
    parts = [part for part in address.path.split("/") if part]
    if not address.netloc or address.netloc not in hosts or len(parts) < 2 or parts[0] in NO_OWNERS:
        return model, None
    revision = parts[3] if len(parts) > 3 and parts[2] in ("tree", "blob", "resolve", "commit") else None
    return "/".join(parts[:2]), revision


def _check_no_typo(model: str) -> None:
    """Raises `BadRequest` for OWNER/NAME with a local folder OWNER, which means a missing folder in it.

    A hub would take minutes to say so.
    """
    above = Path(model).parent
    if above.is_dir():
        beside = sorted(path.name for path in above.iterdir() if path.is_dir() and not path.name.startswith("."))
        raise BadRequest(f"no folder {short_repr(model)}; {short_repr(above)} holds: {comma_list(beside, 200)}")
