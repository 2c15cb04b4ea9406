"""Artwork without a network: five coloured shapes under the first five concepts' names."""

import pytest
from PIL import Image, ImageDraw

from vlmprune_tools.scenes.artwork import LARGEST_PX, Artwork
from vlmprune_tools.scenes.concepts import CONCEPTS

COLOURS = ("red", "blue", "green", "yellow", "black")


@pytest.fixture(scope="session")
def artwork(tmp_path_factory: pytest.TempPathFactory) -> Artwork:
    folder = tmp_path_factory.mktemp("artwork")
    files = {}
    for number, (concept, colour) in enumerate(zip(CONCEPTS, COLOURS, strict=False)):
        image = Image.new("RGBA", (LARGEST_PX, LARGEST_PX))
        canvas = ImageDraw.Draw(image)
        (canvas.rectangle if number % 2 else canvas.ellipse)((20, 20, 140, 140), fill=colour)
        image.save(folder / f"{concept}.png")
        files[concept] = (folder / f"{concept}.png",)
    return files
