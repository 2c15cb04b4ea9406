"""Bundles are pushed, measured and fetched on stand-ins for phones, with the answers of the real programs."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_phones import FakeAndroid, FakeIphone

from vlmprune_runtime.benchmark import BenchmarkRequest, measure
from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.errors import BadRequest, DeviceError
from vlmprune_tools.cli import device as command
from vlmprune_tools.devices import AndroidApp, AndroidRunner, DeviceSettings, IosApp, measure_on_devices
from vlmprune_tools.devices.adb import Adb, attached_androids
from vlmprune_tools.devices.android_app import APPLICATION
from vlmprune_tools.devices.ios_app import PUSHED, attached_iphones
from vlmprune_tools.devices.measuring import check_targets, record_path
from vlmprune_tools.devices.vendor_tool import call_tool

GOLDEN = Path(__file__).parents[2] / "golden"
SETTINGS = DeviceSettings(pairs=2, pause_s=0)


@pytest.fixture(scope="module")
def record() -> str:
    request = BenchmarkRequest(GOLDEN / "image.png", "why?", repetitions=2, warmups=1, tokens=3)
    return measure([GOLDEN / "bundle"], request).model_dump_json()


@pytest.fixture(scope="module")
def bundle() -> OpenBundle:
    return open_bundle(GOLDEN / "bundle")


def android(phone: FakeAndroid) -> AndroidApp:
    return AndroidApp(Adb("PHONE1", phone))


def test_a_bundle_is_pushed_started_and_its_record_fetched(record: str, bundle: OpenBundle, tmp_path: Path) -> None:
    phone, told = FakeAndroid(record), list[str]()
    asked = replace(SETTINGS, prompt='it\'s a "test"; rm -rf /', image=GOLDEN / "image.png")
    found = measure_on_devices([android(phone)], [bundle], asked, tmp_path, told.append)
    assert (found.failures, found.records) == ((), (tmp_path / "PHONE1-bundle.json",))
    assert json.loads(found.records[0].read_text()) == json.loads(record)
    assert phone.pushed == [*bundle.manifest.files, "bundle.json", "image.png"]
    start = phone.started[0]
    assert start[start.index("prompt") + 1] == asked.prompt and start[start.index("pairs") + 1] == "2"
    assert "PHONE1: bundle: measuring, pair 1 of 2" in told


def test_what_is_there_is_not_pushed_or_measured_again(record: str, bundle: OpenBundle, tmp_path: Path) -> None:
    phone = FakeAndroid(record)
    measure_on_devices([android(phone)], [bundle], SETTINGS, tmp_path, print)
    phone.pushed.clear()
    again = measure_on_devices([android(phone)], [bundle], SETTINGS, tmp_path, print)
    assert (len(again.records), len(phone.started)) == (1, 1)
    more = measure_on_devices([android(phone)], [bundle], replace(SETTINGS, pairs=3), tmp_path, print)
    assert (len(more.records), len(phone.started)) == (1, 2)
    assert phone.pushed == ["bundle.json"]


@pytest.mark.parametrize("hashed", [True, False])
def test_another_image_is_measured_anew(hashed: bool, record: str, bundle: OpenBundle, tmp_path: Path) -> None:
    """By the image's hash, or by its name in the record of an app that tells no hash."""
    fields = json.loads(record)
    if not hashed:
        fields["settings"]["image"]["sha256"] = None
    phone, other = FakeAndroid(json.dumps(fields)), tmp_path / "other.png"
    other.write_bytes((GOLDEN / "two_pictures" / "second.png").read_bytes())
    for image, runs in ((GOLDEN / "image.png", 1), (GOLDEN / "image.png", 1), (other, 2)):
        found = measure_on_devices([android(phone)], [bundle], replace(SETTINGS, image=image), tmp_path, print)
        assert (len(found.records), len(phone.started)) == (1, runs)


