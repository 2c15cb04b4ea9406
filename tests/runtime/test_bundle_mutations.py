"""Whatever is done to a valid manifest: it opens, or there is a `BundleError`."""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from handmade_bundle import write_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vlmprune_runtime.bundle import open_bundle, parse_manifest
from vlmprune_runtime.errors import BundleError

FOLDER = write_bundle(Path(tempfile.mkdtemp(prefix="vlmprune-test-")) / "bundle")
TEXT = (FOLDER / "bundle.json").read_text()
WHOLE = json.loads(TEXT)

numbers = st.integers() | st.floats() | st.integers(-2, 2)
names = st.text(max_size=12) | st.sampled_from(
    ["../x", "bundle.json", "head.onnx", "{prompt}", "<image>", "\ud800"]
)
leaves = st.none() | st.booleans() | numbers | names
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
)


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


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_changed_fields(data: st.DataObject) -> None:
    fields = copy.deepcopy(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        if containers(fields):
            change(data, fields)
    opens_or_tells(json.dumps(fields))


@given(st.integers(0, len(TEXT)), st.integers(0, 40), st.text(max_size=6))
@settings(max_examples=300, deadline=None)
def test_changed_text(place: int, cut: int, put: str) -> None:
    opens_or_tells(TEXT[:place] + put + TEXT[place + cut :])


def opens_or_tells(text: str) -> None:
    """Both ways in: the text, and the folder with it."""
    try:
        parse_manifest(text)
    except BundleError as error:
        assert "\n" not in str(error)
    data = text.encode(errors="surrogatepass")
    (FOLDER / "bundle.json").write_bytes(data)
    try:
        assert open_bundle(FOLDER, verify=False).manifest.schema_version == 1
    except BundleError as error:
        assert error.file
