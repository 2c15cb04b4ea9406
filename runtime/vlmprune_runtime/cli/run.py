"""`vlmprune-run` answers a question about an image and streams the answer."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from vlmprune_runtime.atomic import OutputFile, check_output_png
from vlmprune_runtime.cli.chat import chat
from vlmprune_runtime.cli.compare import compare
from vlmprune_runtime.cli.entrypoint import STANDARD_INPUT, command_parser, image_file, run_command
from vlmprune_runtime.cli.turns import Questions, answer
from vlmprune_runtime.conversation import FurtherQuestion
from vlmprune_runtime.dump import check_dump, dump
from vlmprune_runtime.engines import reference_note
from vlmprune_runtime.errors import BadRequest
from vlmprune_runtime.events import RunResult
from vlmprune_runtime.generate import MAX_TOKENS, Request, open_runner
from vlmprune_runtime.image_loading import check_image, load_image
from vlmprune_runtime.overlay import draw_overlay, grid_areas
from vlmprune_runtime.progress import hash_progress
from vlmprune_runtime.sampling import Sampling
from vlmprune_runtime.schema import Bundle

EXAMPLES = """\
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is in the picture?"
  vlmprune-run BUNDLE --image cat.jpg --prompt "What colour is it?" --compare
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is it?" --overlay kept.png --json
  vlmprune-run BUNDLE --image before.jpg --image after.jpg --prompt "What differs?"
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is it?" --follow-up "What colour is it?" --compare
  vlmprune-run BUNDLE --image cat.jpg --chat
  vlmprune-run BUNDLE --image cat.jpg --prompt "What is it?" --dump question
"""
_LIMIT = f"default: the bundle's; {MAX_TOKENS} where it sets none (transformers' generate then stops at 20)"
ALONE = ("compare", "follow_up", "overlay", "dump", "json")  # what does not go with --chat


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the arguments."""
    description = "Answer a question about one or more images with an exported bundle; the answer goes to stdout."
    arguments = command_parser("vlmprune-run", description, EXAMPLES)
    arguments.add_argument("bundle", metavar="BUNDLE", help="folder that vlmprune-export has written")
    images = "image to ask about; -: standard input; repeated for several, in the order of their places in the prompt"
    arguments.add_argument("--image", action="append", type=image_file, metavar="FILE", help=images)
    arguments.add_argument("--prompt", metavar="TEXT", help="question")
    further = "a further question in the same conversation, which goes on behind the answer; repeated for several"
    arguments.add_argument("--follow-up", action=_AddFollowUp, metavar="TEXT", help=further)
    arguments.add_argument(
        "--follow-up-image", action=_AddImage, type=image_file, metavar="FILE",
        help="image that comes with the --follow-up before it; repeated for several",
    )  # fmt: skip
    arguments.add_argument("--chat", action="store_true", help="a conversation: a question a line, /help for more")
    mode = arguments.add_mutually_exclusive_group()
    mode.add_argument("--no-prune", action="store_true", help="keep all visual tokens")
    mode.add_argument("--compare", action="store_true", help="answer pruned and unpruned, and compare the times")
    _add_sampling(arguments)
    arguments.add_argument("--threads", type=int, metavar="N", help="default: one per core")
    arguments.add_argument("--overlay", metavar="OUT.png", help="draw the kept tokens; several images: OUT-1.png ...")
    arguments.add_argument(
        "--dump", metavar="DIR", help="write pixels, prompt ids and expected tokens for other runners"
    )
    arguments.add_argument("--json", action="store_true", help="one JSON object instead of the text")
    arguments.add_argument("--no-verify", action="store_true", help="do not check the hashes of the bundle's files")
    return arguments


class _AddFollowUp(argparse.Action):
    """Adds a further question."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Adds the text to the list of further questions."""
        namespace.follow_up = [*(namespace.follow_up or ()), FurtherQuestion(values)]


class _AddImage(argparse.Action):
    """Adds an image to the further question before it."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Adds the file to the last question of the list."""
        if not namespace.follow_up:
            parser.error("--follow-up-image belongs behind the --follow-up that it comes with")
        *before, last = namespace.follow_up
        namespace.follow_up = [*before, replace(last, images=(*last.images, values))]


