"""A hostile bundle cannot make a message long: every value that a message shows is cut."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from handmade_bundle import save_manifest

from vlmprune_runtime.bundle import open_bundle
from vlmprune_runtime.engines import load_engine
from vlmprune_runtime.engines.signature import check_signatures
from vlmprune_runtime.errors import (
    BadRequest,
    BundleError,
    EngineError,
    LoweringError,
    UnknownName,
    VlmPruneError,
    comma_list,
    first_line,
)

LONG = "x" * 70_000
MOST_CHARS = 800
VALUES: dict[str, Any] = {
    "identifier": LONG,
    "text": "a\n\x1b[2J" * 10_000,
    "number": 10**400,
    "allowed number": 2**52,
    "list": [LONG] * 9,
    "many": list(range(20_000)),
    "object": {LONG: {LONG: 1}},
}


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a manifest, with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


def told(folder: Path) -> str:
    """What opening and loading say, the empty text if nothing is wrong."""
    try:
        bundle = open_bundle(folder, verify=False)
        check_signatures(bundle.manifest)
        load_engine(bundle)
    except VlmPruneError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", VALUES)
def test_every_value_of_a_manifest(copied_folder: Path, kind: str) -> None:
    whole = json.loads((copied_folder / "bundle.json").read_text())
    found = 0
    for nth in range(sum(1 for _ in places(whole))):
        fields = json.loads(json.dumps(whole))
        container, key = list(places(fields))[nth]
        container[key] = VALUES[kind]
        save_manifest(copied_folder, fields)
        message = told(copied_folder)
        assert len(message) <= MOST_CHARS, message[:200]
        assert message.isprintable()
        found += bool(message)
    assert found > 50


def test_every_name_of_a_manifest(copied_folder: Path) -> None:
    whole = json.loads((copied_folder / "bundle.json").read_text())
    for nth in range(sum(1 for _ in places(whole))):
        fields = json.loads(json.dumps(whole))
        container, key = list(places(fields))[nth]
        if isinstance(container, dict):
            container[LONG] = container.pop(key)
            save_manifest(copied_folder, fields)
            assert len(told(copied_folder)) <= MOST_CHARS


ERRORS: list[Callable[[], VlmPruneError]] = [
    lambda: BadRequest(LONG),
    lambda: UnknownName("stage", LONG, [LONG] * 99),
    lambda: BundleError(LONG, LONG, LONG),
    lambda: EngineError(LONG, LONG),
    lambda: LoweringError("tail", "onnx", ValueError(LONG)),
]


@pytest.mark.parametrize("make", ERRORS)
def test_every_error_is_cut(make: Callable[[], VlmPruneError]) -> None:
    assert len(str(make())) <= 1000


def test_no_message_ends_where_its_choices_begin() -> None:
    assert first_line("Can't make one of:\n  red\n  blue") == "Can't make one of: red"
    assert first_line("one of:\n\n") == "one of"
    assert str(UnknownName("stage", "x", [])).endswith("choose one of: none")
    assert str(UnknownName("stage", "x", [LONG])).endswith("x")


def test_lists_say_how_many_are_left_out() -> None:
    assert comma_list(map(str, range(1000)), 20) == "0, 1, 2, 3, 4, 5, 6, ... (993 more)"
