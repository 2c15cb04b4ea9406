"""Reads the resident memory of this process from /proc; the sizes are None on systems without it."""

import re
from pathlib import Path

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def resident_bytes() -> int | None:
    """Returns the memory that is resident now."""
    return status_bytes(_status(), "VmRSS")


def peak_bytes() -> int | None:
    """Returns the most memory that was resident since the process began or `reset_peak` was last called."""
    return status_bytes(_status(), "VmHWM")


def reset_peak() -> None:
    """Resets the peak; where the system refuses, the peak stays that of the whole process."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return


def status_bytes(status: str, field: str) -> int | None:
    """Returns a size from the text of /proc/self/status.

    >>> status_bytes("VmHWM:\\t  20 kB\\nVmRSS:\\t  10 kB\\n", "VmRSS")
    10240
    >>> status_bytes("", "VmRSS") is None
    True
    """
    match = re.search(rf"^{field}:\s*(\d+) kB$", status, re.M)
    return int(match.group(1)) * 1024 if match else None


def _status() -> str:
    try:
        return STATUS.read_text(encoding="ascii")
    except OSError:
        return ""
