"""Finds the pairs of golden files in a folder and recognises their layout."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from vlmprune_runtime.errors import BadRequest, first_line
from vlmprune_tools.golden.baselines import baseline_cases
from vlmprune_tools.golden.case import Arrays, GoldenCase
from vlmprune_tools.golden.neighbours import neighbour_cases
from vlmprune_tools.golden.selection import selection_cases


def read_cases(folder: Path) -> list[GoldenCase]:
    """Returns the cases of all pairs in a folder. Raises `BadRequest` for a folder that has none or cannot be read."""
    if not folder.is_dir():
        raise BadRequest(f"{folder} is no folder; allowed: a folder with pairs of NAME.json and NAME.npz")
    names = [path.with_suffix("") for path in sorted(folder.glob("*.json")) if path.with_suffix(".npz").is_file()]
    cases = [case for name in names for case in _read_pair(name)]
    if not cases:
        raise BadRequest(f"{folder} has no golden cases; allowed: a folder with pairs of NAME.json and NAME.npz")
    return cases


def _read_pair(name: Path) -> list[GoldenCase]:
    """Returns the cases of a pair; none if the JSON file describes no cases, as files of other purposes do."""
    try:
        content = json.loads(name.with_suffix(".json").read_text(encoding="utf-8"))
        with np.load(name.with_suffix(".npz")) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as cause:
        raise BadRequest(f"{name}.json and .npz cannot be read: {first_line(cause)}") from cause
    try:
        return _cases(content, arrays)
    except (KeyError, TypeError, AttributeError) as cause:
        raise BadRequest(f"{name}.json has not the layout of golden cases: {first_line(cause)}") from cause


def _cases(content: Any, arrays: Arrays) -> list[GoldenCase]:
    if isinstance(content, list):
        return selection_cases(content, arrays)
    cases = content.get("cases")
    if isinstance(cases, list):
        return baseline_cases(content, arrays)
    return [] if cases is None else neighbour_cases(cases, arrays)
