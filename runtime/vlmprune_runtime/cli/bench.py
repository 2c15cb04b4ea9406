"""`vlmprune-bench` measures how much sooner pruning brings the first word, stage by stage."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from vlmprune_runtime.atomic import OutputFile, check_output_file, save_text
from vlmprune_runtime.benchmark.measure import BenchmarkRequest, measure, steps_of
from vlmprune_runtime.benchmark.profile import profile
from vlmprune_runtime.benchmark.profile_table import profile_table
from vlmprune_runtime.benchmark.record import BenchmarkRecord
from vlmprune_runtime.benchmark.table import closing_lines, result_table, setting_line
from vlmprune_runtime.cli.entrypoint import command_parser, image_file, run_command
from vlmprune_runtime.progress import run_progress

EXAMPLES = """\
  vlmprune-bench BUNDLE
  vlmprune-bench BUNDLE BUNDLE2 --repetitions 20 --threads 2 --json bench.json
  vlmprune-bench BUNDLE --image cat.jpg --prompt "What is in the picture?" --tokens 32
  vlmprune-bench BUNDLE --image a.jpg --image b.jpg --prompt "What differs?" --follow-up "Which is older?"
  vlmprune-bench BUNDLE --profile --json profile.json
"""
WIDTH_CHARS = 116
RECORD_MARKS = (b'"kind": "benchmark"', b'"kind": "profile"')  # --json replaces only files with one of these marks
DEFAULTS = BenchmarkRequest()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the arguments."""
    description = "Time bundles pruned and unpruned, in turn, after warm-ups; several bundles are interleaved too."
    arguments = command_parser("vlmprune-bench", description, EXAMPLES)
    arguments.add_argument(
        "bundles", nargs="+", type=Path, metavar="BUNDLE", help="folder that vlmprune-export has written"
    )
    arguments.add_argument(
        "--image",
        action="append",
        type=image_file,
        metavar="FILE",
        help="-: standard input; repeated for several; default: a sample scene",
    )
    further = "the first token behind a further question is timed too; default: a sample, where the bundle has room"
    arguments.add_argument("--follow-up", metavar="TEXT", help=further)
    arguments.add_argument("--prompt", default=DEFAULTS.prompt, metavar="TEXT", help="default: %(default)r")
    numbers = (
        ("repetitions", "pairs of runs that count, default %(default)s"),
        ("warmups", "pairs of runs before, default %(default)s"),
        ("tokens", "tokens of every answer, stop tokens or not, default %(default)s"),
        ("threads", "default: one per core"),
    )
    for name, about in numbers:
        arguments.add_argument(f"--{name}", type=int, default=getattr(DEFAULTS, name), metavar="N", help=about)
    arguments.add_argument(
        "--json", type=Path, metavar="OUT.json", help="write the record, which vlmprune-report reads"
    )
    arguments.add_argument(
        "--profile", action="store_true", help="executorch: the costliest operators of every stage instead, pruned"
    )
    arguments.add_argument("--no-verify", action="store_true", help="do not check the hashes of the bundles' files")
    return arguments


def run(args: argparse.Namespace) -> None:
    """Measures the bundles; the record is written before the table is printed."""
    names = ("prompt", "repetitions", "warmups", "tokens", "threads", "follow_up")
    given = {name: getattr(args, name) for name in names}
    request = BenchmarkRequest(args.image or DEFAULTS.image, **given, verify=not args.no_verify)
    place = check_output_file(args.json, RECORD_MARKS) if args.json else None
    if args.profile:
        run_profile(args, request, place)
        return
    with run_progress(steps_of(len(args.bundles), request)) as progress:
        record = measure(args.bundles, request, progress=progress)
    if place:
        save_text(record.model_dump_json(indent=1) + "\n", place)
    show(record)


def run_profile(args: argparse.Namespace, request: BenchmarkRequest, place: OutputFile | None) -> None:
    """Profiles every bundle; the record is written before the tables are printed."""
    with run_progress(len(args.bundles) * (1 + request.warmups + request.repetitions)) as progress:
        record = profile(args.bundles, request, progress=progress)
    if place:
        save_text(record.model_dump_json(indent=1) + "\n", place)
    for bundle_profile in record.profiles:
        wide_console().print(profile_table(bundle_profile))


def wide_console() -> Console:
    """Returns a console on stdout, as wide as the tables need if stdout is no terminal."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=WIDTH_CHARS)


def show(record: BenchmarkRecord) -> None:
    """Prints the tables of a record on stdout."""
    console = wide_console()
    for result in record.results:
        console.print(result_table(result))
        for line in closing_lines(result):
            console.print(line)
        console.print()
    console.print(setting_line(record))


if __name__ == "__main__":
    sys.exit(main())
