"""All of training in small: shapes drawn here instead of artwork, random models instead of trained ones."""

import zlib
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from vlmprune_export.pocket import language, tower
from vlmprune_tools.pocket.artwork import LARGEST_PX, Artwork
from vlmprune_tools.pocket.concepts import CONCEPTS
from vlmprune_tools.pocket.decoder import Decoder
from vlmprune_tools.pocket.drawing import Group
from vlmprune_tools.pocket.features import build_features, shard_examples
from vlmprune_tools.pocket.lowrank import packed_tower, upper_layers
from vlmprune_tools.pocket.projector import Projector
from vlmprune_tools.pocket.scenes import draw_scene
from vlmprune_tools.pocket.settings import Settings
from vlmprune_tools.pocket.sharpen import Aims
from vlmprune_tools.pocket.shipping import shipped, take_up
from vlmprune_tools.pocket.targets import aim_embeddings, mark_of, place_shift
from vlmprune_tools.pocket.tokens import Tokens
from vlmprune_tools.pocket.training import Trainer
from vlmprune_tools.pocket.tuning import Source, Start, tune_tower
from vlmprune_tools.pocket.warm import warm_projector

PICTURES, VOCABULARY, RESERVED, LAYERS = 10, 512, 17, 2
SETTINGS = Settings(steps=8, dense_until=0.25, rows=3, full_rows=2, warm_up_steps=2, lora_rate=2e-3, save_every=4)


class WordTokenizer:
    """A token per word, numbered by a checksum."""

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Ids of the words of a text, past the reserved ones."""
        return [RESERVED + zlib.crc32(word.encode()) % (VOCABULARY - RESERVED) for word in text.split()]


def drawn_artwork(folder: Path) -> Artwork:
    """Five coloured shapes under the first five concepts' names."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = (("ellipse", "red"), ("rectangle", "blue"), ("ellipse", "green"), ("rectangle", "yellow"))
    found = {}
    for concept, (shape, colour) in zip(CONCEPTS, (*shapes, ("ellipse", "black")), strict=False):
        image = Image.new("RGBA", (LARGEST_PX, LARGEST_PX))
        getattr(ImageDraw.Draw(image), shape)((20, 20, 140, 140), fill=colour)
        image.save(folder / f"{concept}.png")
        found[concept] = (folder / f"{concept}.png",)
    return found


def random_tower() -> torch.nn.Module:
    """A small Dinov2 of the right output."""
    from transformers import Dinov2Config, Dinov2Model

    model: torch.nn.Module = Dinov2Model(Dinov2Config(**tower.CONFIG | {"mlp_ratio": 1}))
    return model.eval()


def random_language_weights() -> dict[str, Tensor]:
    """A Llama of two layers and few words."""
    from transformers import LlamaConfig, LlamaModel

    small = {"num_hidden_layers": LAYERS, "vocab_size": VOCABULARY}
    return LlamaModel(LlamaConfig(**language.CONFIG | small)).state_dict()


def smoke_run(folder: Path) -> dict[str, Any]:
    """Features, warm start, tuning, training, packing; gives the losses at both ends and what was packed."""
    torch.manual_seed(0)
    artwork, weights, tokenizer, tower = (
        drawn_artwork(folder / "artwork"),
        random_language_weights(),
        WordTokenizer(),
        random_tower(),
    )
    drawn = [draw_scene("train", "hard", index, artwork) for index in range(PICTURES)]
    build_features(lambda _, index: drawn[index], "train", PICTURES, folder / "features", tower)
    examples = [item for path in (folder / "features").glob("*.safetensors") for item in shard_examples(path)]
    embedding = weights["embed_tokens.weight"]
    projector = warm_projector(examples, embedding, tokenizer, steps=20)
    tokens = Tokens(tokenizer)
    aims = Aims(aim_embeddings(embedding, tokens), place_shift(embedding, tokens))
    tuned = Start(tower, upper_layers(tower), projector, aims, mark_of(embedding, tokens))
    tune_tower(tuned, [Source(1.0, lambda _, index: drawn[index % PICTURES])], 2, folder / "tuning")
    trainer = Trainer(Decoder(weights), projector, tokens, SETTINGS)
    losses = [trainer.evaluate_on(examples[:4], list(artwork))]
    trainer.fit([Group(1.0, examples)], list(artwork), folder / "run")
    losses.append(trainer.evaluate_on(examples[:4], list(artwork)))
    packed = shipped(trainer.decoder, projector) | packed_tower(tuned.layers)
    take_up(packed, Decoder(weights), Projector())
    return {"pictures": len(examples), "losses": losses, "packed_tensors": len(packed)}
