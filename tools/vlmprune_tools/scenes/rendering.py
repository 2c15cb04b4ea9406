"""Renders scenes of artwork: scene `index` of a split depends on (split, style, index) only, and splits share none."""

import random

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_export.pocket_model.vision_tower import GRID
from vlmprune_tools.scenes.artwork import Artwork, load_artwork
from vlmprune_tools.scenes.augmentation import augment
from vlmprune_tools.scenes.backgrounds import add_clutter, make_background
from vlmprune_tools.scenes.concepts import GROUP_OF
from vlmprune_tools.scenes.patches import patch_coverage, patch_owners
from vlmprune_tools.scenes.placement import place_objects
from vlmprune_tools.scenes.scene import PlacedObject, RenderedScene, Scene
from vlmprune_tools.scenes.styles import STYLES, Style, weighted_choice

VENDOR_DRAWS = 60  # a multiple of all numbers of vendors up to six, so that each is chosen equally often
LARGEST_NUMBER_ALIKE = 5


def render_scene(split: str, style_name: str, index: int, artwork: Artwork) -> RenderedScene:
    """Renders scene `index` of a split."""
    rng, style = random.Random(f"{split}/{style_name}/{index}"), STYLES[style_name]
    kind = weighted_choice(style.kinds, rng)
    background = make_background(weighted_choice(style.backgrounds, rng), split, rng, style.flat_fraction)
    concepts = choose_concepts(kind, style, list(artwork), rng)
    squares = place_objects(kind, len(concepts), style, rng)
    objects = tuple(PlacedObject(concept, *square) for concept, square in zip(concepts, squares, strict=True))
    image = Image.fromarray(background.pixels.clip(0, 255).astype(np.uint8))
    if rng.random() < style.clutter_fraction:
        add_clutter(image, rng)
    coverage = paste_objects(image, Scene(kind, objects), artwork, style, rng)
    scene = Scene(kind, objects, background.colour, background.photo_concepts)
    return RenderedScene(scene, np.asarray(image), patch_owners(coverage))


def choose_concepts(kind: str, style: Style, known: list[str], rng: random.Random) -> list[str]:
    """Chooses the concepts of a scene; in some scenes all are of one group, as near-duplicates."""
    if kind == "same":
        return [rng.choice(known)] * rng.randint(1, LARGEST_NUMBER_ALIKE)
    count = {"empty": 0, "one": 1, "row": 2, "column": 2}.get(kind)
    count = rng.randint(min(style.fewest, len(known)), min(style.most, len(known))) if count is None else count
    if rng.random() < style.related_fraction:
        first = rng.choice(known)
        related = [name for name in known if GROUP_OF.get(name) == GROUP_OF.get(first)]
        if len(related) >= count:
            return rng.sample(related, count)
    return rng.sample(known, count)


def paste_objects(
    image: Image.Image, scene: Scene, artwork: Artwork, style: Style, rng: random.Random
) -> npt.NDArray[np.float32]:  # -> (objects, N)
    """Pastes the objects into the image; returns the share of each patch that each object covers."""
    coverage = np.zeros((len(scene.objects), GRID * GRID), np.float32)
    vendor, alike = rng.randrange(VENDOR_DRAWS), scene.kind == "same"
    for row, item in enumerate(scene.objects):
        files = artwork[item.concept]
        art = load_artwork(files[(vendor if alike else rng.randrange(VENDOR_DRAWS)) % len(files)])
        art = fit(augment(art, rng) if rng.random() < style.augmented_fraction else art, item.size_px)
        if not alike and rng.random() < 0.5:
            art = art.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image.paste(art, (item.x_px, item.y_px), art)
        coverage[row] = patch_coverage(np.asarray(art)[:, :, 3] > 127, item.x_px, item.y_px)
    return coverage


def fit(art: Image.Image, size_px: int) -> Image.Image:
    """Scales an image to a longest side of `size_px`."""
    scale = size_px / max(art.size)
    return art.resize((max(8, int(art.width * scale)), max(8, int(art.height * scale))), Image.Resampling.BICUBIC)
