"""All sources of images behind one function: scenes in every style, signs, easy-VQA, sample photos."""

from collections.abc import Callable

from vlmprune_runtime.errors import UnknownName
from vlmprune_tools.scenes.artwork import Artwork
from vlmprune_tools.scenes.easy_vqa import render_easy_vqa
from vlmprune_tools.scenes.photos import render_photo
from vlmprune_tools.scenes.rendering import render_scene
from vlmprune_tools.scenes.scene import RenderedScene
from vlmprune_tools.scenes.signs import render_sign
from vlmprune_tools.scenes.styles import STYLES

Render = Callable[[str, int], RenderedScene]
OTHERS: dict[str, Render] = {"sign": render_sign, "easy-vqa": render_easy_vqa, "photo": render_photo}
WITHOUT_ARTWORK = tuple(OTHERS)


def source(name: str, artwork: Artwork) -> Render:
    """Returns a source's function (split, index) -> rendered scene. Raises `UnknownName`."""
    if name in STYLES:
        return lambda split, index: render_scene(split, name, index, artwork)
    if name not in OTHERS:
        raise UnknownName("source", name, [*STYLES, *OTHERS])
    return OTHERS[name]
