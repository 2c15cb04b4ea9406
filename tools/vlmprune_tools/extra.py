"""Packages that come with the extra `tools`, imported when they are needed."""

from importlib import import_module
from typing import Any

from vlmprune_runtime.errors import MissingExtra


def tools_package(name: str) -> Any:
    """The module of that name; `MissingExtra` says how to install what is not there.

    >>> tools_package("json").dumps([1])
    '[1]'
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or name, "tools") from missing
