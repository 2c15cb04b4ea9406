"""Sample photos that ship with scikit-image and scikit-learn, parted between the splits."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from vlmprune_export.pocket_model.vision_tower import GRID, IMAGE_PX
from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.optional_packages import tools_package
from vlmprune_tools.scenes.patches import patch_owners
from vlmprune_tools.scenes.scene import Question, RenderedScene, Scene

PHOTOS = {  # photos and the concepts that can be seen in them
    "astronaut": ("rocket", "helmet", "eye", "nose", "mouth", "ear"),
    "chelsea": ("cat", "eye", "nose", "ear"),
    "coffee": ("coffee", "tea", "spoon"),
    "rocket": ("rocket",),
    "china.jpg": ("house", "castle", "hut", "tree", "pine", "mountain"),
    "flower.jpg": ("rose", "sunflower", "blossom", "lotus", "leaf"),
}
# The left half is for training; the right half is parted between choosing (dev) and reporting (test).
PARTS = {"train": (0.0, 0.0, 0.5, 1.0), "dev": (0.5, 0.0, 1.0, 0.5), "test": (0.5, 0.5, 1.0, 1.0)}


@lru_cache
def photo_part(name: str, split: str) -> Image.Image:
    """Returns the region of a photo that a split may use."""
    image = Image.fromarray(photo_pixels(name)).convert("RGB")
    left, top, right, bottom = PARTS[split]
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    return image.crop(tuple(int(edge) for edge in box))  # type: ignore[arg-type]


def photo_pixels(name: str) -> npt.NDArray[np.uint8]:
    """Returns the pixels of a sample photo of an installed package."""
    if name.endswith(".jpg"):
        return np.asarray(tools_package("sklearn.datasets").load_sample_image(name))
    return np.asarray(getattr(tools_package("skimage.data"), name)())


def render_photo(split: str, index: int) -> RenderedScene:
    """Renders a whole sample photo, which may be named after any concept that it shows. Training saw its left half.

    Raises `BadRequest` beyond the last photo, so that none counts twice.
    """
    if index >= len(PHOTOS):
        raise BadRequest(f"photo: got image {index}; allowed: 0 to {len(PHOTOS) - 1}, one each")
    name = list(PHOTOS)[index]
    image = Image.fromarray(photo_pixels(name)).convert("RGB")
    pixels = np.asarray(image.resize((IMAGE_PX, IMAGE_PX), Image.Resampling.BICUBIC))
    question = Question("photo", "What is in the picture?", "|".join(PHOTOS[name]))
    scene = Scene("photo", photo_concepts=PHOTOS[name], questions=(question,))
    return RenderedScene(scene, pixels, patch_owners(np.zeros((0, GRID * GRID), np.float32)))
