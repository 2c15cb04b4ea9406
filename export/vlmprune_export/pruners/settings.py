"""Reads the settings of a pruner and checks their values."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from vlmprune_runtime.errors import BadRequest

S = TypeVar("S")


def read_settings(kind: type[S], method: str, given: Mapping[str, Any]) -> S:
    """Returns the settings of a pruner from names and values. Raises `BadRequest` for a name that it does not have."""
    allowed = sorted(field.name for field in fields(kind))  # type: ignore[arg-type]
    for name in given:
        if name not in allowed:
            choices = ", ".join(allowed) or "none"
            raise BadRequest(f"pruner {method!r} has no setting {name!r}; allowed: {choices}")
    return kind(**given)


def check_integer(name: str, got: object, least: int, most: int) -> None:
    """Raises `BadRequest` unless the value is a whole number from `least` to `most`."""
    if isinstance(got, bool) or not isinstance(got, int) or not least <= got <= most:
        raise BadRequest(f"{name} is {got!r}; allowed: a whole number from {least} to {most}")


def check_number(name: str, got: object, least: float, most: float) -> None:
    """Raises `BadRequest` unless the value is a number from `least` to `most`; NaN never is."""
    if isinstance(got, bool) or not isinstance(got, int | float) or not least <= got <= most:
        raise BadRequest(f"{name} is {got!r}; allowed: a number from {least} to {most}")


def check_boolean(name: str, got: object) -> None:
    """Raises `BadRequest` unless the value is true or false."""
    if not isinstance(got, bool):
        raise BadRequest(f"{name} is {got!r}; allowed: true or false")


@dataclass(frozen=True)
class NoSettings:
    """The settings of a method that has none."""
