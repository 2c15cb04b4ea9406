"""A progress bar on stderr that only a terminal shows."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import track as rich_track


def track(items: Sequence[int], title: str) -> Iterable[int]:
    """Yields `items` and advances a bar on stderr."""
    return rich_track(items, title, console=Console(stderr=True), disable=not sys.stderr.isatty())
