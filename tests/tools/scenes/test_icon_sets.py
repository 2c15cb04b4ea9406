"""Icon sets become images under code points: the right icon, whole, none for what is missing or only named alike."""

import json
from pathlib import Path

import numpy as np
import pytest

from vlmprune_tools.scenes.artwork import load_artwork
from vlmprune_tools.scenes.icon_sets import ICONS, RENDERED, render_icons

RED = '<rect x="4" y="6" width="8" height="4" fill="#ff0000"/>'
BLUE = '<circle cx="256" cy="256" r="200" fill="#0000ff"/>'


def icon_set(folder: Path, icons: dict[str, dict[str, object]], prefix: str = "some") -> Path:
    """A fetched package with these icons, 16 units wide unless they say otherwise."""
    (folder / ICONS).write_text(json.dumps({"prefix": prefix, "icons": icons}), encoding="utf-8")
    return folder


def test_icons_are_drawn_under_their_codes(tmp_path: Path) -> None:
    """By label or by Unicode's older name, scaled as the icon says; what has no icon has no image."""
    icons: dict[str, dict[str, object]] = {
        "hot-beverage": {"body": RED},
        "pandaface": {"body": BLUE, "width": 512, "height": 512},
    }
    render_icons(icon_set(tmp_path, icons), {"2615": "hot beverage", "1f43c": "panda", "1f436": "dog face"})
    assert sorted(path.name for path in (tmp_path / RENDERED).iterdir()) == ["1f43c.png", "2615.png"]
    cup, panda = load_artwork(tmp_path / RENDERED / "2615.png"), load_artwork(tmp_path / RENDERED / "1f43c.png")
    assert cup.size == (64, 32)  # 8 x 4 of 16 units, at 128 px, cut to what is visible
    assert (np.asarray(cup) == (255, 0, 0, 255)).all()
    assert panda.size == pytest.approx((100, 100), abs=2)
    assert panda.getpixel((50, 50)) == (0, 0, 255, 255)


def test_what_is_only_named_alike_is_left_out(tmp_path: Path) -> None:
    """Streamline's turkey is a flag."""
    icons: dict[str, dict[str, object]] = {"turkey": {"body": RED}, "ant": {"body": RED}}
    render_icons(icon_set(tmp_path, icons, "streamline-emojis"), {"1f983": "turkey", "1f41c": "ant"})
    assert [path.name for path in (tmp_path / RENDERED).iterdir()] == ["1f41c.png"]
