"""What this machine is and how warm; None where the system does not tell."""

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
    """What may disturb a measurement."""

    celsius: float | None
    load: float | None


def read_device_state() -> DeviceState:
    """The hottest sensor and the load of the last minute, now."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return DeviceState(hottest_celsius(THERMAL_ZONES), load)


def describe_device(before: DeviceState, after: DeviceState) -> Device:
    """The machine, and the weather around the measurement."""
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
    """The processor's name in /proc/cpuinfo.

    >>> cpu_name("processor : 0\\nmodel name\\t: Some CPU @ 2 GHz\\n")
    'Some CPU @ 2 GHz'
    """
    found = re.search(r"^(?:model name|Model|Hardware)\s*: (.+)$", cpu_info, re.M)
    return found.group(1).strip() if found else None


def os_name(os_release: str) -> str:
    """The distribution, or the system where there is none, and the kernel."""
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)"?$', os_release, re.M)
    kernel = f"{platform.system()} {platform.release()}"
    return f"{found.group(1)}, {kernel}" if found else kernel


def hottest_celsius(zones: Path) -> float | None:
    """The highest reading of a folder of thermal zones, which are in thousandths of a degree."""
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