def test_what_cannot_be_kept_apart_is_refused_before_anything_is_measured(
    record: str, bundle: OpenBundle, tmp_path: Path
) -> None:
    phone = FakeAndroid(record)
    with pytest.raises(BadRequest, match="bundles: got two with the name bundle; allowed: folders of different names"):
        measure_on_devices([android(phone)], [bundle, bundle], SETTINGS, tmp_path, print)
    row = {
        "task": "t",
        "method": "m",
        "keep": 1,
        "accuracy": 1.0,
        "low": 1.0,
        "high": 1.0,
        "n": 1,
        "retained_percent": 1.0,
    }
    accuracy = {"kind": "accuracy", "model": "m", "visual_tokens": 1, "rows": [row]}
    (tmp_path / "PHONE1-bundle.json").write_text(json.dumps(accuracy))
    with pytest.raises(BadRequest, match=r"PHONE1-bundle.json: is not a benchmark record; choose another --out"):
        measure_on_devices([OtherPhone(record), android(phone)], [bundle], SETTINGS, tmp_path, print)
    assert (phone.started, [path.name for path in tmp_path.iterdir()]) == ([], ["PHONE1-bundle.json"])


def test_a_push_goes_on_where_it_broke_off(record: str, bundle: OpenBundle, tmp_path: Path) -> None:
    phone = FakeAndroid(record)
    measure_on_devices([android(phone)], [bundle], SETTINGS, tmp_path / "first", print)
    broken = next(name for name in phone.files if name.endswith("tail.onnx"))
    phone.files[broken] = phone.files[broken][:100]
    phone.pushed.clear()
    measure_on_devices([android(phone)], [bundle], SETTINGS, tmp_path / "second", print)
    assert phone.pushed == ["tail.onnx", "bundle.json"]


