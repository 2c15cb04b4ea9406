"""Resident memory of this process, from /proc; None on systems without it."""

import re
from pathlib import Path

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def resident_bytes() -> int | None:
    """Resident now."""
    return status_bytes(_status(), "VmRSS")


def peak_bytes() -> int | None:
    """The most that was resident since the process began or `reset_peak` was last called."""
    return status_bytes(_status(), "VmHWM")


def reset_peak() -> None:
    """Start the peak anew; where the system refuses, the peak is that of the whole process."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return


def status_bytes(status: str, field: str) -> int | None:
    """A size out of /proc/self/status.

    >>> status_bytes("VmHWM:\\t  20 kB\\nVmRSS:\\t  10 kB\\n", "VmRSS")
    10240
    >>> status_bytes("", "VmRSS") is None
    True
    """
    found = re.search(rf"^{field}:\s*(\d+) kB$", status, re.M)
    return int(found.group(1)) * 1024 if found else None


def _status() -> str:
    try:
        return STATUS.read_text(encoding="ascii")
    except OSError:
        return ""
