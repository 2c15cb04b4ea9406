"""`python -m vlmprune_tools.golden DIR` runs every golden case in a folder."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlmprune_runtime.cli.entrypoint import command_parser, run_command
from vlmprune_runtime.errors import VlmPruneError
from vlmprune_tools.golden import GoldenCase, read_cases

EXAMPLES = """\
  python -m vlmprune_tools.golden tests/golden
"""


class NotEqual(VlmPruneError):
    """Some cases differ from what the released code gave."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command: 0 if every case is equal, 1 if any differs, 2 if the folder cannot be read."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    description = (
        "Run every case of every pair NAME.json and NAME.npz in a folder, and compare what the pruners select with "
        "what the authors' released code selected. Prints equal / total per method and each case's first difference."
    )
    command = command_parser("python -m vlmprune_tools.golden", description, EXAMPLES)
    command.add_argument("folder", type=Path, metavar="DIR", help="folder with pairs of golden files")
    return command


def run(args: argparse.Namespace) -> None:
    """Runs all cases and prints the result of each method."""
    results = [(case, case.difference()) for case in read_cases(args.folder)]
    for line in report(results):
        print(line)
    failed = sum(difference is not None for _, difference in results)
    if failed:
        raise NotEqual(f"{failed} of {len(results)} cases differ")


def report(results: Sequence[tuple[GoldenCase, str | None]]) -> list[str]:
    """Returns a line per method, below it one per case that differs, and at the end the sum."""
    lines = []
    for method in dict.fromkeys(case.method for case, _ in results):
        found = [(case.name, difference) for case, difference in results if case.method == method]
        lines.append(equal_of_total(method, [difference for _, difference in found]))
        lines += [f"  {name}: {difference}" for name, difference in found if difference]
    return [*lines, equal_of_total("all", [difference for _, difference in results])]


def equal_of_total(name: str, differences: Sequence[str | None]) -> str:
    """Returns how many cases are equal, as a line.

    >>> equal_of_total("fastv", [None, "kept: ...", None])
    'fastv               2 / 3'
    """
    return f"{name:16} {differences.count(None):4} / {len(differences)}"


if __name__ == "__main__":
    sys.exit(main())
