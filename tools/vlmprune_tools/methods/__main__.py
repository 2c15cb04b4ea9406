"""`python -m vlmprune_tools.methods` times all methods of an evaluation, and makes one table of speed and accuracy."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlmprune_runtime.atomic import check_output_file, save_text
from vlmprune_runtime.cli.entrypoint import command_parser, run_command
from vlmprune_runtime.errors import BadRequest, VlmPruneError

EXAMPLES = """\
  vlmprune-eval pocket --pruners vlm-pruner,nuwa,resize --keeps 64,32 --json accuracy.json
  python -m vlmprune_tools.methods measure accuracy.json --keeps 64 --engines onnx,onnx:int8,executorch --out speed
  python -m vlmprune_tools.methods table accuracy.json --speed speed --json methods.json --write page.md
  vlmprune-report methods.json --out report.html
"""
MARKS = (b'"kind": "methods"',)  # what --json may replace


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    description = (
        "measure: export and time a bundle of every method of an evaluation, pruned and unpruned interleaved; a\n"
        "killed run goes on where it stopped. table: print accuracy and speed as Markdown, and write both as one\n"
        "record for vlmprune-report."
    )
    command = command_parser("python -m vlmprune_tools.methods", description, EXAMPLES)
    command.add_argument("action", choices=("measure", "table"))
    command.add_argument("accuracy", nargs="+", type=Path, metavar="ACCURACY", help="records of vlmprune-eval --json")
    command.add_argument("--model", default="pocket", help="the checkpoint to export, default %(default)s")
    command.add_argument("--keeps", default="64", metavar="K,..", help="rates to time, default %(default)s")
    command.add_argument("--engines", default="onnx", metavar="TARGET[:QUANT],..", help="default %(default)s")
    command.add_argument("--out", type=Path, metavar="DIR", help="measure: the folder of the benchmarks")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="of the engines, default %(default)s")
    command.add_argument("--repetitions", type=int, default=5, metavar="N", help="pairs of runs, default %(default)s")
    command.add_argument("--speed", type=Path, metavar="DIR", help="table: a folder that measure wrote")
    command.add_argument(
        "--write", type=Path, nargs="+", default=[], metavar="PAGE",
        help="table: pages with places like <!-- methods: accuracy 64 32 --> up to <!-- end --> to write it to",
    )  # fmt: skip
    command.add_argument("--json", type=Path, metavar="OUT.json", help="table: write the record")
    return command


def run(args: argparse.Namespace) -> None:
    """Measures, or prints and writes the table."""
    from vlmprune_tools.methods.markdown import filled, markdown
    from vlmprune_tools.methods.record import methods_record

    records = [_accuracy(path) for path in args.accuracy]
    if args.action == "measure":
        measure_all(args, records)
        return
    out = check_output_file(args.json, MARKS) if args.json else None
    made = methods_record(records, args.speed.glob("*-*.json") if args.speed else ())
    pages = {path: filled(path.read_text(encoding="utf-8"), made) for path in args.write}
    print(markdown(made))
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    if out:
        save_text(made.model_dump_json(indent=1) + "\n", out)


def measure_all(args: argparse.Namespace, records: Sequence[dict[str, Any]]) -> None:
    """Measures all cells of all evaluations; one that fails is named, and the others go on.

    Raises `VlmPruneError` in the end if any failed.
    """
    from vlmprune_tools.methods.cells import CellFailed, cells_of, measure

    if args.out is None:
        raise BadRequest("measure needs --out DIR")
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        keeps = [int(keep) for keep in args.keeps.split(",")]
    except ValueError:
        raise BadRequest(f"--keeps: got {args.keeps!r}; allowed: whole numbers with commas between them") from None
    bench = ["--threads", str(args.threads), "--repetitions", str(args.repetitions), "--warmups", "1", "--tokens", "2"]
    cells, failures = [cell for record in records for cell in cells_of(record, keeps, args.engines.split(","))], 0
    for cell in cells:
        try:
            done = measure(cell, args.model, args.out, bench)
        except CellFailed as failed:
            print(failed, file=sys.stderr)
            failures += 1
            continue
        print(f"{cell.file_name}: {'measured' if done else 'was there'}", flush=True)
    if failures:
        raise VlmPruneError(f"{failures} of {len(cells)} measurements failed; the same command goes on with them")


def _accuracy(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path}: {error}") from None
    if not isinstance(record, dict) or record.get("kind") != "accuracy":
        raise BadRequest(f"{path}: is no record of vlmprune-eval")
    return record


if __name__ == "__main__":
    sys.exit(main())
