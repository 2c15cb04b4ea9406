"""Draws a progress bar on stderr that names the current step."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

KEPT = ("note: ", "warning: ")  # beginnings of lines that are messages and name no step


@contextmanager
def progress_bar(steps: int) -> Iterator[Callable[[str], None]]:
    """Gives a function to call with each step as it begins; without a terminal it prints the steps as lines.

    A step with "3 of 24" in it moves the bar by that part of a step. Notes and warnings stay on the terminal.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield lambda line: console.print(line, soft_wrap=True)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=steps)
        begun: list[str] = []

        def begin(line: str) -> None:
            if line.startswith(KEPT):
                bar.console.print(line, soft_wrap=True)
                return
            if _step(line) not in begun:
                begun.append(_step(line))
            bar.update(task, description=line, completed=min(len(begun) - 1 + _part(line), steps))

        yield begin


def _step(line: str) -> str:
    """Returns the first two words of a line, which all parts of a step share.

    >>> _step("lowering tail: decode"), _step("fitting layer 3 of 30")
    ('lowering tail', 'fitting layer')
    """
    return " ".join(line.replace(":", " ").split()[:2])


def _part(line: str) -> float:
    """Returns the fraction of a step that is done when its nth of several parts begins.

    >>> _part("fitting layer 3 of 8, about 40 s left"), _part("lowering tail")
    (0.25, 0.0)
    """
    part = re.search(r"(\d+) of (\d+)", line)
    return (int(part[1]) - 1) / int(part[2]) if part else 0.0
