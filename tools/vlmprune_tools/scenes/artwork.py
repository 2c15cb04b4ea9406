"""Emoji artwork of several vendors, fetched once with the user's npm and joined by code point.

Training uses eight vendors and measuring three of those; Facebook's artwork is only ever measured with.
"""

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from PIL import Image

from vlmprune_export.pocket_model.weight_packages import cache_folder
from vlmprune_runtime.atomic import move_folder
from vlmprune_runtime.errors import BadRequest, UnknownName, VlmPruneError, first_line
from vlmprune_tools.scenes.concepts import CODE_OF
from vlmprune_tools.scenes.icon_sets import ICONS, RENDERED, render_icons

PACKAGES = {
    "google": "emoji-datasource-google@16.0.0",
    "twitter": "emoji-datasource-twitter@16.0.0",
    "fluent": "@lobehub/fluent-emoji-3d@1.1.0",
    "emojione": "emojione@2.2.7",
    "google-2017": "emoji-datasource-google@3.0.0",
    "fluent-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "firefox": "@iconify-json/fxemoji@1.2.2",
    "streamline": "@iconify-json/streamline-emojis@1.2.4",
    "facebook": "emoji-datasource-facebook@16.0.0",
    "names": "emojibase-data@17.0.0",
}
IMAGES = {
    "google": "img/google/64/{}.png",
    "twitter": "img/twitter/64/{}.png",
    "fluent": "assets/{}.webp",
    "emojione": "assets/png_128x128/{}.png",
    "google-2017": "img/google/64/{}.png",
    "fluent-flat": f"{RENDERED}/{{}}.png",
    "firefox": f"{RENDERED}/{{}}.png",
    "streamline": f"{RENDERED}/{{}}.png",
    "facebook": "img/facebook/64/{}.png",
}
EVALUATION_VENDORS = ("google", "twitter", "fluent")
TRAINING_VENDORS = (*EVALUATION_VENDORS, "emojione", "google-2017", "fluent-flat", "firefox", "streamline")
NAMES = "names/en/data.json"
EMOJI_GROUPS = (0, 1, 3, 4, 5, 6, 7)  # those of emojibase without symbols and flags
LARGEST_PX = 160

Artwork = Mapping[str, tuple[Path, ...]]


def fetch_artwork(vendors: Iterable[str] = EVALUATION_VENDORS) -> Path:
    """Returns the folder with the unpacked packages of the vendors and of the names; fetches missing ones."""
    folder = cache_folder() / "artwork"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("names", *vendors):
        if name not in PACKAGES:
            raise UnknownName("vendor", name, list(IMAGES))
        if not (folder / name).is_dir():
            fetch_package(PACKAGES[name], folder / name)
    return folder


def fetch_package(package: str, target: Path) -> None:
    """Unpacks an npm package to `target`, whole or not at all; renders the images of an icon set."""
    npm = shutil.which("npm")
    if npm is None:
        raise BadRequest("the artwork of scenes is fetched with npm, which was not found; install Node.js")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        done = subprocess.run(
            [npm, "pack", "--silent", package], cwd=scratch, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise VlmPruneError(f"cannot fetch {package}: {first_line(done.stderr)}")
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            archive.extractall(scratch, filter="data")
        unpacked = Path(scratch) / "package"
        if (unpacked / ICONS).is_file():
            render_icons(unpacked, labels_by_code(target.parent / NAMES))
        with suppress(FileExistsError):  # another process was faster
            move_folder(unpacked, target)


def artwork_of(concepts: Iterable[str], vendors: Sequence[str] = EVALUATION_VENDORS) -> dict[str, tuple[Path, ...]]:
    """Returns the files of each concept's images, one of each vendor that has it."""
    folder = fetch_artwork(vendors)
    codes = codes_by_label(folder / NAMES)
    artwork = {concept: artwork_files(folder, codes[concept], vendors) for concept in concepts}
    if missing := [concept for concept, paths in artwork.items() if not paths]:
        raise BadRequest(f"no artwork for: {', '.join(missing)}")
    return artwork


def codes_by_label(names: Path) -> dict[str, str]:
    """Returns lower-case code points by lower-case label."""
    codes: dict[str, str] = {}
    for entry in json.loads(names.read_text(encoding="utf-8")):
        if entry.get("group") in EMOJI_GROUPS:
            codes.setdefault(entry["label"].lower(), entry["hexcode"].lower())
    return codes | CODE_OF


def labels_by_code(names: Path) -> dict[str, str]:
    """Returns labels by lower-case code points."""
    return {entry["hexcode"].lower(): entry["label"] for entry in json.loads(names.read_text(encoding="utf-8"))}


def artwork_files(folder: Path, code: str, vendors: Iterable[str]) -> tuple[Path, ...]:
    """Returns the files of one code, with or without the variation selector, which vendors handle differently."""
    spellings = (code, code.replace("-fe0f", ""), f"{code}-fe0f")
    choices = ([folder / vendor / IMAGES[vendor].format(name) for name in spellings] for vendor in vendors)
    files = (next((path for path in paths if path.is_file()), None) for paths in choices)
    return tuple(path for path in files if path is not None)


@lru_cache(maxsize=4096)
def load_artwork(path: Path) -> Image.Image:
    """Loads an RGBA image and crops it to its visible part."""
    image = Image.open(path).convert("RGBA")
    if max(image.size) > LARGEST_PX:
        image.thumbnail((LARGEST_PX, LARGEST_PX), Image.Resampling.LANCZOS)
    return image.crop(image.getbbox())
