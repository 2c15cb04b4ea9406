"""Whatever is done to a valid manifest: it opens, or there is a `BundleError`."""

import json
from pathlib import Path
from typing import Any

import pytest
from handmade_bundle import write_bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmprune_runtime.bundle import open_bundle, parse_manifest
from vlmprune_runtime.errors import BundleError

numbers = st.integers() | st.floats() | st.integers(-2, 2)
names = st.text(max_size=12) | st.sampled_from(["../x", "bundle.json", "head.onnx", "{prompt}", "<image>", "\ud800"])
leaves = st.none() | st.booleans() | numbers | names
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be broken again and again; `whole.json` is how its manifest was."""
    made = write_bundle(tmp_path_factory.mktemp("mutations") / "bundle")
    (made / "bundle.json").rename(made / "whole.json")
    return made


def containers(value: Any) -> list[Any]:
    """All lists and objects of a JSON value that have something in them."""
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [inner for part in below for inner in containers(part)]
    return [value, *found] if below else found


def change(data: st.DataObject, fields: Any) -> None:
    """One field set, deleted or added somewhere."""
    places = containers(fields)
    place = data.draw(st.sampled_from(range(len(places))))
    target = places[place]
    key = data.draw(st.sampled_from(list(target) if isinstance(target, dict) else range(len(target))))
    what = data.draw(st.sampled_from(["set", "delete", "add"]))
    if what == "delete":
        del target[key]
    elif what == "set" or isinstance(target, list):
        target[key] = data.draw(values)
    else:
        target[data.draw(names)] = data.draw(values)


@given(data=st.data())
@settings(max_examples=400)
def test_changed_fields(folder: Path, data: st.DataObject) -> None:
    fields = json.loads((folder / "whole.json").read_text())
    for _ in range(data.draw(st.integers(1, 3))):
        if containers(fields):
            change(data, fields)
    opens_or_tells(folder, json.dumps(fields))


@given(place=st.integers(0, 7000), cut=st.integers(0, 40), put=st.text(max_size=6))
@settings(max_examples=300)
def test_changed_text(folder: Path, place: int, cut: int, put: str) -> None:
    text = (folder / "whole.json").read_text()
    opens_or_tells(folder, text[:place] + put + text[place + cut :])


def opens_or_tells(folder: Path, text: str) -> None:
    """Both ways in: the text, and the folder with it."""
    try:
        parse_manifest(text)
    except BundleError as error:
        assert "\n" not in str(error)
    data = text.encode(errors="surrogatepass")
    (folder / "bundle.json").write_bytes(data)
    try:
        assert open_bundle(folder, verify=False).manifest.version.major == 2
    except BundleError as error:
        assert error.file
