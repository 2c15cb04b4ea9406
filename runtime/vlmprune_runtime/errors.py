"""Every error a user can meet, one line each: what was wrong, what was got, what is allowed."""

from collections.abc import Iterable
from os import PathLike

MAX_VALUE_CHARS, MAX_CHOICES_CHARS, MAX_CAUSE_CHARS, MAX_MESSAGE_CHARS = 60, 400, 300, 1000
SEARCHED_CHARS = 10_000  # of a cause that may be megabytes long


class VlmPruneError(Exception):
    """Base of all errors that are reported as one line; `exit_code` is what a command exits with."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        """Cut a message whose parts nobody has cut."""
        super().__init__(shorten(message, MAX_MESSAGE_CHARS))


class BadRequest(VlmPruneError):
    """A request cannot be met: a setting is out of range, an image is broken, or a prompt is too long."""

    exit_code = 2


class UnknownName(BadRequest):
    """A name that is not in a table; the message lists the choices."""

    def __init__(self, kind: str, got: str, choices: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {short_repr(got)}; choose one of: {comma_list(sorted(choices))}")


class MissingExtra(BadRequest):
    """A package that is not installed; the message says how to install it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'vlmprune[{extra}]'")


class CaptureError(VlmPruneError):
    """`torch.export` could not capture a stage."""

    def __init__(self, stage: str, cause: object) -> None:
        super().__init__(f"stage {short_repr(stage)} could not be captured: {first_line(cause)}")


class LoweringError(VlmPruneError):
    """A captured stage could not be lowered to a target."""

    def __init__(self, stage: str, backend: str, cause: object) -> None:
        super().__init__(f"stage {short_repr(stage)} could not be lowered to {backend}: {first_line(cause)}")


class BundleError(VlmPruneError):
    """A bundle that is not what its manifest says; `file` and `field` name the place."""

    def __init__(self, file: str, reason: str, field: str | None = None) -> None:
        self.file, self.field = file, field
        where = f"{shorten(printable(file))}{f': {shorten(field, MAX_CAUSE_CHARS)}' if field else ''}"
        super().__init__(f"bundle: {where}: {shorten(reason, MAX_CHOICES_CHARS)}")


class EngineError(VlmPruneError):
    """An engine refused to load or to run a stage."""

    def __init__(self, stage: str, cause: object) -> None:
        super().__init__(f"stage {short_repr(stage)} failed: {first_line(cause)}")


class ParityError(VlmPruneError):
    """A stage differs from its PyTorch reference by more than the limit."""

    def __init__(self, what: str, measured: float, limit: float) -> None:
        self.measured, self.limit = measured, limit
        super().__init__(f"parity: {what}: measured {measured:.3g}, limit {limit:.3g}")


def first_line(cause: object) -> str:
    r"""The first non-empty line of a cause, as one-line messages need it, cut to 300 characters.

    A line that ends in a colon announces what follows, so the next lines belong to it.

    >>> first_line("\n  went wrong\n  here")
    'went wrong'
    >>> first_line("choose one of:\n\n  red\n  blue")
    'choose one of: red'
    """
    lines = [line.strip() for line in str(cause)[:SEARCHED_CHARS].splitlines() if line.strip()]
    found = lines[0] if lines else type(cause).__name__
    for line in lines[1:]:
        if not found.endswith(":"):
            break
        found = f"{found} {line}"
    return shorten(printable(found.rstrip(":")), MAX_CAUSE_CHARS)


def short_repr(value: object, chars: int = MAX_VALUE_CHARS) -> str:
    r"""A value that a message shows: in quotes where it is a text, without what steers a terminal, and cut.

    >>> short_repr("a\nb"), short_repr(7), short_repr("x" * 99, 10)
    ("'a\\nb'", '7', "'xxxx...x'")
    """
    if isinstance(value, PathLike):
        return shorten(printable(str(value)), MAX_CAUSE_CHARS)
    try:
        return shorten(ascii(value), chars)
    except (ValueError, RecursionError):  # a number of more digits than Python writes
        return f"a very long {type(value).__name__}"


def comma_list(values: Iterable[object], chars: int = MAX_CHOICES_CHARS) -> str:
    """Values with commas between them, each cut, and no more of them than fit; "none" if there are none.

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
    """The text itself if it has at most so many characters, else its two ends.

    >>> shorten("abcdefghijkl", 9)
    'abcd...kl'
    """
    if len(text) <= chars:
        return text
    end = (chars - 3) // 3
    return f"{text[: chars - 3 - end]}...{text[-end:]}"


def printable(text: str) -> str:
    r"""The text without letters that could steer a terminal or break a line.

    >>> printable("a\x1b[2J")
    'a?[2J'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)
