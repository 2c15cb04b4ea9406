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
    cases = read_cases(args.folder)
    differences = {(case.method, case.name): case.difference() for case in cases}
    for line in report(cases, differences):
        print(line)
    failed = sum(found is not None for found in differences.values())
    if failed:
        raise NotEqual(f"{failed} of {len(cases)} cases differ")


def report(cases: Sequence[GoldenCase], differences: dict[tuple[str, str], str | None]) -> list[str]:
    """Returns a line per method, below it one per case that differs, and at the end the sum."""
    lines = []
    for method in dict.fromkeys(case.method for case in cases):
        found = {name: difference for (of, name), difference in differences.items() if of == method}
        lines.append(f"{method:16} {sum(one is None for one in found.values()):4} / {len(found)}")
        lines += [f"  {name}: {difference}" for name, difference in found.items() if difference]
    equal = sum(one is None for one in differences.values())
    return [*lines, f"{'all':16} {equal:4} / {len(differences)}"]


if __name__ == "__main__":
    sys.exit(main())
