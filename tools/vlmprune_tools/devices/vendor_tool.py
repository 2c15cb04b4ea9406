"""Calls the platforms' own programs, `adb` and `xcrun devicectl`."""

import subprocess
from collections.abc import Callable, Sequence

from vlmprune_runtime.errors import BadRequest, DeviceError, first_line

VendorTool = Callable[[Sequence[str]], str]
"""Takes the arguments of a program, its name first, and returns what it prints on stdout."""

LIMIT_S = 3600.0
"""How long a program may take: long enough for a bundle of several gigabytes over a slow cable."""

INSTALL = {"adb": "the Android SDK platform tools", "xcrun": "Xcode 16 or newer, on a Mac"}


def call_tool(arguments: Sequence[str], limit_s: float = LIMIT_S) -> str:
    """Runs a program to its end and returns its stdout.

    Raises `BadRequest` if it cannot be started, and `DeviceError` if it hangs, or with its last words if it fails.
    """
    name = arguments[0]
    try:
        done = subprocess.run(arguments, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=limit_s)
    except FileNotFoundError:
        raise BadRequest(f"{name} was not found; install {INSTALL.get(name, 'it')}") from None
    except OSError as error:
        raise BadRequest(f"{name} cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{name} {arguments[-1]}", f"no end within {limit_s:g} s") from None
    if done.returncode:
        words = (done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()).split(
            "\n"
        )
        raise DeviceError(f"{name} {arguments[-1]}", first_line(words[-1]) or f"exit code {done.returncode}")
    return done.stdout.decode(errors="replace")
