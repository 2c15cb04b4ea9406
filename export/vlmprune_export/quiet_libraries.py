"""Silences the libraries that read and convert models, because vlmprune's own progress says what happens."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from functools import partialmethod
from typing import Any


@contextlib.contextmanager
def quiet(level: int = logging.WARNING, report: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hides log lines up to `level`, warnings, prints and tqdm's progress bars while the block runs.

    `report` gets what the bars count instead, as "loading weights 3 of 24".
    """
    disabled = logging.root.manager.disable
    logging.disable(level)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _bars(report):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _bars(report: Callable[[str], None] | None) -> Iterator[None]:
    """Gives the counts of tqdm's bars to `report`, or nobody."""
    from tqdm import tqdm

    def display(bar: Any, *_: Any, **__: Any) -> None:
        if report is not None and bar.total and bar.n < bar.total:
            report(_count(bar))

    before = tqdm.__init__, tqdm.display
    tqdm.__init__ = partialmethod(tqdm.__init__, disable=report is None, file=io.StringIO())
    tqdm.display = display
    try:
        yield
    finally:
        tqdm.__init__, tqdm.display = before


def _count(bar: Any) -> str:
    """Returns what a bar counts and how far it is; bytes as a percentage."""
    what = str(bar.desc or "part").rstrip(" :").lower()
    return f"{what} {100 * bar.n // bar.total} %" if bar.unit == "B" else f"{what} {bar.n + 1} of {bar.total}"
