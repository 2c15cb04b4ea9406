"""`vlmprune-eval` measures the accuracy of a bundle or a checkpoint against pruning rate."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from vlmprune_runtime.atomic import OutputFile, check_output_file, save_text
from vlmprune_runtime.attach import check_attach
from vlmprune_runtime.cli.entrypoint import command_parser, run_command
from vlmprune_runtime.errors import BadRequest, MissingExtra
from vlmprune_runtime.lock import locked
from vlmprune_runtime.progress import step_lines

if TYPE_CHECKING:
    from vlmprune_tools.evaluation import EvaluationRequest

EXAMPLES = """\
  vlmprune-eval pocket-onnx --data scenes --limit 200 --keeps 576,192,128,64 --json accuracy.json --plot accuracy.png
  vlmprune-eval pocket-onnx --data easy-vqa --pruners vlm-pruner,uniform --json easy.json --attach
  vlmprune-eval pocket --data scenes --keeps 64,32 --ablation --layer 4 --json layer4.json
  vlmprune-eval ./my-llava --data coco_pope_random.jsonl --images coco/val2014 --json pope.json
  vlmprune-eval pocket --data scenes --keeps 64 --pruners vlm-pruner,vlm-pruner:batch=1,random:seed=7
"""
RECORD_MARKS = (b'"kind": "accuracy"',)  # what --json may replace
WIDTH_WITHOUT_TERMINAL = 400  # columns, so that a table in a file is not wrapped


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    description = (
        "Ask the same questions of the unpruned model and of every pruner at every rate. Vision, embed and head run\n"
        "once per question, prune and tail once per pruner and rate. A bundle's engine runs all its stages; a pruner\n"
        "or rate that is not the bundle's own runs in PyTorch between head and tail."
    )
    command = command_parser("vlmprune-eval", description, EXAMPLES)
    command.add_argument(
        "model", metavar="MODEL", help="a bundle's folder (any engine), a checkpoint's, or pocket (PyTorch)"
    )
    command.add_argument("--json", type=Path, metavar="OUT.json", help="write the record; a killed run resumes")
    command.add_argument("--plot", type=Path, metavar="OUT.png", help="plot retained accuracy against the rate")
    command.add_argument(
        "--attach", nargs="?", const="", metavar="BUNDLE", help="write the record into bundle.json; default: MODEL's"
    )
    command.add_argument(
        "--threads", type=int, default=2, metavar="N", help="default 2; 0 leaves the number to the engine"
    )
    command.add_argument(
        "--dtype", default="float32", metavar="NAME",
        help="of a checkpoint's language model: float32 (default) or bfloat16; the choice of tokens stays in float32",
    )  # fmt: skip
    _add_data(command)
    _add_pruning(command)
    return command


def _add_data(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("questions")
    group.add_argument(
        "--data", default="scenes", metavar="NAME|PATH",
        help="scenes (default), signs, easy-vqa, or a file: "
        "CSV (image, question, answer, optional task), POPE or LLaVA JSONL",
    )  # fmt: skip
    group.add_argument(
        "--limit", type=int, default=200, metavar="N", help="number of questions, default 200; 0: all of a file"
    )
    group.add_argument("--images", type=Path, metavar="DIR", help="the folder of a file's images; default: beside it")
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the scenes and the bootstrap, default 0"
    )
    group.add_argument("--max-tokens", type=int, default=32, metavar="N", help="longest answer, default %(default)s")
    group.add_argument(
        "--blind", action="store_true", help="also ask about the mean image instead; easy-vqa always does"
    )


def _add_pruning(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("pruning")
    group.add_argument(
        "--keeps", default="", metavar="K,..", help="visual tokens to keep; default: 66.7, 77.8 and 88.9 %% pruned"
    )
    group.add_argument(
        "--pruners", default="vlm-pruner,random,uniform", metavar="NAME,..",
        help="default %(default)s; settings of one: vlm-pruner:batch=1:aggregate=false",
    )  # fmt: skip
    group.add_argument(
        "--ablation", action="store_true", help="also VLM-Pruner with one stage turned off, and with batch 1"
    )
    group.add_argument("--layer", type=int, metavar="L", help="first pruned layer of a checkpoint, default 2")
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting of all pruners that have it",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Evaluates once; prints a table and writes the requested files."""
    try:
        from vlmprune_tools.evaluation import evaluate
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "torch", "tools") from missing
    outputs = _check_outputs(args)
    with locked(outputs.json.path) if outputs.json else nullcontext():  # two runs would share one log of predictions
        record = evaluate(request_of(args), progress=step_lines())
        if outputs.json:
            save_text(json.dumps(record, indent=1) + "\n", outputs.json)
    show(record)
    _write_plot_and_attach(outputs, record)


def request_of(args: argparse.Namespace) -> "EvaluationRequest":
    """Returns the request that the arguments state."""
    from vlmprune_export.setting import parse_setting
    from vlmprune_tools.evaluation import EvaluationRequest
    from vlmprune_tools.evaluation.dataset import DatasetOptions
    from vlmprune_tools.evaluation.variants import ABLATIONS

    return EvaluationRequest(
        model=args.model,
        data=args.data,
        dataset_options=DatasetOptions(args.limit or None, args.seed, args.images),
        keeps=tuple(_number(text) for text in _split(args.keeps)),
        pruners=(*_split(args.pruners), *(ABLATIONS if args.ablation else ())),
        settings=dict(parse_setting(text) for text in args.settings),
        layer=args.layer,
        max_tokens=args.max_tokens,
        blind=args.blind,
        threads=args.threads or None,
        dtype=args.dtype,
        out=args.json,
    )


def show(record: Mapping[str, Any]) -> None:
    """Prints the table and its notes."""
    from vlmprune_tools.evaluation.table import accuracy_table, footnotes

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)
    console.print(accuracy_table(record))
    for line in footnotes(record):
        console.print(line)


@dataclass(frozen=True)
class _Outputs:
    """The files that the evaluation writes; each is None if it was not asked for."""

    json: OutputFile | None
    plot: OutputFile | None
    attach_to: Path | None


def _check_outputs(args: argparse.Namespace) -> _Outputs:
    """Raises before the evaluation for outputs that cannot be written."""
    from vlmprune_tools.evaluation.plot import check_plot

    json_place = None if args.json is None else check_output_file(args.json, RECORD_MARKS)
    plot_place = None if args.plot is None else check_plot(args.plot)
    attach_to = None if args.attach is None else Path(args.attach or args.model)
    if attach_to is not None:
        check_attach(attach_to)
    return _Outputs(json_place, plot_place, attach_to)


def _write_plot_and_attach(outputs: _Outputs, record: Mapping[str, Any]) -> None:
    from vlmprune_tools.evaluation.plot import save_plot
    from vlmprune_tools.evaluation.record import attach_accuracy

    if outputs.plot is not None:
        save_plot(record, outputs.plot)
    if outputs.attach_to is not None:
        attach_accuracy(record, outputs.attach_to)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f"keeps: got {text!r}; allowed: whole numbers with commas between them") from None


if __name__ == "__main__":
    sys.exit(main())
