"""Draws a progress bar on stderr that names the current step and its parts, and shows that a long one is still at work.

A step is the first two words of a line ("lowering tail: translating"), a part the line without its numbers. A line
with "3 of 24" or "40 %" in it says how much of its part is done.
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from vlmprune_runtime.progress import MESSAGES, PARTS_EVERY_S, Report, stderr_console

STILL_EVERY_S = 20.0  # without a terminal: after how much silence a step is said to go on
_COUNTED, _UNCOUNTED = 0.9, 0.3  # fractions of what is left of a step that a part of it takes


@dataclass
class Position:
    """Where in `steps` the work is: `done` never falls, and every new part takes a share of what its step has left."""

    steps: int
    line: str = "starting"
    begun: float = field(default_factory=time.monotonic)  # of the step
    done: float = 0.0
    _seen: list[str] = field(default_factory=list)
    _part: str = ""
    _left: float = 1.0  # of the step, when its part began
    _share: float = 0.0  # of `_left`, that the part takes

    def move(self, line: str) -> bool:
        """Takes a line, and returns whether a step has begun with it."""
        step, part = _step(line), re.sub(r"[\d.]+", "", line)
        first = step not in self._seen
        if first:
            self._seen.append(step)
            self.begun, self._left, self._share = time.monotonic(), 1.0, 0.0
        self.line = line
        if part != self._part:
            self._part, self._left = part, self._left * (1 - self._share)
            self._share = _UNCOUNTED if _fraction(line) is None else _COUNTED
        inner = 1 - self._left * (1 - self._share * (_fraction(line) or 0.0))
        self.done = max(self.done, min(len(self._seen) - 1 + inner, self.steps))
        return first

    @property
    def seconds(self) -> float:
        """Returns how long the step has taken so far."""
        return time.monotonic() - self.begun


@contextmanager
def step_progress(steps: int) -> Iterator[Report]:
    """Gives a function to call with each step, and each part of one, as it begins.

    Notes and warnings stay on the terminal. Without a terminal the lines are printed, those of parts every 10 s at
    most, and a line that says "still" after 20 s without any.
    """
    console = stderr_console()
    position = Position(steps)
    with _drawn(console, position) if console.is_terminal else _printed(console, position) as report:
        yield report


@contextmanager
def _drawn(console: Console, position: Position) -> Iterator[Report]:
    elapsed = _StepElapsed(position)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        elapsed,
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=position.steps)

        def report(line: str) -> None:
            if line.startswith(MESSAGES):
                bar.console.print(line, soft_wrap=True)
                return
            position.move(line)
            bar.update(task, description=line, completed=position.done)

        yield report


class _StepElapsed(ProgressColumn):
    """Shows the seconds of the current step, which count on while a library says nothing."""

    def __init__(self, position: Position) -> None:
        super().__init__()
        self.position = position

    def render(self, task: Task) -> Text:
        """Returns nothing in a step's first seconds."""
        seconds = self.position.seconds
        return Text(f"{seconds:.0f} s" if seconds >= 3 else "")


@contextmanager
def _printed(console: Console, position: Position) -> Iterator[Report]:
    lock, ended, printed = threading.Lock(), threading.Event(), [time.monotonic()]

    def show(line: str) -> None:
        console.print(line, soft_wrap=True)
        printed[0] = time.monotonic()

    def report(line: str) -> None:
        with lock:
            if line.startswith(MESSAGES) or position.move(line) or time.monotonic() - printed[0] >= PARTS_EVERY_S:
                show(line)

    def say_still() -> None:
        while not ended.wait(min(1.0, STILL_EVERY_S / 4)):
            with lock:
                if time.monotonic() - printed[0] >= STILL_EVERY_S:
                    show(f"still {position.line}, {position.seconds:.0f} s")

    thread = threading.Thread(target=say_still, daemon=True)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()


def _step(line: str) -> str:
    """Returns the first two words of a line, which all parts of a step share.

    >>> _step("lowering tail: decode"), _step("fitting layer 3 of 30")
    ('lowering tail', 'fitting layer')
    """
    return " ".join(line.replace(":", " ").split()[:2])


def _fraction(line: str) -> float | None:
    """Returns the fraction that is done when the nth of several begins, None for a line that does not count.

    >>> _fraction("fitting layer 3 of 8, about 40 s left"), _fraction("hashing: 40 % of 2 GiB"), _fraction("reading")
    (0.25, 0.4, None)
    """
    if counted := re.search(r"(\d+) of (\d+)", line):
        return (int(counted[1]) - 1) / max(1, int(counted[2]))
    percent = re.search(r"(\d+) %", line)
    return int(percent[1]) / 100 if percent else None
