"""The steps before the language model comes in: features, projector, vision tower."""

import argparse

import torch
from safetensors.torch import save_file
from torch import Tensor

from vlmprune_export.pocket.ingredients import LANGUAGE, ingredient_file
from vlmprune_export.pocket.language import language_weights
from vlmprune_tools.pocket.features import build_features, features_folder, load_examples
from vlmprune_tools.pocket.labels import label_embeddings
from vlmprune_tools.pocket.loading import drawn_source, load_pocket, load_tower, silent, tensors_of, training_sources
from vlmprune_tools.pocket.lowrank import packed_tower, take_up_tower, tower_tag, upper_layers
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.sharpen import Aims, sharpen_projector
from vlmprune_tools.pocket.shipping import averaged, packed_projector, take_up_projector
from vlmprune_tools.pocket.targets import aim_embeddings, mark_of, place_shift
from vlmprune_tools.pocket.tokens import Tokens
from vlmprune_tools.pocket.tuning import TEMPERATURE, Source, Start, tune_tower
from vlmprune_tools.pocket.warm import warm_projector


def word_embeddings() -> Tensor:
    """The language model's input embeddings (V, D)."""
    return language_weights(ingredient_file(LANGUAGE, silent))["embed_tokens.weight"]


def started(init: str) -> tuple[dict[str, Tensor], Projector]:
    """What a step starts with: the tensors of `init`, a file or "shipped", and their projector."""
    tensors, projector = tensors_of(init), Projector()
    take_up_projector(tensors, projector)
    return tensors, projector


def features(chosen: argparse.Namespace) -> None:
    """Draw pictures of a source and keep their vision features."""
    torch.set_num_threads(chosen.threads)
    tensors = tensors_of(chosen.tower)
    folder = features_folder(chosen.source, chosen.split, tower_tag(tensors))
    draw = drawn_source(chosen.source, chosen.split)
    build_features(draw, chosen.split, chosen.count, folder, load_tower(tensors))
    print(folder)


def warm(chosen: argparse.Namespace) -> None:
    """Start a projector from nothing, without the language model: patches onto their labels' embeddings."""
    torch.set_num_threads(chosen.threads)
    _, processor = load_pocket(None)
    examples = load_examples(chosen.source, "train")
    projector = warm_projector(examples, word_embeddings(), processor.tokenizer, chosen.steps, chosen.seed)
    save_file(packed_projector(projector), chosen.out)
    print(chosen.out)


def sharpen(chosen: argparse.Namespace) -> None:
    """Make the projector alone tell all labels apart, in the language model's own words."""
    torch.set_num_threads(chosen.threads)
    tensors, projector = started(chosen.init)
    _, processor = load_pocket(None)
    tag = tower_tag(tensors)
    examples = [item for name in chosen.sources.split(",") for item in load_examples(name, "train", tag=tag)]
    projector = sharpen_projector(
        examples,
        projector,
        label_embeddings(word_embeddings(), Tokens(processor.tokenizer)),
        chosen.steps,
        chosen.seed,
    )
    save_file(tensors | packed_projector(projector), chosen.out)
    print(chosen.out)


def tune(chosen: argparse.Namespace) -> None:
    """Tune the vision tower's upper layers and the projector, so that patches lie where they belong."""
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    tensors, projector = started(chosen.init)
    _, processor = load_pocket(None)
    embedding, tokens = word_embeddings(), Tokens(processor.tokenizer)
    tower = load_tower({})
    layers = upper_layers(tower)
    take_up_tower(tensors, layers)
    aims = Aims(aim_embeddings(embedding, tokens), place_shift(embedding, tokens), TEMPERATURE)
    start = Start(tower, layers, projector, aims, mark_of(embedding, tokens))
    sources = [Source(*pair) for pair in training_sources(chosen.mix, chosen.vendors.split(","))]
    tune_tower(start, sources, chosen.steps, chosen.out, chosen.seed)
    save_file(tensors | packed_projector(projector) | packed_tower(layers), chosen.out / "tuned.safetensors")
    print(chosen.out / "tuned.safetensors")


def average(chosen: argparse.Namespace) -> None:
    """Average the results of runs that went on from one another: nearer to right than each of them."""
    save_file(averaged([tensors_of(name) for name in chosen.files]), chosen.out)
    print(chosen.out)
