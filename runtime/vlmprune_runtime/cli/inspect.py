"""`vlmprune-inspect` shows the contents of a bundle."""

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console, Group

from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.cli.contents import facts_table, float_table, stages_table, tensors_table
from vlmprune_runtime.cli.entrypoint import command_parser, run_command
from vlmprune_runtime.progress import hash_progress

EXAMPLES = """\
  vlmprune-inspect BUNDLE
  vlmprune-inspect BUNDLE --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_command(parser(), inspect, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the arguments."""
    description = "Show what is in an exported bundle, and check its files."
    arguments = command_parser("vlmprune-inspect", description, EXAMPLES)
    arguments.add_argument("bundle", metavar="BUNDLE", help="folder that vlmprune-export has written")
    arguments.add_argument("--json", action="store_true", help="the whole manifest as one JSON object")
    arguments.add_argument("--no-verify", action="store_true", help="do not check the hashes of the bundle's files")
    return arguments


def inspect(args: argparse.Namespace) -> None:
    """Prints the manifest on stdout, as tables or as JSON."""
    with hash_progress("opening the bundle") as report:
        bundle = open_bundle(args.bundle, verify=not args.no_verify, report=report)
    if args.json:
        print(json.dumps(bundle.manifest.model_dump(mode="json", exclude_unset=True)))
    else:
        show(bundle)


def show(bundle: OpenBundle) -> None:
    """Prints tables: the facts, the stages, what of quantised ones is in floating point, and the stages' tensors."""
    manifest = bundle.manifest
    found = (facts_table(manifest), stages_table(manifest), float_table(manifest), tensors_table(manifest))
    tables = Group(*(table for table in found if table is not None))
    Console(highlight=False, markup=False, emoji=False).print(tables)


if __name__ == "__main__":
    sys.exit(main())
