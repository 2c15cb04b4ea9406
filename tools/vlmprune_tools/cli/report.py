"""`vlmprune-report` renders records from any device as one HTML page."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlmprune_runtime.atomic import check_output_file, save_text
from vlmprune_runtime.cli.entrypoint import command_parser, run_command
from vlmprune_runtime.errors import MissingExtra

EXAMPLES = """\
  vlmprune-report bench.json --out report.html
  vlmprune-report laptop.json phone.json accuracy.json --overlay kept.png --out report.html
"""
PAGE_MARKS = (b"<title>vlmprune report</title>",)  # what --out may replace


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    description = (
        "Turn records of vlmprune-bench, vlmprune-eval and the phone apps into one page that needs no network."
    )
    command = command_parser("vlmprune-report", description, EXAMPLES)
    command.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="a benchmark, accuracy or methods record, JSON"
    )
    command.add_argument("--out", type=Path, required=True, metavar="OUT.html", help="the page; replaced if it exists")
    overlay = "images of kept tokens to show, as vlmprune-run --overlay draws them"
    command.add_argument("--overlay", type=Path, nargs="+", default=[], action="extend", metavar="IMAGE", help=overlay)
    return command


def run(args: argparse.Namespace) -> None:
    """Renders one page and writes it whole or not at all."""
    try:
        from vlmprune_tools.report import read_records, render_report
        from vlmprune_tools.report.overlays import embed
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "jinja2", "tools") from missing
    out = check_output_file(args.out, PAGE_MARKS)
    page = render_report(read_records(args.files), [embed(path) for path in args.overlay])
    save_text(page, out)
    print(args.out)


if __name__ == "__main__":
    sys.exit(main())
