"""Defines every error that a user can meet. Each is one line: what is wrong, what was got, what is allowed."""

from collections.abc import Iterable
from os import PathLike

from vlmprune_runtime.installation import install_command

MAX_VALUE_CHARS, MAX_CHOICES_CHARS, MAX_CAUSE_CHARS, MAX_MESSAGE_CHARS = 60, 400, 300, 1000
SEARCHED_CHARS = 10_000  # the part of a cause that is read, since a cause may be megabytes long


class VlmPruneError(Exception):
    """Is the base of all errors that are reported as one line; `exit_code` is the exit code of the command."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Shortens a message whose parts were not shortened."""
        super().__init__(shorten(message, MAX_MESSAGE_CHARS))


class BadRequest(VlmPruneError):
    """A request cannot be met: a setting is out of range, an image is broken, or a prompt is too long."""

    exit_code = 2


class UnknownName(BadRequest):
    """A name is not among the choices, which the message lists."""

    def __init__(self, kind: str, got: str, choices: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {short_repr(got)}; choose one of: {comma_list(sorted(choices))}")


class MissingExtra(BadRequest):
    """A package is not installed; the message says how to install it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: {install_command(extra)}")


class CaptureError(VlmPruneError):
    """`torch.export` could not capture a stage."""

    def __init__(self, stage: str, cause: object) -> None:
        super().__init__(f"stage {short_repr(stage)} could not be captured: {first_line(cause)}")


class LoweringError(VlmPruneError):
    """A captured stage could not be lowered to a target."""

    def __init__(self, stage: str, backend: str, cause: object) -> None:
        super().__init__(f"stage {short_repr(stage)} could not be lowered to {backend}: {first_line(cause)}")


class BundleError(VlmPruneError):
    """A bundle is not as its manifest describes it; `file` and `field` say where."""

    def __init__(self, file: str, reason: str, field: str | None = None) -> None:
        self.file, self.field = file, field
        where = f"{shorten(printable(file))}{f': {shorten(field, MAX_CAUSE_CHARS)}' if field else ''}"
        super().__init__(f"bundle: {where}: {shorten(reason, MAX_CHOICES_CHARS)}")


class EngineError(VlmPruneError):
    """An engine refused to load or to run a stage."""

    def __init__(self, stage: str, cause: object) -> None:
        super().__init__(f"stage {short_repr(stage)} failed: {first_line(cause)}")


class DeviceError(VlmPruneError):
    """A device, or the program that speaks to it, failed; `reason` is why."""

    def __init__(self, device: str, reason: object) -> None:
        self.reason = first_line(reason)
        super().__init__(f"{shorten(printable(device))}: {self.reason}")


class ParityError(VlmPruneError):
    """A stage differs from its PyTorch reference by more than the limit."""

    def __init__(self, what: str, measured: float, limit: float) -> None:
        self.measured, self.limit = measured, limit
        super().__init__(f"parity: {what}: measured {measured:.3g}, limit {limit:.3g}")


def first_line(cause: object) -> str:
    r"""Returns the first non-empty line of a cause, shortened to 300 characters.

    A line that ends in a colon announces what follows, so the next lines belong to it.

    >>> first_line("\n  went wrong\n  here")
    'went wrong'
    >>> first_line("choose one of:\n\n  red\n  blue")
    'choose one of: red'
    """
    lines = [line.strip() for line in str(cause)[:SEARCHED_CHARS].splitlines() if line.strip()]
    text = lines[0] if lines else type(cause).__name__
    for line in lines[1:]:
        if not text.endswith(":"):
            break
        text = f"{text} {line}"
    return shorten(printable(text.rstrip(":")), MAX_CAUSE_CHARS)


def short_repr(value: object, chars: int = MAX_VALUE_CHARS) -> str:
    r"""Returns a value as a message shows it: text in quotes and escaped, and all values shortened.

    >>> short_repr("a\nb"), short_repr(7), short_repr("x" * 99, 10)
    ("'a\\nb'", '7', "'xxxx...x'")
    """
    if isinstance(value, PathLike):
        return shorten(printable(str(value)), MAX_CAUSE_CHARS)
    try:
        return shorten(ascii(value), chars)
    except (ValueError, RecursionError):  # Python refuses to write numbers of very many digits
        return f"a very long {type(value).__name__}"


def comma_list(values: Iterable[object], chars: int = MAX_CHOICES_CHARS) -> str:
    """Returns as many values as fit, each shortened, with commas between them; "none" if there are none.

    >>> comma_list(["red", "blue"]), comma_list([]), comma_list(["red", "blue", "green"], 12)
    ('red, blue', 'none', 'red, blue, ... (1 more)')
    """
    parts = [shorten(printable(str(value))) for value in values]
    for count in range(len(parts), 0, -1):
        text = ", ".join(parts[:count])
        if len(text) <= chars or count == 1:
            return text if count == len(parts) else f"{text}, ... ({len(parts) - count} more)"
    return "none"


def shorten(text: str, chars: int = MAX_VALUE_CHARS) -> str:
    """Returns the text itself if it has at most so many characters, otherwise its two ends.

    >>> shorten("abcdefghijkl", 9)
    'abcd...kl'
    """
    if len(text) <= chars:
        return text
    end = (chars - 3) // 3
    return f"{text[: chars - 3 - end]}...{text[-end:]}"


def printable(text: str) -> str:
    r"""Returns the text with `?` for characters that could control a terminal or break a line.

    >>> printable("a\x1b[2J")
    'a?[2J'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)
