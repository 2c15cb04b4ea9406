"""What each step of the command line does, on the real artwork and the real ingredients."""

import argparse
import hashlib
import json
from collections.abc import Callable

import torch
from safetensors.torch import save_file

from vlmprune_export.pocket.ingredients import LANGUAGE, ingredient_file
from vlmprune_export.pocket.language import language_weights
from vlmprune_export.pocket.trained import LORA_SCALE
from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.pocket.artwork import artwork_of
from vlmprune_tools.pocket.card import publish_figures
from vlmprune_tools.pocket.concepts import COLOURS, CONCEPTS, known_concepts
from vlmprune_tools.pocket.decoder import Decoder
from vlmprune_tools.pocket.evaluate import Examiner, Sheet, examine, score
from vlmprune_tools.pocket.features import load_examples
from vlmprune_tools.pocket.labels import LABELS
from vlmprune_tools.pocket.loading import (
    TOWER_FILE,
    checkpoint_of,
    fresh_groups,
    groups_of,
    load_pocket,
    silent,
    tensors_of,
    tower_of,
    trained_parts,
)
from vlmprune_tools.pocket.lowrank import tower_tag, tower_updates
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.quick import quick_score
from vlmprune_tools.pocket.settings import Settings
from vlmprune_tools.pocket.shipping import averaged, shipped, take_up
from vlmprune_tools.pocket.smoke import smoke_run
from vlmprune_tools.pocket.sources import source
from vlmprune_tools.pocket.tokens import Tokens
from vlmprune_tools.pocket.training import Trainer
from vlmprune_tools.pocket.vision_steps import average, features, sharpen, tune, warm


def train(chosen: argparse.Namespace) -> None:
    """Train projector and low-rank update, on cached features or on pictures drawn for each step."""
    if chosen.fresh and chosen.dense_until:
        raise BadRequest("--fresh: collages (--dense-until) are made of cached features; leave out one of the two")
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    _, processor = load_pocket(None)
    decoder, projector = Decoder(language_weights(ingredient_file(LANGUAGE, silent))), Projector()
    tensors = tensors_of(chosen.init)
    take_up(tensors, decoder, projector)
    if chosen.compile:
        decoder.compile_layers()
    names = ("steps", "rows", "full_rows", "dense_until", "full_from", "lora_rate", "projector_rate", "seed")
    settings = Settings(**{name: getattr(chosen, name) for name in names})
    trainer = Trainer(decoder, projector, Tokens(processor.tokenizer), settings)
    if chosen.fresh:
        groups = fresh_groups(chosen.mix, tensors, chosen.vendors.split(","))
    else:
        groups = groups_of(chosen.mix, tower_tag(tensors))
    chosen.out.mkdir(parents=True, exist_ok=True)
    save_file(tower_updates(tensors), chosen.out / TOWER_FILE)
    trainer.fit(groups, CONCEPTS, chosen.out)
    print(chosen.out)


def look(chosen: argparse.Namespace) -> None:
    """Take a quick look at a run, or at what is shipped, on cached dev features."""
    torch.set_num_threads(chosen.threads)
    _, processor = load_pocket(None)
    decoder, projector = trained_parts(chosen.trained)
    trainer = Trainer(decoder, projector, Tokens(processor.tokenizer), Settings())
    examples = load_examples(chosen.source, "dev", chosen.count, tower_tag(tower_of(chosen.trained)))
    print(json.dumps(quick_score(trainer, examples, CONCEPTS), indent=1))


def pack(chosen: argparse.Namespace) -> None:
    """Write the trained part in its shipped form, with its sha256 and how it came about."""
    state = checkpoint_of(chosen.run_folder)
    decoder, projector = trained_parts(chosen.run_folder)
    tensors = shipped(decoder, projector) | tower_of(chosen.run_folder)
    if chosen.average_with:
        tensors = averaged([tensors, tensors_of(chosen.average_with)])
    save_file(tensors, chosen.out)
    record = {
        "sha256": hashlib.sha256(chosen.out.read_bytes()).hexdigest(),
        "lora": {"rank": 16, "scale": LORA_SCALE},
        "started_from": chosen.started_from,
        "averaged_with": chosen.average_with,
        "steps": state["step"],
        "minutes": round(state["seconds"] / 60, 1),
        "settings": state["settings"],
        "labels": list(LABELS),
        "colours": list(COLOURS),
    }
    chosen.out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(chosen.out, record["sha256"])


def evaluate(chosen: argparse.Namespace) -> None:
    """Ask the real model about pictures it never saw; prints a JSON table of exact-match accuracy."""
    torch.set_num_threads(chosen.threads)
    model, processor = load_pocket(chosen.trained, getattr(torch, chosen.dtype))
    concepts = known_concepts(chosen.trained)
    draw = source(chosen.source, artwork_of(concepts, chosen.vendors.split(",")))
    examiner = Examiner(model, processor, chosen.blind)
    indices = range(chosen.first, chosen.first + chosen.count)
    sheet = Sheet(draw, chosen.split, concepts, chosen.reworded)
    asked = examine(examiner, sheet, indices, chosen.log)
    names = ("source", "split", "vendors", "reworded", "blind", "dtype")
    record = {name: getattr(chosen, name) for name in names} | {"pictures": chosen.count}
    record["concepts"] = len(concepts)
    print(json.dumps(record | {"families": score(asked)}, indent=1))


def card(chosen: argparse.Namespace) -> None:
    """Put measured figures into the shipped record and the model card."""
    publish_figures(chosen.figures, chosen.record, chosen.card)


def smoke(chosen: argparse.Namespace) -> None:
    """Go through all of training in about a minute, without network and without real weights."""
    torch.set_num_threads(chosen.threads)
    print(json.dumps(smoke_run(chosen.out), indent=1))


STEPS: dict[str, Callable[[argparse.Namespace], None]] = {
    "features": features,
    "warm": warm,
    "train": train,
    "sharpen": sharpen,
    "tune": tune,
    "average": average,
    "look": look,
    "pack": pack,
    "evaluate": evaluate,
    "card": card,
    "smoke": smoke,
}
