"""Replays a training recipe, phase by phase; a killed run resumes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from pocket_training.phases import Trainee, replay
from pocket_training.recipe import RECIPE, read_recipe
from vlmprune_runtime.errors import VlmPruneError
from vlmprune_tools.scenes.artwork import artwork_of
from vlmprune_tools.scenes.concepts import CONCEPTS


def main(arguments: Sequence[str] | None = None) -> int:
    """Replays a recipe; returns 0 for success, 1 for a failure, 2 for a bad request."""
    chosen = parser().parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    try:
        recipe = read_recipe(chosen.recipe, chosen.most_steps)
        trainee = Trainee(artwork_of(CONCEPTS, recipe.vendors))
        print(replay(recipe, trainee, chosen.out))
    except VlmPruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    command = argparse.ArgumentParser(prog="python -m pocket_training", description=__doc__)
    command.add_argument("recipe", type=Path, nargs="?", default=RECIPE, help=f"default: {RECIPE.name} of this package")
    command.add_argument("--out", type=Path, required=True, help="folder of each phase's weights, log and checkpoint")
    command.add_argument("--most-steps", type=int, metavar="N", help="stop each phase after N steps, to try the recipe")
    command.add_argument("--threads", type=int, default=2, help="processor threads, default 2")
    return command


if __name__ == "__main__":
    sys.exit(main())
