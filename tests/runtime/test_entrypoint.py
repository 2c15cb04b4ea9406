"""What every command shares."""

import argparse
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmprune_runtime.cli.entrypoint import TRACEBACK_VARIABLE, command_parser, run_command
from vlmprune_runtime.errors import BadRequest, BundleError, EngineError


def called(body: Callable[[argparse.Namespace], None]) -> int:
    return run_command(command_parser("vlmprune-x", "x", "  vlmprune-x"), body, [])


def raising(error: BaseException) -> Callable[[argparse.Namespace], None]:
    def body(args: argparse.Namespace) -> None:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (BadRequest("too\n  much"), 2, "vlmprune-x: error: too much\n"),
        (EngineError("head", "\n failed \n at"), 1, "vlmprune-x: error: stage 'head' failed: failed\n"),
        (BundleError("a", "b", "c"), 1, "vlmprune-x: error: bundle: a: c: b\n"),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(3), 3, ""),
    ],
)
def test_errors(error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture) -> None:
    assert called(raising(error)) == code
    assert capsys.readouterr().err == told


def test_our_own_faults_are_one_line_too(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert called(raising(KeyError("x"))) == 1
    assert (
        capsys.readouterr().err
        == f"vlmprune-x: error: internal error, {TRACEBACK_VARIABLE}=1 shows where: KeyError: 'x'\n"
    )
    monkeypatch.setenv(TRACEBACK_VARIABLE, "1")
    with pytest.raises(KeyError):
        called(raising(KeyError("x")))


def test_a_command_that_is_ended_tidies_up(tmp_path: Path) -> None:
    def body(args: argparse.Namespace) -> None:
        with tempfile.TemporaryDirectory(dir=tmp_path):
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError

    before = signal.getsignal(signal.SIGTERM)
    assert called(body) == 143
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before


def test_ok(capsys: pytest.CaptureFixture) -> None:
    assert called(lambda args: print("done")) == 0
    assert capsys.readouterr().out == "done\n"
