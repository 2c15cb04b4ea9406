"""`vlmprune-inspect`: what is in a bundle."""

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console, Group

from vlmprune_runtime.bundle import OpenBundle, open_bundle
from vlmprune_runtime.cli.contents import facts_table, stages_table, tensors_table
from vlmprune_runtime.cli.entrypoint import command_parser, run_command

EXAMPLES = """\
  vlmprune-inspect BUNDLE
  vlmprune-inspect BUNDLE --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(parser(), inspect, argv)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = command_parser("vlmprune-inspect", "Show what is in an exported bundle, and check its files.", EXAMPLES)
    made.add_argument("bundle", metavar="BUNDLE", help="folder that vlmprune-export has written")
    made.add_argument("--json", action="store_true", help="the whole manifest as one JSON object")
    made.add_argument("--no-verify", action="store_true", help="do not check the hashes of the bundle's files")
    return made


def inspect(args: argparse.Namespace) -> None:
    """The manifest on stdout."""
    bundle = open_bundle(args.bundle, verify=not args.no_verify)
    if args.json:
        print(json.dumps(bundle.manifest.model_dump(mode="json", exclude_unset=True)))
    else:
        show(bundle)


def show(bundle: OpenBundle) -> None:
    """Three tables: facts, stages, and their tensors."""
    manifest = bundle.manifest
    tables = Group(facts_table(manifest), stages_table(manifest), tensors_table(manifest))
    Console(highlight=False, markup=False, emoji=False).print(tables)


if __name__ == "__main__":
    sys.exit(main())
