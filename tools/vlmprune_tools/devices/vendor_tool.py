"""Calls the platforms' own programs, `adb` and `xcrun devicectl`."""

import subprocess
from collections.abc import Callable, Sequence

from vlmprune_runtime.errors import BadRequest, DeviceError, first_line

VendorTool = Callable[[Sequence[str]], str]
"""Takes the arguments of a program, its name first, and returns what it prints on stdout."""

INSTALL = {"adb": "the Android SDK platform tools", "xcrun": "Xcode 16 or newer, on a Mac"}


def call_tool(arguments: Sequence[str]) -> str:
    """Runs a program to its end and returns its stdout.

    Raises `BadRequest` if it is not installed, and `DeviceError` with its last words if it fails.
    """
    name = arguments[0]
    try:
        done = subprocess.run(arguments, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        raise BadRequest(f"{name} was not found; install {INSTALL.get(name, 'it')}") from None
    if done.returncode:
        words = (done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()).split(
            "\n"
        )
        raise DeviceError(f"{name} {arguments[-1]}", first_line(words[-1]) or f"exit code {done.returncode}")
    return done.stdout.decode(errors="replace")
