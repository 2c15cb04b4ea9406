"""`vlmprune-run`: an answer to a question about an image, streamed."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from vlmprune_runtime.atomic import Place, check_png
from vlmprune_runtime.cli.compare import comparison_fields, comparison_table
from vlmprune_runtime.cli.entrypoint import command_parser, picture_file, run_command
from vlmprune_runtime.cli.fields import result_fields
from vlmprune_runtime.dump import check_dump, dump
from vlmprune_runtime.engines import reference_note
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import TIMED_STAGES, Finished, RunResult, TextPiece
from vlmprune_runtime.generate import MAX_TOKENS, Request, Runner, open_runner
from vlmprune_runtime.overlay import draw_overlay
from vlmprune_runtime.picture import load_image
from vlmprune_runtime.sampling import Sampling

EXAMPLES = """\
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is in the picture?"
  vlmprune-run BUNDLE --image cat.jpg --prompt "What colour is it?" --compare
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is it?" --overlay kept.png --json
  vlmprune-run BUNDLE --image before.jpg --image after.jpg --prompt "What differs?"
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is it?" --dump question
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    told = "Answer a question about one or more images with an exported bundle; the answer goes to stdout."
    made = command_parser("vlmprune-run", told, EXAMPLES)
    made.add_argument("bundle", metavar="BUNDLE", help="folder that vlmprune-export has written")
    images = "picture to ask about; -: standard input; repeated for several, in the order of their places in the prompt"
    made.add_argument("--image", required=True, action="append", type=picture_file, metavar="FILE", help=images)
    made.add_argument("--prompt", required=True, metavar="TEXT", help="question")
    way = made.add_mutually_exclusive_group()
    way.add_argument("--no-prune", action="store_true", help="keep all visual tokens")
    way.add_argument("--compare", action="store_true", help="answer both ways and compare the times")
    _add_sampling(made)
    made.add_argument("--threads", type=int, metavar="N", help="default: one per core")
    made.add_argument("--overlay", metavar="OUT.png", help="draw the kept tokens; several pictures: OUT-1.png ...")
    made.add_argument("--dump", metavar="DIR", help="write pixels, prompt ids and expected tokens for other runners")
    made.add_argument("--json", action="store_true", help="one JSON object instead of the text")
    made.add_argument("--no-verify", action="store_true", help="do not check the hashes of the bundle's files")
    return made


def _add_sampling(made: argparse.ArgumentParser) -> None:
    own = "how tokens are chosen; default: the bundle's own settings, which vlmprune-inspect shows"
    group = made.add_argument_group("answer", own)
    group.add_argument("--max-tokens", type=int, metavar="N", help=f"{MAX_TOKENS} where the bundle sets no limit")
    group.add_argument("--temperature", type=float, metavar="T", help="0: the likeliest token; above: draw")
    group.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens; 0: from all")
    group.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest with mass P; 1: from all")
    group.add_argument("--min-p", type=float, metavar="P", help="draw from those with P times the likeliest's chance")
    group.add_argument("--repetition-penalty", type=float, metavar="R", help="above 1: tokens repeat less")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw, default 0")


def run(args: argparse.Namespace) -> None:
    """One answer, or two to compare."""
    status = Console(stderr=True, highlight=False, markup=False)
    request = request_of(args)
    with status.status("loading the bundle"):
        runner = open_runner(args.bundle, verify=not args.no_verify, threads=args.threads)
    if note := reference_note(runner.bundle):
        status.print(f"note: {note}")
    pruned = (compare if args.compare else answer)(runner, request, args.json, status)
    for place, image, found in zip(args.overlay_places, request.images, pruned.pruned, strict=False):
        draw_overlay(load_image(image), found.kept, found.rank, runner.bundle.manifest.image, place)
        status.print(f"overlay: {place.path}")
    if args.dump:
        dump(runner, request, args.dump)
        status.print(f"dump: {args.dump}")


def request_of(args: argparse.Namespace) -> Request:
    """What is asked, refused before anything is loaded if it makes no sense."""
    sampling = Sampling(args.temperature, args.top_p, args.seed, args.top_k, args.min_p, args.repetition_penalty)
    args.overlay_places = overlay_places(args.overlay, len(args.image)) if args.overlay else []
    if args.overlay and args.no_prune:
        raise BadRequest("--overlay shows what the pruner kept; it does not go with --no-prune")
    request = Request(args.image, args.prompt, not args.no_prune, args.max_tokens, sampling)
    if args.dump:
        check_dump(request, args.dump)
    return request


def overlay_places(out: str, images: int) -> list[Place]:
    """Where the overlay of each image goes: `out` itself, or with several images `out` with -1, -2 ... in its name."""
    path = Path(out)
    if images == 1:
        return [check_png(path)]
    return [check_png(path.parent / f"{path.stem}-{nth}{path.suffix}") for nth in range(1, images + 1)]


def answer(runner: Runner, request: Request, as_json: bool, status: Console) -> RunResult:
    """One answer on stdout and its times on stderr, or all of it as JSON on stdout."""
    result = streamed(runner, request, not as_json)
    if as_json:
        print(json.dumps(result_fields(result)))
    else:
        status.print(summary(result), style="dim")
    return result


def compare(runner: Runner, request: Request, as_json: bool, status: Console) -> RunResult:
    """Both answers and their times; both ways are run once before, so that neither pays for the first use."""
    both = [replace(request, prune=False), replace(request, prune=True)]
    with status.status("warming up both ways"):
        for way in both:
            runner.answer(replace(way, max_tokens=1))
    results = []
    for way in both:
        if not as_json:
            print("pruned:   " if way.prune else "unpruned: ", end="", flush=True)
        results.append(streamed(runner, way, not as_json))
    unpruned, pruned = results
    if as_json:
        print(json.dumps(comparison_fields(unpruned, pruned)))
    else:
        Console(highlight=False).print(comparison_table(unpruned, pruned))
        status.print("one run each, after one warm-up run each", style="dim")
    return pruned


def streamed(runner: Runner, request: Request, aloud: bool) -> RunResult:
    """The result; the text is written as it comes if it is to be heard."""
    for event in runner.stream(request):
        if aloud and isinstance(event, TextPiece):
            print(event.text, end="", flush=True)
        if isinstance(event, Finished):
            result = event.result
    if aloud:
        print(flush=True)
    return result


def summary(result: RunResult) -> str:
    """One line on how long it took."""
    times = result.timings
    stages = ", ".join(f"{name} {times.stage_ms(name):.0f}" for name in TIMED_STAGES if times.stage_ms(name))
    kept = "".join(f"{len(found.kept)} of {found.visual_tokens} visual tokens; " for found in result.pruned)
    speed = times.decode_tokens_per_s
    rate = f"; then {speed:.1f} tokens/s" if speed else ""
    return f"{kept}first token after {times.ttft_ms:.0f} ms ({stages}){rate}"


if __name__ == "__main__":
    sys.exit(main())
