"""Pictures of kept tokens, small enough to travel inside the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from vlmprune_runtime.picture import load_image

MAX_SIDE_PX, QUALITY = 1000, 88


@dataclass(frozen=True)
class Overlay:
    """A picture as a data address, and what its file was called."""

    name: str
    address: str
    width_px: int
    height_px: int


def embed(path: Path) -> Overlay:
    """The picture encoded anew, so that nothing else that was in the file gets into the page."""
    picture = load_image(path)
    picture.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Overlay(path.name, address, picture.width, picture.height)
