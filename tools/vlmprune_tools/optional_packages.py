"""Imports packages of the extra `tools` when they are needed."""

from importlib import import_module
from typing import Any

from vlmprune_runtime.errors import MissingExtra


def tools_package(name: str) -> Any:
    """Imports the module of that name. Raises `MissingExtra`, which says how to install a missing package.

    >>> tools_package("json").dumps([1])
    '[1]'
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or name, "tools") from missing