FAILURES = {
    "full": ({"full": True}, "arrived otherwise than it was sent; is the device's disk full?"),
    "not installed": ({"installed": False}, f"the app {APPLICATION} is not installed; give --apk FILE"),
    "killed": ({"log": ["progress 0/2"], "runs": False}, "ended before its record was written; was memory short?"),
    "failed": ({"log": ["progress 0/2", "failed The bundle is damaged."]}, "The bundle is damaged."),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_one_line_and_stops_no_other_device(
    name: str, record: str, bundle: OpenBundle, tmp_path: Path
) -> None:
    fields, words = FAILURES[name]
    devices: list[Any] = [android(FakeAndroid(record, **fields)), OtherPhone(record)]
    found = measure_on_devices(devices, [bundle], SETTINGS, tmp_path, print)
    assert found.records == (tmp_path / "OTHER-bundle.json",)
    assert len(found.failures) == 1 and found.failures[0].startswith("PHONE1: ") and words in found.failures[0]


class OtherPhone:
    """A phone on which all goes well."""

    name, targets = "OTHER", ("onnx",)

    def __init__(self, record: str) -> None:
        self.record = record

    def prepare(self, report: Any) -> None:
        """Has nothing to do."""

    def measure(self, bundle: Any, settings: Any, report: Any) -> str:
        """Gives back the record."""
        return self.record


def test_a_silent_app_has_failed(record: str, bundle: OpenBundle, tmp_path: Path) -> None:
    phone = FakeAndroid(record, log=["progress 0/2"])
    found = measure_on_devices([android(phone)], [bundle], replace(SETTINGS, patience_s=0.05), tmp_path, print)
    assert "the app has said nothing for 0 s" in found.failures[0]


def test_a_record_against_its_schema_is_kept_aside(bundle: OpenBundle, tmp_path: Path) -> None:
    found = measure_on_devices([OtherPhone('{"kind": "benchmark"}')], [bundle], SETTINGS, tmp_path, print)
    assert found.records == () and len(found.failures) == 1 and "Field required" in found.failures[0]
    assert (tmp_path / "OTHER-bundle.refused.txt").read_text() == '{"kind": "benchmark"}'
    assert not record_path(tmp_path, "OTHER", bundle).exists()


def test_an_iphone_is_pushed_started_and_its_record_fetched(record: str, bundle: OpenBundle, tmp_path: Path) -> None:
    phone, told = FakeIphone(record), list[str]()
    found = measure_on_devices([IosApp("AAAA-1", tool=phone)], [bundle], SETTINGS, tmp_path, told.append)
    assert (found.failures, found.records) == ((), (tmp_path / "AAAA-1-bundle.json",))
    assert phone.launched[0][5:9] == ["--device", "AAAA-1", "--terminate-existing", APPLICATION]
    assert phone.copied[-1] == "bundle.json" and {*bundle.manifest.files} <= {*phone.copied}
    assert "AAAA-1: bundle: measuring, pair 1 of 2" in told
    phone.copied.clear()
    phone.status = ["failed Memory is short."]
    found = measure_on_devices([IosApp("AAAA-1", tool=phone)], [bundle], SETTINGS, tmp_path / "b", told.append)
    assert (found.failures, phone.copied) == (("AAAA-1: Memory is short.",), ["bundle.json"])


@pytest.mark.parametrize("listed", [b"{damaged", b"[]"])
def test_an_iphone_whose_list_of_copied_files_is_damaged_gets_all_anew(
    listed: bytes, record: str, bundle: OpenBundle, tmp_path: Path
) -> None:
    phone = FakeIphone(record)
    measure_on_devices([IosApp("AAAA-1", tool=phone)], [bundle], SETTINGS, tmp_path, print)
    [place] = [name for name in phone.files if name.endswith(PUSHED)]
    phone.files[place] = listed
    phone.copied.clear()
    phone.status = ["progress 0/2"]
    again = tmp_path / "again"
    again.mkdir()
    found = measure_on_devices([IosApp("AAAA-1", tool=phone)], [bundle], SETTINGS, again, print)
    assert found.failures == () and {*bundle.manifest.files} <= {*phone.copied}


def test_the_runner_without_an_app_gets_pixels_and_token_ids(record: str, bundle: OpenBundle, tmp_path: Path) -> None:
    phone, runner = FakeAndroid(record), tmp_path / "runner"
    runner.write_bytes(b"ELF")
    asked = replace(SETTINGS, prompt="why?", image=GOLDEN / "image.png")
    device = AndroidRunner(Adb("PHONE1", phone), runner, cores="f0")
    found = measure_on_devices([device], [bundle], asked, tmp_path, print)
    assert (found.failures, len(found.records)) == ((), 1)
    assert phone.started[0][:3] == ["taskset", "f0", "/data/local/tmp/vlmprune/vlmprune-runner"]
    assert phone.started[0][-3:] == ["--json", "--repetitions", "2"]
    pixels = phone.files["/data/local/tmp/vlmprune/question/pixels.f32"]
    assert len(pixels) == 4 * 3 * bundle.manifest.grids[0].height_px * bundle.manifest.grids[0].width_px


def test_devices_are_listed_and_say_why_they_are_not_ready(record: str) -> None:
    assert attached_iphones(FakeIphone(record)) == ["AAAA-1"]
    assert attached_androids(FakeAndroid(record)) == ["PHONE1"]
    with pytest.raises(DeviceError, match="X1: waits for your consent; unlock it and allow USB debugging"):
        attached_androids(lambda words: "List of devices attached\nX1\tunauthorized\n")


def test_a_bundle_of_another_target_is_refused_before_anything_is_pushed(record: str, bundle: OpenBundle) -> None:
    with pytest.raises(BadRequest, match="was exported for onnx; allowed here: coreml"):
        check_targets(IosApp("AAAA-1", tool=FakeIphone(record)), [bundle])


def test_programs_that_fail_or_are_missing_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where Xcode is installed, xcrun would be found
    tool = tmp_path / "adb"
    tool.write_text("#!/bin/sh\necho 'adb: error: no space' >&2\nexit 1\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(DeviceError, match="adb: error: no space"):
        call_tool([str(tool), "push"])
    with pytest.raises(BadRequest, match="xcrun was not found; install Xcode 16 or newer, on a Mac"):
        call_tool(["xcrun", "devicectl"])
    with pytest.raises(DeviceError, match="no end within"):
        call_tool(["/bin/sleep", "600"], limit_s=0.1)


def test_the_command_measures_and_writes_a_page(
    record: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(command, "attached_androids", lambda: ["PHONE1"])
    monkeypatch.setattr(command, "Adb", lambda name: Adb(name, FakeAndroid(record)))
    args = ["android", str(GOLDEN / "bundle"), "--pairs", "2", "--out", str(tmp_path / "phone")]
    assert command.main(args) == 0
    assert "<title>vlmprune report</title>" in (tmp_path / "phone" / "report.html").read_text()
    assert command.main([*args, "--device", "PHONE9"]) == 2
    assert "device PHONE9 is not attached; attached: PHONE1" in capsys.readouterr().err
    assert command.main([*args, "--cores", "f0"]) == 2
