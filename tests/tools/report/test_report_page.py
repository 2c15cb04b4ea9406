"""The page: it says what the records say, asks no network, and no name in a record can steer it."""

import base64
import io
import json
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vlmprune_tools.cli import report

HOSTILE = '"><img src=x onerror=alert(1)></style><script>alert(2)</script>\u202e\u0007{{ 7*7 }}&amp;'
MUST_STAY = {"kind", "order", "measure", "manifest_sha256", "source_sha256", "sha256", "method"}


class Reader(HTMLParser):
    """Elements with their attributes, and all text outside style."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._style else data


def page_of(tmp_path: Path, *arguments: object) -> Reader:
    out = tmp_path / "report.html"
    assert report.main([*map(str, arguments), "--out", str(out)]) == 0
    reader = Reader()
    reader.feed(out.read_text(encoding="utf-8"))
    return reader


def test_methods_are_labelled_and_explained(tmp_path: Path) -> None:
    speed = {"engine": "onnx fp32", "selection_ms": 2, "first_token_ms": 300, "first_token_unpruned_ms": 900}
    speed |= {"first_token_fraction": 0.33, "fraction_low": 0.3, "fraction_high": 0.36, "stages_ms": {"tail": 100.0}}
    speed |= {"flops": None, "memory_bytes": None, "repetitions": 3}
    row = {"method": HOSTILE, "keep": 64, "kept_tokens": 98, "mean_visual_tokens": 98.0, "questions": 80}
    row |= {"accuracy": 0.9, "low": 0.8, "high": 0.95, "retained_percent": 97.0, "speeds": [speed]}
    unpruned = {"accuracy": 0.93, "low": 0.9, "high": 0.96}
    record = {"kind": "methods", "model": "pocket", "visual_tokens": 576, "task": "mean", "data": "scenes"}
    record |= {"against": "vlm-pruner", "unpruned": unpruned, "rows": [row], "notes": [HOSTILE]}
    (tmp_path / "methods.json").write_text(json.dumps(record))
    page = page_of(tmp_path, tmp_path / "methods.json")
    assert "64 kept, onnx fp32" in page.text and "33.0 % of unpruned" in page.text and "98.0" in page.text
    assert "img" not in [name for name, _ in page.elements] and "script" not in [name for name, _ in page.elements]


def test_it_says_what_was_measured(
    benchmark_file: Path, benchmark_fields: dict[str, Any], accuracy_file: Path, tmp_path: Path
) -> None:
    text = page_of(tmp_path, benchmark_file, accuracy_file).text
    (result,) = benchmark_fields["results"]
    assert f"{result['ratios']['ttft']['median']:.2f}\N{MULTIPLICATION SIGN}" in text
    assert f"{result['pruned']['decode_tokens_per_s']:.1f} tokens/s" in text
    assert "top-sum keeps 4 of 16 visual tokens from layer 1 on (75.0 % pruned)" in text
    assert result["bundle"]["manifest_sha256"] in text
    assert "retains 97.8 %" in text
    assert "pocket on scenes" in text and "20 templated questions on 7 images." in text
    for stage in result["pruned"]["stages_ms"]:
        assert stage in text


def test_nothing_is_fetched_and_nothing_runs(benchmark_file: Path, accuracy_file: Path, tmp_path: Path) -> None:
    reader = page_of(tmp_path, benchmark_file, accuracy_file)
    policy = [
        attrs["content"] for tag, attrs in reader.elements if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    _check_quiet(reader)
    style = re.search("<style>(.*)</style>", (tmp_path / "report.html").read_text(), re.S)
    assert style
    assert not re.search(r"url\(|@import", style.group(1))


def _check_quiet(reader: Reader) -> None:
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form"}
    for _, attrs in reader.elements:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))


def _with_hostile_names(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _with_hostile_names(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_hostile_names(item, key) for item in value]
    return HOSTILE if isinstance(value, str) and key not in MUST_STAY else value


def test_hostile_names_stay_text(
    benchmark_fields: dict[str, Any], accuracy_fields: dict[str, Any], tmp_path: Path
) -> None:
    hostile = _with_hostile_names(benchmark_fields)
    hostile["results"][0]["bundle"]["method"] = hostile["results"][0]["engine"]["unit"] = HOSTILE
    hostile["results"][0]["bundle"]["versions"] = {HOSTILE: HOSTILE}
    hostile["device"]["kind"] = "ios"
    evaluation = _with_hostile_names(accuracy_fields)
    for row in evaluation["rows"][1:]:
        row["method"] = HOSTILE
    files = [tmp_path / "hostile.json", tmp_path / "evaluation.json"]
    for path, fields in zip(files, (hostile, evaluation), strict=True):
        path.write_text(json.dumps(fields))
    overlay = tmp_path / '"><b onload=x>.png'
    Image.new("RGB", (8, 8)).save(overlay)
    reader = page_of(tmp_path, *files, "--overlay", overlay)
    _check_quiet(reader)
    assert [tag for tag, _ in reader.elements].count("img") == 1
    assert "b" not in {tag for tag, attrs in reader.elements if "onload" in attrs}
    assert reader.text.count("<script>alert(2)</script>") >= 10
    assert "{{ 7*7 }}&amp;" in reader.text
    marks = {char for char in reader.text if unicodedata.category(char)[0] == "C"}
    assert marks <= {"\n"}


def test_overlay_travels_inside_without_what_else_was_in_the_file(benchmark_file: Path, tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (1600, 800), "red"), Image.Exif()
    exif[0x010E] = "secret place"
    image.save(tmp_path / "kept.png", exif=exif)
    reader = page_of(tmp_path, benchmark_file, "--overlay", tmp_path / "kept.png")
    (found,) = [attrs for tag, attrs in reader.elements if tag == "img"]
    data = base64.b64decode(found["src"].removeprefix("data:image/jpeg;base64,"))
    shown = Image.open(io.BytesIO(data))
    assert shown.size == (int(found["width"]), int(found["height"])) == (1000, 500)
    assert shown.getpixel((500, 250))[0] > 240
    assert b"secret place" not in data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "unknown kind of record"),
        ('{"kind": "holiday"}', "'holiday'; choose one of: accuracy, benchmark"),
        ('{"kind": ["accuracy"]}', "unknown kind of record"),
        ('{"kind": "accuracy", "model": "m", "visual_tokens": 0, "rows": []}', "visual_tokens: Input should be"),
        ('{"kind": "benchmark"}', "created: Field required"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "in.json").write_text(text)
    before = "<title>vlmprune report</title> of before"
    (tmp_path / "report.html").write_text(before)
    assert report.main([str(tmp_path / "in.json"), "--out", str(tmp_path / "report.html")]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "in.json" in shown
    assert (tmp_path / "report.html").read_text() == before


def test_a_page_that_is_no_report_stays(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "in.json").write_text("{}")
    assert report.main([str(tmp_path / "in.json"), "--out", str(tmp_path / "in.json")]) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert (tmp_path / "in.json").read_text() == "{}"


def test_missing_and_binary_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for name, message in (("none.json", "No such file"), ("binary.json", "is not UTF-8 text")):
        assert report.main([str(tmp_path / name), "--out", str(tmp_path / "report.html")]) == 2
        assert message in capsys.readouterr().err


def test_a_phone_record_that_knows_little(benchmark_fields: dict[str, Any], tmp_path: Path) -> None:
    fields = json.loads(json.dumps(benchmark_fields))
    result = fields["results"][0]
    fields["device"] = {"kind": "ios", "name": "A phone", "os": "iOS 26"}
    result["memory"] |= dict.fromkeys([key for key in result["memory"] if key != "measure"], None)
    result["memory"]["measure"] = "phys_footprint"
    result["ceilings"] = result["load_ms"] = result["engine"]["version"] = result["ratios"]["decode"] = None
    for way in ("pruned", "unpruned"):
        keys = ("flops", "decode_ms_per_token", "decode_tokens_per_s", "kv_cache_filled_bytes")
        result[way] |= dict.fromkeys(keys, None)
    (tmp_path / "phone.json").write_text(json.dumps(fields))
    text = page_of(tmp_path, tmp_path / "phone.json").text
    assert "A phone" in text
    assert "None" not in text
