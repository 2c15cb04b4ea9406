"""A progress bar on stderr that names the step at hand."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

KEPT = ("note: ", "warning: ")  # lines that say something instead of naming a step


@contextmanager
def progress_bar(steps: int) -> Iterator[Callable[[str], None]]:
    """A function to call with each step as it begins; without a terminal the steps are printed as lines.

    Notes and warnings stay on the terminal."""
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
            bar.update(task, description=line, completed=min(len(begun) - 1, steps))

        yield begin


def _step(line: str) -> str:
    """What the parts of one step have in common.

    >>> _step("lowering tail: decode"), _step("fitting layer 3 of 30")
    ('lowering tail', 'fitting layer')
    """
    return " ".join(line.replace(":", " ").split()[:2])
