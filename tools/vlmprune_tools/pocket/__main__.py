"""Measures the accuracy of the default model, and publishes the figures in its model card."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from vlmprune_export.pocket_model.trained_weights import TRAINED
from vlmprune_runtime.errors import BadRequest, VlmPruneError
from vlmprune_tools.pocket.accuracy import HuggingFaceEvaluator, QuestionSet, predict_all, score_families
from vlmprune_tools.pocket.card import publish_figures
from vlmprune_tools.pocket.model import load_pocket
from vlmprune_tools.scenes.artwork import EVALUATION_VENDORS, IMAGES, artwork_of
from vlmprune_tools.scenes.concepts import known_concepts
from vlmprune_tools.scenes.sources import WITHOUT_ARTWORK, source

MOVED = ("features", "warm", "train", "sharpen", "tune", "average", "look", "pack", "smoke")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one step; returns 0 for success, 1 for a failure, 2 for a bad request."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in MOVED:
            raise BadRequest(f"{words[0]}: training moved; see tools/pocket_training in the repository")
        chosen = parser().parse_args(words)
        chosen.run(chosen)
    except VlmPruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m vlmprune_tools.pocket", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="STEP")
    for name, run, add_options in (("evaluate", evaluate, evaluate_options), ("card", card, card_options)):
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        add_options(command)
    return top


def evaluate_options(command: argparse.ArgumentParser) -> None:
    """Adds the options of `evaluate`."""
    command.add_argument("--threads", type=int, default=2, help="processor threads; 1 is faster on a busy machine")
    command.add_argument("--trained", type=Path, help="a packed file of weights; default: the shipped one")
    command.add_argument("--source", default="hard", help="a style of scenes, sign, easy-vqa or photo; default hard")
    command.add_argument("--split", choices=("dev", "test"), default="dev")
    command.add_argument("--count", type=int, default=300, help="number of images, default 300")
    command.add_argument("--first", type=int, default=0, help="the first image; logs can be joined")
    command.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    command.add_argument("--vendors", default=",".join(EVALUATION_VENDORS), help=f"artwork of: {', '.join(IMAGES)}")
    command.add_argument("--reworded", action="store_true", help="ask in words that training never sees")
    command.add_argument("--blind", action="store_true", help="show a grey image instead, to measure the floor")
    command.add_argument("--log", type=Path, required=True, help="predictions so far (JSON lines), to resume from")


def card_options(command: argparse.ArgumentParser) -> None:
    """Adds the options of `card`."""
    command.add_argument("figures", type=Path, nargs="+", help="outputs of `evaluate`")
    command.add_argument("--record", type=Path, default=TRAINED.with_suffix(".json"))
    command.add_argument("--card", type=Path, default=TRAINED.with_name("MODEL_CARD.md"))


def evaluate(chosen: argparse.Namespace) -> None:
    """Ask the model about images that training never saw; print exact-match accuracy as JSON."""
    torch.set_num_threads(chosen.threads)
    model, processor = load_pocket(chosen.trained, getattr(torch, chosen.dtype))
    concepts = known_concepts(chosen.trained)
    artwork = {} if chosen.source in WITHOUT_ARTWORK else artwork_of(concepts, chosen.vendors.split(","))
    question_set = QuestionSet(source(chosen.source, artwork), chosen.split, concepts, chosen.reworded)
    indices = range(chosen.first, chosen.first + chosen.count)
    evaluator = HuggingFaceEvaluator(model, processor, chosen.blind)
    predictions = predict_all(evaluator, question_set, indices, chosen.log)
    names = ("source", "split", "vendors", "reworded", "blind", "dtype")
    record = {name: getattr(chosen, name) for name in names} | {"pictures": chosen.count, "concepts": len(concepts)}
    print(json.dumps(record | {"families": score_families(predictions)}, indent=1))


def card(chosen: argparse.Namespace) -> None:
    """Put measured figures into the shipped record and the model card."""
    publish_figures(chosen.figures, chosen.record, chosen.card)


if __name__ == "__main__":
    sys.exit(main())
