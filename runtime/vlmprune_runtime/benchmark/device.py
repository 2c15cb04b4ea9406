"""Reads the description and the state of this machine; a value is None where the system does not report it."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from vlmprune_runtime.benchmark.run_metadata import Device, Thermal

CPU_INFO, OS_RELEASE = Path("/proc/cpuinfo"), Path("/etc/os-release")
THERMAL_ZONES = Path("/sys/class/thermal")


@dataclass(frozen=True)
class DeviceState:
    """Holds the device's state that may disturb a measurement: temperature and load."""

    celsius: float | None
    load: float | None


def read_device_state() -> DeviceState:
    """Reads the temperature of the hottest sensor and the load of the last minute."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return DeviceState(hottest_celsius(THERMAL_ZONES), load)


def describe_device(before: DeviceState, after: DeviceState) -> Device:
    """Returns the machine's description, with the device's state before and after the measurement."""
    cpu = cpu_name(_read(CPU_INFO)) or platform.processor() or None
    return Device(
        kind="desktop",
        name=cpu or platform.machine() or "unknown",
        os=os_name(_read(OS_RELEASE)),
        cpu=cpu,
        cores=os.cpu_count(),
        memory_bytes=_memory_bytes(),
        load_before=before.load,
        thermal=_thermal(before, after),
    )


def cpu_name(cpu_info: str) -> str | None:
    """Returns the processor's name from the text of /proc/cpuinfo.

    >>> cpu_name("processor : 0\\nmodel name\\t: Some CPU @ 2 GHz\\n")
    'Some CPU @ 2 GHz'
    """
    match = re.search(r"^(?:model name|Model|Hardware)\s*: (.+)$", cpu_info, re.M)
    return match.group(1).strip() if match else None


def os_name(os_release: str) -> str:
    """Returns the distribution, if the text of /etc/os-release names it, and the kernel."""
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)"?$', os_release, re.M)
    kernel = f"{platform.system()} {platform.release()}"
    return f"{match.group(1)}, {kernel}" if match else kernel


def hottest_celsius(zones: Path) -> float | None:
    """Returns the highest reading in a folder of thermal zones; their files are in thousandths of a degree."""
    readings = [_read(zone) for zone in sorted(zones.glob("thermal_zone*/temp"))]
    degrees = [int(text) / 1000 for text in readings if re.fullmatch(r"-?\d+\s*", text)]
    return max(degrees, default=None)


def _thermal(before: DeviceState, after: DeviceState) -> Thermal | None:
    if before.celsius is None and after.celsius is None:
        return None
    return Thermal(before_celsius=before.celsius, after_celsius=after.celsius)


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
