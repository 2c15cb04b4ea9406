"""Shows progress on stderr: as a bar in a terminal, elsewhere as lines or not at all."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

MESSAGES = ("note: ", "warning: ")
"""Beginnings of lines that are messages and name no step."""

HASHING = ": hashing"  # behind the name of a step that begins with hashing a bundle
FIRST_AFTER_S, PARTS_EVERY_S = 1.0, 10.0  # without a terminal: when parts of a step are printed
ITEMS_EVERY_S = 60.0  # without a terminal: when `track` says how far it is

T = TypeVar("T")
Report = Callable[[str], None]


def silent(line: str) -> None:
    """Takes a line of progress and shows nothing."""


def part_of(step: str, report: Report) -> Report:
    """Returns a function that reports parts of a step under the step's name.

    >>> part_of("lowering tail", print)("translating")
    lowering tail: translating
    """
    return lambda part: report(f"{step}: {part}")


@contextmanager
def run_progress(runs: int) -> Iterator[Report]:
    """Yields a function to call with each run as it begins, and with how much of a bundle is hashed.

    Without a terminal it prints only what is loaded and hashed.
    """
    console = stderr_console()
    if not console.is_terminal:
        seldom = _seldom(console)
        yield lambda line: seldom(line) if HASHING in line else _print_loading(console, line)
        return
    with _bar(console, "starting", runs + 1) as update:
        yield lambda line: update(description=line, advance=int(HASHING not in line))


def _print_loading(console: Console, line: str) -> None:
    if line.startswith("loading"):
        console.print(line)


def track(items: Sequence[T], title: str) -> Iterator[T]:
    """Yields the items and advances a bar with the time that is left; without a terminal a line a minute says it."""
    console = stderr_console()
    if not console.is_terminal:
        yield from _tracked_in_lines(items, title, console)
        return
    with _bar(console, title, len(items), TimeRemainingColumn()) as update:
        for item in items:
            yield item
            update(advance=1)


def _tracked_in_lines(items: Sequence[T], title: str, console: Console) -> Iterator[T]:
    begun = printed = monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = monotonic()
        if now - printed >= ITEMS_EVERY_S and done < len(items):
            printed, left = now, (now - begun) / done * (len(items) - done)
            console.print(f"{title}: {done} of {len(items)}, about {estimated_duration(left)} left", soft_wrap=True)


def estimated_duration(seconds: float) -> str:
    """Returns a duration as text, rounded to the accuracy of an estimate.

    >>> estimated_duration(3.2), estimated_duration(42), estimated_duration(200), estimated_duration(3 * 3600)
    ('5 s', '45 s', '3 min', '3.0 h')
    """
    if seconds >= 2 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{max(1, round(seconds / 60))} min" if seconds >= 90 else f"{5 * max(1, -(-int(seconds) // 5))} s"


def step_lines() -> Report:
    """Returns a function that prints every new line of progress, and lines that only count on every 10 s at most."""
    console, kind, printed = stderr_console(), "", 0.0

    def report(line: str) -> None:
        nonlocal kind, printed
        same, kind = kind, re.sub(r"[\d.]+", "", line)
        if same != kind or monotonic() - printed >= PARTS_EVERY_S:
            printed = monotonic()
            console.print(line, soft_wrap=True)

    return report


@contextmanager
def hash_progress(step: str) -> Iterator[Report]:
    """Yields a function that takes how much of a bundle is hashed, and shows it behind the step's name.

    A terminal shows every line; elsewhere the first is printed after a second, further ones every 10 s.
    """
    console = stderr_console()
    if console.is_terminal:
        with console.status(step) as status:
            yield lambda part: status.update(f"{step}{HASHING}, {part}")
        return
    seldom = _seldom(console)
    yield lambda part: seldom(f"{step}{HASHING}, {part}")


def hashing_of(step: str, report: Report) -> Report:
    """Returns a function that reports how much of a step's bundle is hashed.

    >>> hashing_of("loading cat", print)("40 % of 2 GiB")
    loading cat: hashing, 40 % of 2 GiB
    """
    return lambda part: report(f"{step}{HASHING}, {part}")


def _seldom(console: Console) -> Report:
    """Returns a function that prints its first line after a second, and further ones every 10 s."""
    due = monotonic() + FIRST_AFTER_S

    def report(line: str) -> None:
        nonlocal due
        if monotonic() >= due:
            due = monotonic() + PARTS_EVERY_S
            console.print(line)

    return report


def stderr_console() -> Console:
    """Returns a console without markup or colours of its own."""
    return Console(stderr=True, highlight=False, markup=False)


@contextmanager
def _bar(console: Console, description: str, steps: int, *more: ProgressColumn) -> Iterator[Callable[..., None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, *more, console=console, transient=True) as bar:
        yield partial(bar.update, bar.add_task(description, total=steps))
