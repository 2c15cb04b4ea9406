"""Reports errors of the libraries that lower a stage as `LoweringError`."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from vlmprune_export.quiet_libraries import quiet
from vlmprune_runtime.errors import LoweringError, VlmPruneError


@contextmanager
def lowering(stage: str, target: str, *, level: int = logging.WARNING) -> Iterator[None]:
    """Silences the libraries up to a log level; raises their errors as `LoweringError`, with the first cause."""
    try:
        with quiet(level):
            yield
    except VlmPruneError:
        raise
    except Exception as cause:
        raise LoweringError(stage, target, _first_cause(cause)) from cause


def _first_cause(error: BaseException) -> BaseException:
    return _first_cause(error.__cause__) if error.__cause__ else error
