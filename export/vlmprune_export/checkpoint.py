"""Loading a Hugging Face checkpoint, whole, in fp32, or saying in one line why not."""

import hashlib
import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vlmprune_export.adapters import ADAPTERS
from vlmprune_export.pocket import pocket_checkpoint
from vlmprune_runtime.bundle import file_sha256
from vlmprune_runtime.errors import BadRequest, UnknownName, first_line
from vlmprune_runtime.schema import Source

POCKET = "pocket"


@dataclass(frozen=True)
class Checkpoint:
    """A model with the processor that belongs to it."""

    name: str
    model: nn.Module
    processor: Any
    source: Source


def load_checkpoint(model: str, *, progress: Callable[[str], None]) -> Checkpoint:
    """The checkpoint of that name: `pocket`, a local folder, or a hub id.

    Errors: `BadRequest` when it is no checkpoint, is not whole or is of no known family.
    """
    folder = str(pocket_checkpoint(progress=progress)) if model == POCKET else model
    _check_place(folder)
    progress("reading the checkpoint")
    try:
        config, loaded, missing, processor = _load(folder)
    except BadRequest:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as cause:
        raise BadRequest(f"{model!r} cannot be loaded as a checkpoint: {first_line(cause)}") from cause
    if missing:
        raise BadRequest(f"{model!r} lacks {len(missing)} weights, {sorted(missing)[0]!r} among them")
    revision = getattr(config, "_commit_hash", None)
    name = model if model == POCKET else Path(folder).name
    place = model if model == POCKET or not Path(folder).is_dir() else str(Path(folder).resolve())
    return Checkpoint(name, loaded, processor, Source(model=place, revision=revision, sha256=_digest(folder)))


def _check_place(folder: str) -> None:
    path = Path(folder)
    if path.is_file():
        raise BadRequest(f"{folder!r} is a file; a checkpoint is a folder with config.json and weights")
    if path.is_dir() and not (path / "config.json").is_file():
        raise BadRequest(f"{folder!r} is no checkpoint: config.json is missing")
    if not path.is_dir() and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", folder):
        raise BadRequest(f"no folder {folder!r}; a checkpoint is a local folder, a hub id OWNER/NAME, or {POCKET!r}")


def _load(folder: str) -> tuple[Any, nn.Module, set[str], Any]:
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    found: Any

    with _quiet():
        config = AutoConfig.from_pretrained(folder)
        if config.model_type not in ADAPTERS:
            raise UnknownName("model type", config.model_type, ADAPTERS)
        found = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        processor = AutoProcessor.from_pretrained(folder)
    model, info = found
    problems = {*info["missing_keys"], *(str(entry[0]) for entry in info.get("mismatched_keys", ()))}
    return config, model.eval(), problems, processor


def _digest(folder: str) -> str | None:
    """SHA-256 over names and contents of config and weights, None for a checkpoint on a hub."""
    path = Path(folder)
    if not path.is_dir():
        return None
    files = [path / "config.json", *sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])]
    lines = "\n".join(f"{file.name} {file_sha256(file)}" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


class _quiet(warnings.catch_warnings):  # noqa: N801 - used as a function
    """Without transformers' log lines and progress bars: ours says what happens."""

    def __enter__(self) -> None:
        from transformers.utils import logging as hf_logging

        super().__enter__()
        warnings.simplefilter("ignore")
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        hf_logging.disable_progress_bar()

    def __exit__(self, *exception: Any) -> None:
        logging.disable(self._before)
        super().__exit__(*exception)
