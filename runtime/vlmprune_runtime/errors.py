"""Every error a user can meet, one line each: what was wrong, what was got, what is allowed."""

from collections.abc import Iterable


class VlmPruneError(Exception):
    """Base of all errors that are reported as one line; `exit_code` is what a command exits with."""

    exit_code = 1


class BadRequest(VlmPruneError):
    """A wish that cannot be met: a setting out of range, a broken image, a prompt that is too long."""

    exit_code = 2


class UnknownName(BadRequest):
    """A name that is not in a table; the message lists the choices."""

    def __init__(self, kind: str, got: str, choices: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {got!r}; choose one of: {', '.join(sorted(choices))}")


class MissingExtra(BadRequest):
    """A package that is not installed; the message says how to install it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'vlmprune[{extra}]'")


class CaptureError(VlmPruneError):
    """`torch.export` could not capture a stage."""

    def __init__(self, stage: str, cause: object) -> None:
        super().__init__(f"stage {stage!r} could not be captured: {first_line(cause)}")


class LoweringError(VlmPruneError):
    """A captured stage could not be lowered to a target."""

    def __init__(self, stage: str, backend: str, cause: object) -> None:
        super().__init__(f"stage {stage!r} could not be lowered to {backend}: {first_line(cause)}")


class BundleError(VlmPruneError):
    """A bundle that is not what its manifest says; `file` and `field` name the place."""

    def __init__(self, file: str, reason: str, field: str | None = None) -> None:
        self.file, self.field = file, field
        super().__init__(f"bundle: {file}{f': {field}' if field else ''}: {reason}")


class EngineError(VlmPruneError):
    """An engine refused to load or to run a stage."""

    def __init__(self, stage: str, cause: object) -> None:
        super().__init__(f"stage {stage!r} failed: {first_line(cause)}")


class ParityError(VlmPruneError):
    """A stage differs from its PyTorch reference by more than the limit."""

    def __init__(self, what: str, measured: float, limit: float) -> None:
        self.measured, self.limit = measured, limit
        super().__init__(f"parity: {what}: measured {measured:.3g}, limit {limit:.3g}")


def first_line(cause: object) -> str:
    """The first non-empty line of a cause, as one-line messages need it.

    >>> first_line("\\n  went wrong\\n  here")
    'went wrong'
    """
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return lines[0] if lines else type(cause).__name__
