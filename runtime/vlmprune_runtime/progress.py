"""Shows progress on stderr: as a bar in a terminal, elsewhere as lines or not at all."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

MESSAGES = ("note: ", "warning: ")
"""Beginnings of lines that are messages and name no step."""

T = TypeVar("T")
Report = Callable[[str], None]


@contextmanager
def step_progress(steps: int) -> Iterator[Report]:
    """Yields a function to call with each step as it begins; without a terminal it prints the steps as lines.

    A step with "3 of 24" in it moves the bar by that part of a step. Notes and warnings stay on the terminal.
    """
    console = _stderr()
    if not console.is_terminal:
        yield partial(console.print, soft_wrap=True)
        return
    with _bar(console, "starting", steps) as update:
        begun = set[str]()

        def begin(line: str) -> None:
            if line.startswith(MESSAGES):
                console.print(line, soft_wrap=True)
                return
            begun.add(step_name(line))
            update(description=line, completed=min(len(begun) - 1 + part_done(line), steps))

        yield begin


@contextmanager
def run_progress(runs: int) -> Iterator[Report]:
    """Yields a function to call with each run as it begins; without a terminal it prints only what is loaded."""
    console = _stderr()
    if not console.is_terminal:
        yield lambda line: console.print(line) if line.startswith("loading") else None
        return
    with _bar(console, "starting", runs + 1) as update:
        yield lambda line: update(description=line, advance=1)


def track(items: Sequence[T], title: str) -> Iterator[T]:
    """Yields the items and advances a bar, which only a terminal shows."""
    console = _stderr()
    if not console.is_terminal:
        yield from items
        return
    with _bar(console, title, len(items)) as update:
        for item in items:
            yield item
            update(advance=1)


def step_name(line: str) -> str:
    """Returns the first two words of a line, which all parts of a step share.

    >>> step_name("lowering tail: decode"), step_name("fitting layer 3 of 30")
    ('lowering tail', 'fitting layer')
    """
    return " ".join(line.replace(":", " ").split()[:2])


def part_done(line: str) -> float:
    """Returns the fraction of a step that is done when its nth of several parts begins.

    >>> part_done("fitting layer 3 of 8, about 40 s left"), part_done("lowering tail")
    (0.25, 0.0)
    """
    part = re.search(r"(\d+) of (\d+)", line)
    return (int(part[1]) - 1) / int(part[2]) if part else 0.0


def _stderr() -> Console:
    return Console(stderr=True, highlight=False, markup=False)


@contextmanager
def _bar(console: Console, description: str, steps: int) -> Iterator[Callable[..., None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield partial(bar.update, bar.add_task(description, total=steps))
