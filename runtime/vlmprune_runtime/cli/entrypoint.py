"""The entrypoint of all commands: it parses arguments, reports errors as one line and returns an exit code."""

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

from vlmprune_runtime.errors import BadRequest, VlmPruneError, first_line, short_repr

INTERRUPTED, PIPE_CLOSED, TERMINATED, FAILED = 130, 141, 143, 1
TRACEBACK_VARIABLE = "VLMPRUNE_TRACEBACK"

STANDARD_INPUT = "standard-input"  # the name of the file that keeps an image from there
Body = Callable[[argparse.Namespace], None]


def run_command(parser: argparse.ArgumentParser, body: Body, argv: Sequence[str] | None = None) -> int:
    """Runs `body` on the parsed arguments and returns the exit code.

    The code is 0 for success, 1 for a failure, 2 for a bad request, 130 after an interrupt, 141 if the reader of the
    output has gone, and 143 after a SIGTERM. A body returns nothing; it raises a `VlmPruneError` to fail.
    """
    try:
        _escape_unprintable()
        with _exit_on_sigterm(), _warnings_on_stderr(parser.prog):
            body(parser.parse_args(argv))
        sys.stdout.flush()
        return 0
    except SystemExit as stop:  # argparse raises it for --help and for wrong arguments
        return stop.code if isinstance(stop.code, int) else FAILED
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except VlmPruneError as error:
        return _report_error(parser.prog, str(error), error.exit_code)
    except MemoryError:
        return _report_error(parser.prog, "this needs more memory than the machine has", FAILED)
    except Exception as error:  # this is a fault of vlmprune, which a user can report by this one line
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        kind = f"internal error, {TRACEBACK_VARIABLE}=1 shows where: {type(error).__name__}"
        return _report_error(parser.prog, f"{kind}: {first_line(error)}", FAILED)


def command_parser(prog: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Returns a parser whose help ends with examples; options cannot be abbreviated, so that names stay free."""
    return argparse.ArgumentParser(
        prog=prog,
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def image_file(name: str) -> Path:
    """Returns the path of an image argument; `-` stands for standard input.

    What comes through a pipe can be read only once, and is kept in a file until the end.
    """
    if "://" in name:
        raise BadRequest(
            f"image {short_repr(name, 200)}: is an address; allowed: a file's name, or - for an image piped in: "
            "curl -s ADDRESS | vlmprune-run ... --image -"
        )
    if name != "-":
        return _kept(Path(name).name, name) if _is_pipe(name) else Path(name)
    if sys.stdin is None or sys.stdin.isatty():
        raise BadRequest("image -: there is no image on standard input; allowed: a file's name, or an image piped in")
    return _kept(STANDARD_INPUT, sys.stdin.fileno())


def _is_pipe(name: str) -> bool:
    """Says whether a name leads to a pipe, such as a shell's `<(command)`."""
    try:
        return Path(name).is_fifo()
    except (OSError, ValueError):  # what is wrong with the name is said where the image is read
        return False


def _kept(name: str, source: str | int) -> Path:
    """Returns a file of that name, for the time of the command, with all that an open file or a pipe gives."""
    folder = tempfile.TemporaryDirectory(prefix="vlmprune-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / name
    with open(source, "rb", closefd=isinstance(source, str)) as given, path.open("wb") as file:
        shutil.copyfileobj(given, file)
    return path


def _report_error(prog: str, message: str, code: int) -> int:
    print(f"{prog}: error: {' '.join(message.split())}", file=sys.stderr)
    return code


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Makes SIGTERM unwind the block, so that no half-written folder is left behind."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _warnings_on_stderr(prog: str) -> Iterator[None]:
    """Writes each warning that the runtime logs as one line on stderr, in the manner of errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"{prog}: warning: %(message)s"))
    logger = logging.getLogger("vlmprune_runtime")
    logger.addHandler(handler)
    logging.getLogger("torch.utils._pytree").addFilter(_is_no_deprecation)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _is_no_deprecation(record: logging.LogRecord) -> bool:
    """Says whether a log line is for users; torch complains about how torchao uses it whenever that is imported."""
    return "deprecated" not in record.getMessage()


def _escape_unprintable() -> None:
    """Makes streams escape characters that they cannot encode, so that an emoji in an answer does not end a run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Sends further output to the null device, since its reader has gone and Python would complain again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
