"""`vlmprune-check` compares every stage of a bundle with PyTorch."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from vlmprune_runtime.attach import attach, check_attach
from vlmprune_runtime.cli.entrypoint import command_parser, image_file, run_command
from vlmprune_runtime.errors import MissingExtra
from vlmprune_runtime.sample import SAMPLE_IMAGE, SAMPLE_PROMPT
from vlmprune_runtime.step_progress import step_progress

if TYPE_CHECKING:
    from vlmprune_export.parity import CheckReport
    from vlmprune_export.parity.overlap import Overlap

EXAMPLES = """\
  vlmprune-check BUNDLE
  vlmprune-check BUNDLE --tokens 64 --json
  vlmprune-check BUNDLE --image-folder ./photos --compute-units CPU_AND_NE
  vlmprune-check BUNDLE --model ./moved-checkpoint --image cat.jpg --prompt "What is it?" --attach
"""
_STEPS = 6


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code, which is 1 when a limit is exceeded."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    description = (
        "Run every stage of a bundle and eager PyTorch on identical inputs, then whole answers, pruned and unpruned."
    )
    command = command_parser("vlmprune-check", description, EXAMPLES)
    command.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that vlmprune-export has written")
    command.add_argument("--model", metavar="MODEL", help="the checkpoint; default: the one named in the bundle")
    command.add_argument(
        "--image", action="append", type=image_file, metavar="FILE", help="-: standard input; several: repeat"
    )
    command.add_argument("--prompt", default=SAMPLE_PROMPT, metavar="TEXT", help="default: %(default)r")
    command.add_argument("--tokens", type=int, default=32, metavar="N", help="generated tokens to compare, default 32")
    command.add_argument(
        "--limit", type=float, metavar="X", help="allowed relative RMS difference of a stage, no other limit"
    )
    command.add_argument(
        "--image-folder", "--pictures", type=Path, metavar="DIR", help="compare the kept tokens on all images there too"
    )
    command.add_argument("--compute-units", metavar="UNITS", help="of a coreml bundle on macOS; default: as it advises")
    command.add_argument("--ignore-memory", action="store_true", help="load the checkpoint even if it seems too big")
    command.add_argument("--attach", action="store_true", help="write the result into bundle.json")
    command.add_argument("--json", action="store_true", help="print the report as JSON")
    return command


def run(args: argparse.Namespace) -> None:
    """Runs one check. Raises the first exceeded limit as `ParityError` after the table is printed."""
    try:
        from vlmprune_export.parity import CheckRequest, check_bundle
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "torch", "export") from missing
    request = CheckRequest(
        args.bundle, args.model, args.image or SAMPLE_IMAGE, args.prompt, args.tokens,
        relative=args.limit, compute_units=args.compute_units, image_folder=args.image_folder,
        ignore_memory=args.ignore_memory,
    )  # fmt: skip
    if args.attach:
        check_attach(args.bundle)
    with step_progress(_STEPS) as progress:
        report = check_bundle(request, progress=progress)
    if args.attach:
        attach(args.bundle, "parity", report.as_json())
    if args.json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        _show(report)
    for failure in report.failures():
        raise failure


def _show(report: "CheckReport") -> None:
    console = Console(highlight=False)
    stages = Table("stage", "output", "max difference", "relative RMS", "limit", "")
    for gap in report.differences:
        exact = gap.equal is not None
        measured = ("-", "-") if exact else (f"{gap.max_abs:.2e}", f"{gap.relative:.2e}")
        good = bool(gap.equal) if exact else gap.relative <= report.limits.relative
        limit = "equal" if exact else f"{report.limits.relative:.2g}"
        stages.add_row(gap.stage, gap.output, *measured, limit, _mark(good))
    answers = Table("answer", "tokens agreed", "kept in common", "limit", "")
    for answer in report.agreements:
        kept = "-" if answer.keep is None else f"{answer.kept_in_common} of {answer.keep}"
        good = (
            answer.tokens_fraction >= report.limits.tokens_fraction
            and answer.overlap_fraction >= report.limits.overlap_fraction
        )
        limit = f"{report.limits.tokens_fraction:.0%}, {report.limits.overlap_fraction:.0%}"
        answers.add_row(answer.mode, f"{answer.agreed} of {answer.tokens}", kept, limit, _mark(good))
    console.print(f"{report.method}{f': it shows {report.shows}' if report.shows else ''}")
    console.print(stages, answers)
    if report.kept:
        console.print(*_kept_lines(report.kept), sep="\n", markup=False, soft_wrap=True)
    if report.device:
        _show(report.device)


def _kept_lines(kept: "Overlap") -> Iterator[str]:
    many = len(kept.in_common)
    if kept.mean_fraction is not None:
        mean, least = kept.keep * kept.mean_fraction, min(kept.in_common)
        yield f"kept in common on {many} images: {mean:.1f} of {kept.keep} on average, {least} at least"
    if kept.skipped:
        yield f"skipped {len(kept.skipped)} of {many + len(kept.skipped)} images:"
        yield from (f"  {reason}" for reason in kept.skipped)


def _mark(good: bool) -> str:
    return "[green]ok[/]" if good else "[red]past the limit[/]"


if __name__ == "__main__":
    sys.exit(main())
