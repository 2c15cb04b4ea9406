"""Embeds images of kept tokens in the page, scaled down."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from vlmprune_runtime.image_loading import load_image

MAX_SIDE_PX, QUALITY = 1000, 88


@dataclass(frozen=True)
class Overlay:
    """An image as a data URL, and the name of its file."""

    name: str
    address: str
    width_px: int
    height_px: int


def embed(path: Path) -> Overlay:
    """Encodes the image again, so that no metadata of the file gets into the page."""
    image = load_image(path)
    image.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Overlay(path.name, address, image.width, image.height)