def _add_sampling(arguments: argparse.ArgumentParser) -> None:
    description = "how tokens are chosen; default: the bundle's own settings, which vlmprune-inspect shows"
    group = arguments.add_argument_group("answer", description)
    group.add_argument("--max-tokens", type=int, metavar="N", help=_LIMIT)
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
    with hash_progress("loading the bundle") as report:
        runner = open_runner(args.bundle, verify=not args.no_verify, threads=args.threads, report=report)
    if args.overlay and not runner.bundle.manifest.cuts:
        method = runner.bundle.manifest.pruner.method
        raise BadRequest(f"--overlay shows what the pruner chose; {method} only scales the image down")
    if note := reference_note(runner.bundle):
        status.print(f"note: {note}", soft_wrap=True)
    if args.chat:
        chat(runner, request, status)
        return
    questions = Questions(request, tuple(args.follow_up or ()))
    first, *_ = (compare if args.compare else answer)(runner, questions, args.json, status)
    for note in grid_notes(runner.bundle.manifest, first, prune=request.prune):
        status.print(f"note: {note}", soft_wrap=True)
    for nth, (place, image) in enumerate(zip(args.overlay_places, request.images, strict=False)):
        loaded, views = load_image(image), [view for view in first.pruned if view.image == nth]
        draw_overlay(loaded, views, grid_areas(loaded, runner.bundle.manifest), place)
        status.print(f"overlay: {place.path}")
    if args.dump:
        dump(runner, request, args.dump, questions.follow_ups)
        status.print(f"dump: {args.dump}")


def request_of(args: argparse.Namespace) -> Request:
    """Returns the request. Raises `BadRequest` for arguments that contradict each other, before anything is loaded."""
    sampling = Sampling(args.temperature, args.top_p, args.seed, args.top_k, args.min_p, args.repetition_penalty)
    check_combination(args)
    images = args.image or []
    args.overlay_places = overlay_places(args.overlay, len(images)) if args.overlay else []
    request = Request(images, args.prompt or "", not args.no_prune, args.max_tokens, sampling)
    for image in (*images, *(image for further in args.follow_up or () for image in further.images)):
        check_image(image)
    if args.dump:
        check_dump(request, args.dump)
    return request


def check_combination(args: argparse.Namespace) -> None:
    """Raises `BadRequest` for options that do not go together, or if a question or its image is missing."""
    if args.chat:
        for name in ALONE:
            if getattr(args, name):
                raise BadRequest(f"--chat is a conversation; it does not go with --{name.replace('_', '-')}")
        if any(image.name == STANDARD_INPUT for image in args.image or ()):
            raise BadRequest("--chat reads its questions from standard input; allowed for --image: the name of a file")
        return
    if missing := [option for option in ("image", "prompt") if getattr(args, option) is None]:
        raise BadRequest(f"required without --chat: {', '.join(f'--{option}' for option in missing)}")
    if args.overlay and args.no_prune:
        raise BadRequest("--overlay shows what the pruner kept; it does not go with --no-prune")


def overlay_places(out: str, images: int) -> list[OutputFile]:
    """Returns the place of each image's overlay: `out` itself, or for several images `out` with -1, -2 ... in it."""
    path = Path(out)
    if images == 1:
        return [check_output_png(path)]
    return [check_output_png(path.parent / f"{path.stem}-{nth}{path.suffix}") for nth in range(1, images + 1)]


def grid_notes(manifest: Bundle, result: RunResult, *, prune: bool) -> Iterator[str]:
    """Yields for each image, where there are several grids, which of them it was resized to."""
    grids = manifest.grids
    nearest = f"the grid nearest in shape of {len(grids)}"
    why = "for the pruned mode scales images down" if manifest.pruned_image else nearest
    if len(grids) > 1 and (prune or not manifest.pruned_image):
        for view in result.seen:
            size = f"{view.height} x {view.width} visual tokens ({view.height_px} x {view.width_px} px)"
            yield f"image {view.image + 1} is seen as {size}, {why}"


if __name__ == "__main__":
    sys.exit(main())
