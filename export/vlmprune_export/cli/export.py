"""`vlmprune-export` exports a checkpoint to a bundle."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlmprune_export.cli.delegation import delegation_lines
from vlmprune_export.setting import parse_grids, parse_setting
from vlmprune_runtime.bundle import parse_manifest
from vlmprune_runtime.cli.entrypoint import command_parser, run_command
from vlmprune_runtime.errors import MissingExtra
from vlmprune_runtime.schema import MANIFEST
from vlmprune_runtime.step_progress import step_progress

EXAMPLES = """\
  vlmprune-export --target onnx --keep 64 --out pocket-onnx
  vlmprune-export llava-hf/llava-1.5-7b-hf --target onnx --rate 0.889 --quant int4 --out llava-int4
  vlmprune-export --target executorch --keep 64 --quant 8da4w --backend xnnpack --out pocket-executorch
  vlmprune-export --target coreml --keep 64 --quant int8 --text-tokens 64,256 --out pocket-coreml
  vlmprune-export ./my-llava --target onnx --keep 64 --layer 2 --set threshold=0.7 --set batch=1 --out B
"""
_OPTIONS = ("backend", "stock", "prune_form", "text_tokens", "precision", "head_bits", "deployment")
_STEPS = 8  # of the progress bar: loading, reading or fitting, five stages, manifest


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    return run_command(parser(), run, argv)


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command's arguments."""
    description = "Export a vision-language model to a bundle whose graphs prune visual tokens inside the model."
    command = command_parser("vlmprune-export", description, EXAMPLES)
    command.add_argument(
        "model", nargs="?", default="pocket", metavar="MODEL",
        help="local Hugging Face checkpoint folder or hub id; default: pocket, made from packages",
    )  # fmt: skip
    command.add_argument("--target", required=True, metavar="TARGET", help="onnx, executorch or coreml")
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="bundle folder; must not exist")
    command.add_argument("--force", action="store_true", help="replace a bundle that is already there")
    command.add_argument("--json", action="store_true", help="print the manifest to stdout")
    _add_pruning(command)
    command.add_argument(
        "--quant",
        default="none",
        metavar="KIND",
        help="none (default); onnx: int8, int4; executorch: 8da8w, 8da4w; coreml: int8, int4, pal4",
    )
    command.add_argument(
        "--fit",
        default="gptq",
        metavar="HOW",
        help="4-bit weights: gptq (default), fitted to what the layers see, or none: the nearest values, at once",
    )
    command.add_argument("--backend", metavar="NAME", help="executorch: xnnpack (default), portable or vulkan")
    command.add_argument(
        "--stock",
        action="store_const",
        const="yes",
        help="executorch: also stock.pte, unpruned, for ExecuTorch's own runner",
    )
    _add_coreml(command)
    command.add_argument(
        "--grids", metavar="HxW,...",
        help="visual tokens high and wide that images are resized to, where the model takes any, like 16x16,16x24; "
        "default: a few shapes of about 256",
    )  # fmt: skip
    command.add_argument(
        "--tiles", type=int, metavar="N",
        help="tiles along an image's longer side, if the model splits images; 1: the whole alone; default: its own",
    )  # fmt: skip
    command.add_argument(
        "--tiles-pruned", default="each", metavar="HOW",
        help="each (default): every tile keeps its share; jointly: one choice among the tokens of all tiles of a "
        "image, which keeps as many; the whole image beside them is pruned on its own",
    )  # fmt: skip
    command.add_argument("--ignore-memory", action="store_true", help="begin even if the memory seems too small")
    several = "images that a prompt has room for; default: 2 where models know several, else 1"
    command.add_argument("--images", type=int, metavar="N", help=several)
    room = "longest prompt and answer together; default: 448 beside the largest images"
    command.add_argument("--context", type=int, metavar="TOKENS", help=room)
    return command


def _add_coreml(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("coreml")
    group.add_argument("--prune-form", metavar="FORM", help="loop (default), or unrolled: the selection without loop")
    group.add_argument("--text-tokens", metavar="N,N", help="text lengths that prefills are made for, default 64,256")
    group.add_argument("--precision", metavar="KIND", help="fp16 (default) or fp32: inside; caches are fp16")
    group.add_argument("--head-bits", metavar="N", help="of head when quantised: 8 (default), or 16: keeps more alike")
    group.add_argument(
        "--deployment", metavar="OS", help="ios18 (default) or macos15, which are one: oldest that will run it"
    )


def _add_pruning(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("pruning")
    amount = group.add_mutually_exclusive_group()
    amount.add_argument("--keep", type=int, metavar="K", help="visual tokens that stay; default: --rate 0.889")
    amount.add_argument("--rate", type=float, metavar="R", help="share of visual tokens to drop")
    group.add_argument(
        "--pruner", default="vlm-pruner", metavar="NAME",
        help="vlm-pruner (default), duet-vlm, occam-token, saint, nuwa, fastv, divprune, dart, visionzip, sparsevlm, "
        "cdpruner-embed, mmtok, prumerge, or the floors uniform, random and resize (a smaller image)",
    )  # fmt: skip
    group.add_argument(
        "--layer",
        type=int,
        metavar="L",
        help="first decoder layer that sees the kept tokens only, default: the method's own choice, for vlm-pruner 2; "
        "0 cuts at the language model's input",
    )
    group.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="settings",
        help="a setting of the pruner (vlm-pruner: pivots, threshold, batch, ...; duet-vlm, nuwa, "
        "occam-token, uniform: vision_keep; saint: place=layer, tower or both); a name that it does not have lists all",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Runs one export, with a progress bar on stderr."""
    settings = dict(parse_setting(text) for text in args.settings)
    try:
        from vlmprune_export.cuts import PruneOptions
        from vlmprune_export.export_bundle import ExportRequest, export_bundle
    except ModuleNotFoundError as missing:
        raise MissingExtra(missing.name or "torch", "export") from missing
    prune = PruneOptions(args.pruner, args.layer, args.keep, args.rate, settings)
    options = {name: value for name in _OPTIONS if (value := getattr(args, name)) is not None}
    request = ExportRequest(
        args.out, args.model, args.target, prune, args.quant, args.context, args.force, options, args.fit,
        parse_grids(args.grids) if args.grids else (), args.tiles, args.tiles_pruned,
        args.ignore_memory, args.images,
    )  # fmt: skip
    with step_progress(_STEPS) as progress:
        folder = export_bundle(request, progress=progress)
    manifest = (folder / MANIFEST).read_text(encoding="utf-8")
    print(manifest if args.json else "\n".join([str(folder), *delegation_lines(parse_manifest(manifest))]))


if __name__ == "__main__":
    sys.exit(main())
