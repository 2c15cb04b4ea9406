"""Stand-ins for `adb` and `xcrun devicectl` with the answers of those programs; no phone was at hand.

The benchmark record they give back is one that was measured here.
"""

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vlmprune_runtime.errors import DeviceError
from vlmprune_tools.devices.android_app import APPLICATION, FILES


@dataclass
class FakeAndroid:
    """Answers as `adb` does for one device; `log` has what the app says, one line more each time it is asked."""

    record: str
    log: list[str] = field(default_factory=lambda: ["progress 0/2", "progress 1/2", "written"])
    installed: bool = True
    files: dict[str, bytes] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)
    started: list[list[str]] = field(default_factory=list)
    full: bool = False
    runs: bool = True
    _said: int = 0

    def __call__(self, arguments: Sequence[str]) -> str:
        """Takes the arguments of `adb`."""
        if arguments[1] == "devices":
            return "List of devices attached\nPHONE1\tdevice\n\n"
        assert list(arguments[:3]) == ["adb", "-s", "PHONE1"]
        action, *rest = arguments[3:]
        if action == "push":
            return self._push(*rest)
        if action == "install":
            self.installed = True
            return "Success\n"
        return self._shell(shlex.split(rest[0]))

    def _push(self, source: str, target: str) -> str:
        self.pushed.append(Path(target).name)
        self.files[target] = Path(source).read_bytes()[: 10 if self.full else None]
        return "1 file pushed"

    def _shell(self, words: list[str]) -> str:
        if words[0] == "sh":
            return self._sha256sum(words[2])
        if words[0] == "pm":
            return f"package:/data/app/{APPLICATION}/base.apk\n" if self.installed else ""
        if words[0] == "pidof":
            return "4711\n" if self.runs else ""
        if words[0] == "logcat":
            return self._logcat()
        if words[:2] == ["am", "start"]:
            self.started.append(words)
        if words[0].endswith("vlmprune-runner") or words[0] == "taskset":
            self.started.append(words)
            return self.record
        if words[0] == "cat":
            assert words[1] == str(FILES / "records" / self.name)
            return self.record
        return ""

    def _sha256sum(self, command: str) -> str:
        _, folder, _, _, *names = shlex.split(command.split(" 2>")[0])
        there = {name: self.files.get(f"{folder}/{name}") for name in names}
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in there.items() if data is not None}
        return "".join(f"{sha256}  {name}\n" for name, sha256 in hashes.items())

    @property
    def name(self) -> str:
        """The name of the record that the app was started with."""
        words = self.started[-1]
        return words[words.index("record") + 1]

    def _logcat(self) -> str:
        self._said = min(self._said + 1, len(self.log))
        older = ["--------- beginning of main", "1234.json written /sdcard/an-older-run"]
        return "\n".join([*older, *(f"{self.name} {line}" for line in self.log[: self._said])])


@dataclass
class FakeIphone:
    """Answers as `xcrun devicectl` does for one device; `status` has the lines of the app's status file in turn."""

    record: str
    status: list[str] = field(default_factory=lambda: ["progress 0/2", "progress 1/2"])
    files: dict[str, bytes] = field(default_factory=dict)
    launched: list[list[str]] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)

    def __call__(self, arguments: Sequence[str]) -> str:
        """Takes the arguments of `xcrun`."""
        words = list(arguments)
        if words[1:4] == ["devicectl", "list", "devices"]:
            Path(words[-1]).write_text(json.dumps({"result": {"devices": DEVICES}}))
            return ""
        assert words[:3] == ["xcrun", "devicectl", "device"]
        option = {name: words[words.index(name) + 1] for name in words if name in ("--source", "--destination")}
        if words[3:5] == ["copy", "to"]:
            self.copied.append(Path(option["--destination"]).name)
            self.files[option["--destination"]] = Path(option["--source"]).read_bytes()
        elif words[3:5] == ["copy", "from"]:
            Path(option["--destination"]).write_bytes(self._content(option["--source"]))
        elif words[3:5] == ["process", "launch"]:
            self.launched.append(words)
        return ""

    def _content(self, source: str) -> bytes:
        if source.endswith(".status") and self.status:
            return self.status.pop(0).encode()
        if source.startswith("Documents/records/") and not source.endswith(".status") and not self.status:
            return self.record.encode()
        if source in self.files:
            return self.files[source]
        raise DeviceError("xcrun", "The specified file could not be found.")


DEVICES = [
    {
        "identifier": "AAAA-1",
        "connectionProperties": {"pairingState": "paired"},
        "hardwareProperties": {"platform": "iOS"},
    },
    {
        "identifier": "BBBB-2",
        "connectionProperties": {"pairingState": "unpaired"},
        "hardwareProperties": {"platform": "iOS"},
    },
    {
        "identifier": "WATCH",
        "connectionProperties": {"pairingState": "paired"},
        "hardwareProperties": {"platform": "watchOS"},
    },
]
