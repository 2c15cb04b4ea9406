"""`vlmprune-run` answers a question about an image and streams the answer."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from vlmprune_runtime.atomic import OutputFile, check_output_png
from vlmprune_runtime.cli.compare import comparison_fields, comparison_table
from vlmprune_runtime.cli.entrypoint import command_parser, picture_file, run_command
from vlmprune_runtime.cli.fields import result_fields
from vlmprune_runtime.dump import check_dump, dump
from vlmprune_runtime.engines import reference_note
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import TIMED_STAGES, Finished, RunResult, TextPiece
from vlmprune_runtime.generate import MAX_TOKENS, Request, Runner, open_runner
from vlmprune_runtime.image_loading import load_image
from vlmprune_runtime.overlay import draw_overlay, grid_area
from vlmprune_runtime.sampling import Sampling

EXAMPLES = """\
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is in the picture?"
  vlmprune-run BUNDLE --image cat.jpg --prompt "What colour is it?" --compare
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is it?" --overlay kept.png --json
  vlmprune-run BUNDLE --image before.jpg --image after.jpg --prompt "What differs?"
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is it?" --dump question
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the arguments."""
    description = "Answer a question about one or more images with an exported bundle; the answer goes to stdout."
    arguments = command_parser("vlmprune-run", description, EXAMPLES)
    arguments.add_argument("bundle", metavar="BUNDLE", help="folder that vlmprune-export has written")
    images = "picture to ask about; -: standard input; repeated for several, in the order of their places in the prompt"
    arguments.add_argument("--image", required=True, action="append", type=picture_file, metavar="FILE", help=images)
    arguments.add_argument("--prompt", required=True, metavar="TEXT", help="question")
    mode = arguments.add_mutually_exclusive_group()
    mode.add_argument("--no-prune", action="store_true", help="keep all visual tokens")
    mode.add_argument("--compare", action="store_true", help="answer pruned and unpruned, and compare the times")
    _add_sampling(arguments)
    arguments.add_argument("--threads", type=int, metavar="N", help="default: one per core")
    arguments.add_argument("--overlay", metavar="OUT.png", help="draw the kept tokens; several pictures: OUT-1.png ...")
    arguments.add_argument(
        "--dump", metavar="DIR", help="write pixels, prompt ids and expected tokens for other runners"
    )
    arguments.add_argument("--json", action="store_true", help="one JSON object instead of the text")
    arguments.add_argument("--no-verify", action="store_true", help="do not check the hashes of the bundle's files")
    return arguments


def _add_sampling(arguments: argparse.ArgumentParser) -> None:
    description = "how tokens are chosen; default: the bundle's own settings, which vlmprune-inspect shows"
    group = arguments.add_argument_group("answer", description)
    group.add_argument("--max-tokens", type=int, metavar="N", help=f"{MAX_TOKENS} where the bundle sets no limit")
    group.add_argument("--temperature", type=float, metavar="T", help="0: the likeliest token; above: draw")
    group.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens; 0: from all")
    group.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest with mass P; 1: from all")
    group.add_argument("--min-p", type=float, metavar="P", help="draw from those with P times the likeliest's chance")
    group.add_argument("--repetition-penalty", type=float, metavar="R", help="above 1: tokens repeat less")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw, default 0")


def run(args: argparse.Namespace) -> None:
    """Answers the question, or answers it in both modes to compare them."""
    status = Console(stderr=True, highlight=False, markup=False)
    request = request_of(args)
    with status.status("loading the bundle"):
        runner = open_runner(args.bundle, verify=not args.no_verify, threads=args.threads)
    if note := reference_note(runner.bundle):
        status.print(f"note: {note}")
    pruned = (compare if args.compare else answer)(runner, request, args.json, status)
    for place, image, selection in zip(args.overlay_places, request.images, pruned.pruned, strict=False):
        loaded = load_image(image)
        draw_overlay(loaded, selection.kept, selection.rank, grid_area(loaded, runner.bundle.manifest), place)
        status.print(f"overlay: {place.path}")
    if args.dump:
        dump(runner, request, args.dump)
        status.print(f"dump: {args.dump}")


def request_of(args: argparse.Namespace) -> Request:
    """Returns the request. Raises `BadRequest` for arguments that contradict each other, before anything is loaded."""
    sampling = Sampling(args.temperature, args.top_p, args.seed, args.top_k, args.min_p, args.repetition_penalty)
    args.overlay_places = overlay_places(args.overlay, len(args.image)) if args.overlay else []
    if args.overlay and args.no_prune:
        raise BadRequest("--overlay shows what the pruner kept; it does not go with --no-prune")
    request = Request(args.image, args.prompt, not args.no_prune, args.max_tokens, sampling)
    if args.dump:
        check_dump(request, args.dump)
    return request


def overlay_places(out: str, images: int) -> list[OutputFile]:
    """Returns the place of each image's overlay: `out` itself, or for several images `out` with -1, -2 ... in it."""
    path = Path(out)
    if images == 1:
        return [check_output_png(path)]
    return [check_output_png(path.parent / f"{path.stem}-{nth}{path.suffix}") for nth in range(1, images + 1)]


def answer(runner: Runner, request: Request, as_json: bool, status: Console) -> RunResult:
    """Writes the answer to stdout and its times to stderr, or everything as JSON to stdout."""
    result = streamed(runner, request, not as_json)
    if as_json:
        print(json.dumps(result_fields(result)))
    else:
        status.print(summary(result), style="dim")
    return result


def compare(runner: Runner, request: Request, as_json: bool, status: Console) -> RunResult:
    """Writes both answers and their times; a warm-up run in both modes keeps the cost of first use out of them."""
    modes = [replace(request, prune=False), replace(request, prune=True)]
    with status.status("warming up, pruned and unpruned"):
        for mode in modes:
            runner.answer(replace(mode, max_tokens=1))
    results = []
    for mode in modes:
        if not as_json:
            print("pruned:   " if mode.prune else "unpruned: ", end="", flush=True)
        results.append(streamed(runner, mode, not as_json))
    unpruned, pruned = results
    if as_json:
        print(json.dumps(comparison_fields(unpruned, pruned)))
    else:
        Console(highlight=False).print(comparison_table(unpruned, pruned))
        status.print("one run each, after one warm-up run each", style="dim")
    return pruned


def streamed(runner: Runner, request: Request, show_text: bool) -> RunResult:
    """Returns the result; with `show_text` the text is printed piece by piece as it is generated."""
    for event in runner.stream(request):
        if show_text and isinstance(event, TextPiece):
            print(event.text, end="", flush=True)
        if isinstance(event, Finished):
            result = event.result
    if show_text:
        print(flush=True)
    return result


def summary(result: RunResult) -> str:
    """Returns one line with the kept tokens and the times of an answer."""
    times = result.timings
    stages = ", ".join(f"{name} {times.stage_ms(name):.0f}" for name in TIMED_STAGES if times.stage_ms(name))
    kept = "".join(f"{len(image.kept)} of {image.visual_tokens} visual tokens; " for image in result.pruned)
    speed = times.decode_tokens_per_s
    rate = f"; then {speed:.1f} tokens/s" if speed else ""
    return f"{kept}first token after {times.ttft_ms:.0f} ms ({stages}){rate}"


if __name__ == "__main__":
    sys.exit(main())
