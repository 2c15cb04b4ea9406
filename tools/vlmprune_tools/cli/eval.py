"""`vlmprune-eval`: accuracy of a bundle or a checkpoint against pruning rate."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from vlmprune_runtime.atomic import check_place, save_text
from vlmprune_runtime.cli.face import command_parser, run_command
from vlmprune_runtime.errors import BadRequest, MissingExtra

if TYPE_CHECKING:
    from vlmprune_tools.evaluation import EvaluationRequest

EXAMPLES = """\
  vlmprune-eval pocket-onnx --data scenes --limit 200 --keeps 576,192,128,64 --json accuracy.json --plot accuracy.png
  vlmprune-eval pocket-onnx --data easy-vqa --pruners vlm-pruner,grid --json easy.json --attach
  vlmprune-eval pocket --data scenes --keeps 64,32 --ablation --layer 4 --json layer4.json
  vlmprune-eval ./my-llava --data coco_pope_random.jsonl --images coco/val2014 --json pope.json
  vlmprune-eval pocket --data scenes --keeps 64 --pruners vlm-pruner,vlm-pruner:batch=1,random:seed=7
"""
WIDEST = 400  # a table that is not looked at on a terminal is not wrapped


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    told = (
        "Ask the same questions of the unpruned model and of every pruner at every rate. Vision, embed and head run\n"
        "once for a question, prune and tail once for each way. Of a bundle, its engine runs all stages; a pruner or\n"
        "rate that is not the bundle's own runs in PyTorch between head and tail."
    )
    made = command_parser("vlmprune-eval", told, EXAMPLES)
    made.add_argument(
        "model", metavar="MODEL", help="a bundle's folder (any engine), a checkpoint's, or pocket (PyTorch)"
    )
    made.add_argument("--json", type=Path, metavar="OUT.json", help="write the record; a killed run is gone on with")
    made.add_argument("--plot", type=Path, metavar="OUT.png", help="draw what is retained against the rate")
    made.add_argument(
        "--attach", nargs="?", const="", metavar="BUNDLE", help="write the record into bundle.json; default: MODEL's"
    )
    made.add_argument("--threads", type=int, default=2, metavar="N", help="default 2; 0: as the engine likes")
    _add_data(made)
    _add_pruning(made)
    return made


def _add_data(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("questions")
    group.add_argument(
        "--data", default="scenes", metavar="NAME|PATH",
        help="scenes (default), signs, easy-vqa, or a file: "
        "CSV (image, question, answer, optional task), POPE or LLaVA JSONL",
    )  # fmt: skip
    group.add_argument("--limit", type=int, default=200, metavar="N", help="questions, default 200; 0: all of a file")
    group.add_argument("--images", type=Path, metavar="DIR", help="where a file's pictures lie; default: beside it")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the scenes and the bootstrap, default 0")
    group.add_argument("--max-tokens", type=int, default=32, metavar="N", help="of an answer, default %(default)s")
    group.add_argument("--blind", action="store_true", help="ask also with the mean picture; always so for easy-vqa")


def _add_pruning(made: argparse.ArgumentParser) -> None:
    group = made.add_argument_group("pruning")
    group.add_argument(
        "--keeps", default="", metavar="K,..", help="visual tokens to keep; default: 66.7, 77.8 and 88.9 %% pruned"
    )
    group.add_argument(
        "--pruners", default="vlm-pruner,random,grid", metavar="NAME,..",
        help="default %(default)s; settings of one: vlm-pruner:batch=1:aggregate=false",
    )  # fmt: skip
    group.add_argument("--ablation", action="store_true", help="VLM-Pruner also with one stage off, and batch 1")
    group.add_argument("--layer", type=int, metavar="L", help="first pruned layer of a checkpoint, default 2")
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting of all pruners that have it",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """One evaluation: a table on stdout, files where they are wanted."""
    try:
        from vlmprune_tools.evaluation import evaluate
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "torch", "tools") from missing
    target = _check_outputs(args)
    status = Console(stderr=True, highlight=False, markup=False)
    record = evaluate(request_of(args), progress=status.print)
    if args.json:
        save_text(json.dumps(record, indent=1) + "\n", args.json)
    show(record)
    _write_others(args, record, target)


def request_of(args: argparse.Namespace) -> "EvaluationRequest":
    """What is asked for."""
    from vlmprune_tools.evaluation import EvaluationRequest
    from vlmprune_tools.evaluation.items import Wishes
    from vlmprune_tools.evaluation.variants import ABLATIONS, setting

    return EvaluationRequest(
        model=args.model,
        data=args.data,
        wishes=Wishes(args.limit or None, args.seed, args.images),
        keeps=tuple(_number(text) for text in _parts(args.keeps)),
        pruners=(*_parts(args.pruners), *(ABLATIONS if args.ablation else ())),
        settings=dict(setting(text) for text in args.settings),
        layer=args.layer,
        max_tokens=args.max_tokens,
        blind=args.blind,
        threads=args.threads or None,
        out=args.json,
    )


def show(record: Mapping[str, Any]) -> None:
    """The table and what it says."""
    from vlmprune_tools.evaluation.table import accuracy_table, footnotes

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDEST)
    console.print(accuracy_table(record))
    for line in footnotes(record):
        console.print(line)


def _check_outputs(args: argparse.Namespace) -> Path | None:
    """Everything that could fail in the end fails at the start; gives the bundle to attach to."""
    from vlmprune_tools.evaluation.attach import check_attach
    from vlmprune_tools.evaluation.plot import check_plot

    for out in (args.json, args.plot):
        if out is not None:
            check_place(out)
    if args.plot is not None:
        check_plot(args.plot)
    if args.attach is None:
        return None
    target = Path(args.attach or args.model)
    check_attach(target)
    return target


def _write_others(args: argparse.Namespace, record: Mapping[str, Any], target: Path | None) -> None:
    from vlmprune_tools.evaluation.attach import attach
    from vlmprune_tools.evaluation.plot import save_plot

    if args.plot is not None:
        save_plot(record, args.plot)
    if target is not None:
        attach(record, target)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadRequest(f"keeps: got {text!r}; allowed: whole numbers with commas between them") from None


if __name__ == "__main__":
    sys.exit(main())
