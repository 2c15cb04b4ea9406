"""What all commands share: arguments in, an exit code out, errors as one line, never a traceback."""

import argparse
import atexit
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vlmprune_runtime.errors import BadRequest, VlmPruneError, first_line

INTERRUPTED, PIPE_CLOSED, TERMINATED, FAILED = 130, 141, 143, 1
TRACEBACK_VARIABLE = "VLMPRUNE_TRACEBACK"

Body = Callable[[argparse.Namespace], None]


def run_command(parser: argparse.ArgumentParser, body: Body, argv: Sequence[str] | None = None) -> int:
    """The exit code of `body` on the parsed arguments: 0 ok, 1 failed, 2 bad request, 130 interrupted, 143 ended.

    A body returns nothing; it raises a `VlmPruneError` to fail.
    """
    try:
        _never_fail_to_print()
        with _tidy_when_ended(), _warnings_shown(parser.prog):
            body(parser.parse_args(argv))
        sys.stdout.flush()
        return 0
    except SystemExit as stop:  # argparse: --help or wrong arguments
        return stop.code if isinstance(stop.code, int) else FAILED
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except VlmPruneError as error:
        return _told(parser.prog, str(error), error.exit_code)
    except MemoryError:
        return _told(parser.prog, "this needs more memory than the machine has", FAILED)
    except Exception as error:  # a fault of ours; one line is what a user can report
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        kind = f"internal error, {TRACEBACK_VARIABLE}=1 shows where: {type(error).__name__}"
        return _told(parser.prog, f"{kind}: {first_line(error)}", FAILED)


def command_parser(prog: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser whose help ends with examples; options cannot be abbreviated, so that names stay free."""
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def picture_file(name: str) -> Path:
    """The type of an argument that names a picture: `-` stands for standard input, kept in a file until the end."""
    if name != "-":
        return Path(name)
    if sys.stdin is None or sys.stdin.isatty():
        raise BadRequest(
            "image -: there is no picture on standard input; allowed: a file's name, or a picture piped in"
        )
    folder = tempfile.TemporaryDirectory(prefix="vlmprune-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "standard-input"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _told(prog: str, message: str, code: int) -> int:
    print(f"{prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return code


@contextmanager
def _tidy_when_ended() -> Iterator[None]:
    """SIGTERM unwinds what is under way, so that no half-written folder is left behind."""
    if threading.current_thread() is not threading.main_thread():  # only it may say what a signal does
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warnings_shown(prog: str) -> Iterator[None]:
    """What the runtime logs as a warning is one line on stderr, in the manner of errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{prog}: warning: %(message)s"))
    logger = logging.getLogger("vlmprune_runtime")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _never_fail_to_print() -> None:
    """An answer with an emoji must not end a run on a terminal without it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Nobody reads any more; without this Python complains again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
