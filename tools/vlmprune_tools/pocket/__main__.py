"""The steps that make the default model's trained part; each goes on from where it was stopped."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlmprune_export.pocket.trained import TRAINED
from vlmprune_runtime.errors import VlmPruneError
from vlmprune_tools.pocket import steps
from vlmprune_tools.pocket.artwork import MEASURED_WITH, PICTURES, TRAINED_ON


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step; 0 ok, 1 failed, 2 bad request."""
    chosen = parser().parse_args(arguments)
    try:
        chosen.run(chosen)
    except VlmPruneError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m vlmprune_tools.pocket", description=__doc__)
    top.set_defaults(threads=2)
    commands = top.add_subparsers(required=True, metavar="STEP")
    for name, run in steps.STEPS.items():
        command = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument(
            "--threads", type=int, default=2, help="processor threads; 1 is faster when others use the machine"
        )
        OPTIONS[name](command)
    return top


def features_options(command: argparse.ArgumentParser) -> None:
    """Which pictures to draw."""
    command.add_argument("source", help="easy, hard, single, bare, drill, few, crowd, sign, photo or easy-vqa")
    command.add_argument("--split", choices=("train", "dev"), default="train")
    command.add_argument("--count", type=int, default=1000, help="pictures")
    command.add_argument(
        "--tower", default="shipped", help="whose features: shipped, plain (untuned, for warm and sharpen), or a file"
    )


def warm_options(command: argparse.ArgumentParser) -> None:
    """What to start the projector on."""
    command.add_argument("--source", default="drill")
    command.add_argument("--steps", type=int, default=3000)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, required=True, help="where the projector is written (.safetensors)")


def vendors_option(command: argparse.ArgumentParser) -> None:
    """Whose artwork new pictures are drawn with."""
    command.add_argument(
        "--vendors",
        default=",".join(TRAINED_ON),
        help="whose artwork new pictures show; one named twice is drawn twice as often",
    )


def train_options(command: argparse.ArgumentParser) -> None:
    """What to train on, from where, for how long."""
    command.add_argument("--mix", default="drill=6,hard=2,easy-vqa=1,sign=1", help="source=weight, ...")
    command.add_argument("--fresh", action="store_true", help="draw new pictures for each step; no `features` needed")
    vendors_option(command)
    command.add_argument("--init", default="shipped", help="shipped, or a .safetensors file of `warm` or `pack`")
    command.add_argument("--steps", type=int, default=300)
    command.add_argument("--rows", type=int, default=16, help="pictures per step with sampled visual tokens")
    command.add_argument("--full-rows", type=int, default=6, help="pictures per step with all visual tokens")
    command.add_argument(
        "--dense-until", type=float, default=0.0, help="share of the run that sees collages, many and small"
    )
    command.add_argument("--full-from", type=float, default=0.5, help="share of the run after which all are seen")
    command.add_argument("--lora-rate", type=float, default=4e-4)
    command.add_argument("--projector-rate", type=float, default=1e-4)
    command.add_argument("--compile", action="store_true", help="fuse layers with PyTorch's compiler (needs C++)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, required=True, help="folder of checkpoint and log; gone on from")


def sharpen_options(command: argparse.ArgumentParser) -> None:
    """Which projector, on what."""
    command.add_argument("--sources", default="crowd,drill,hard,sign", help="cached sources, by commas")
    command.add_argument("--init", default="shipped", help="shipped, or a .safetensors file of `pack`")
    command.add_argument("--steps", type=int, default=1500)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, required=True, help="a .safetensors file for `train --init`")


def tune_options(command: argparse.ArgumentParser) -> None:
    """From where, on what, for how long."""
    command.add_argument(
        "--mix", default="crowd=3,drill=2,hard=2.5,sign=1.3,easy-vqa=0.7,bare=0.5", help="sources, source=weight"
    )
    vendors_option(command)
    command.add_argument("--init", required=True, help="shipped, or a .safetensors file of `sharpen`, `warm` or `pack`")
    command.add_argument("--steps", type=int, default=1500)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, required=True, help="folder of checkpoint and result; gone on from")


def average_options(command: argparse.ArgumentParser) -> None:
    """Of what."""
    command.add_argument("files", nargs="+", help="what `tune` wrote")
    command.add_argument("--out", type=Path, required=True, help="a .safetensors file for `train --init`")


def look_options(command: argparse.ArgumentParser) -> None:
    """What to look at."""
    command.add_argument("trained", type=Path, nargs="?", help="a run's folder or a packed file; default: shipped")
    command.add_argument("--source", default="hard")
    command.add_argument("--count", type=int, default=200, help="pictures")


def pack_options(command: argparse.ArgumentParser) -> None:
    """From where to where."""
    command.add_argument("run_folder", type=Path, help="the --out of `train`")
    command.add_argument("--started-from", default="nothing", help="sha256 or name of what `train` started from")
    command.add_argument("--average-with", help="shipped or a packed file that the run went on from: average with it")
    command.add_argument("--out", type=Path, required=True, help="a .safetensors file; a .json is put beside it")


def evaluate_options(command: argparse.ArgumentParser) -> None:
    """What to ask about."""
    command.add_argument("--trained", type=Path, help="a packed file; default: the shipped one")
    command.add_argument("--source", default="hard")
    command.add_argument("--split", choices=("dev", "test"), default="dev")
    command.add_argument("--count", type=int, default=300, help="pictures")
    command.add_argument("--first", type=int, default=0, help="picture to begin with; logs can be joined")
    command.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    command.add_argument("--vendors", default=",".join(MEASURED_WITH), help=f"whose artwork: {', '.join(PICTURES)}")
    command.add_argument("--reworded", action="store_true", help="in words that training never sees")
    command.add_argument("--blind", action="store_true", help="show a grey picture instead, for the floor")
    command.add_argument("--log", type=Path, required=True, help="answers so far (JSON lines); gone on from")


def card_options(command: argparse.ArgumentParser) -> None:
    """What to publish, and where."""
    command.add_argument("figures", type=Path, nargs="+", help="what `evaluate` printed")
    command.add_argument("--record", type=Path, default=TRAINED.with_suffix(".json"))
    command.add_argument("--card", type=Path, default=TRAINED.with_name("MODEL_CARD.md"))


def smoke_options(command: argparse.ArgumentParser) -> None:
    """Where to work."""
    command.add_argument("--out", type=Path, required=True, help="a folder for what it makes")


OPTIONS = {
    "features": features_options,
    "warm": warm_options,
    "train": train_options,
    "sharpen": sharpen_options,
    "tune": tune_options,
    "average": average_options,
    "look": look_options,
    "pack": pack_options,
    "evaluate": evaluate_options,
    "card": card_options,
    "smoke": smoke_options,
}

if __name__ == "__main__":
    sys.exit(main())
