"""Datasets from the user's files: a table (CSV) or one JSON object per line (JSONL), with images beside it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.image_loading import load_image
from vlmprune_tools.evaluation.csv_file import read_csv
from vlmprune_tools.evaluation.dataset import MEAN_IMAGES, RESERVED_TASKS, Dataset, DatasetOptions, Item, balanced
from vlmprune_tools.evaluation.jsonl_file import read_jsonl

FORMATS: dict[str, Callable[[str, Path], Iterator[Item]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".json": read_jsonl,
}


@dataclass(frozen=True)
class ImageFolder:
    """The folder that holds a dataset's images."""

    path: Path

    def load(self, image: str) -> Image.Image:
        """Loads an image by its name in the file."""
        return load_image(self.path / image)


def open_file(path: Path, options: DatasetOptions) -> Dataset:
    """Opens a file of questions; `BadRequest` names the file and the first line that is wrong."""
    if path.suffix.lower() not in FORMATS:
        raise UnknownName("data layout", path.suffix or path.name, FORMATS)
    content, text = read_text(path)
    folder = options.images or path.parent
    items = [checked(item, folder) for item in FORMATS[path.suffix.lower()](text, path)]
    if not items:
        raise BadRequest(f"{path.name}: holds no question")
    images = tuple(dict.fromkeys(image for item in items for image in item.images))
    sha256 = digest(content, images, folder)
    selected = grouped_by_image(balanced(items, options.limit))
    return Dataset(path.name, selected, ImageFolder(folder).load, sha256, images[:MEAN_IMAGES])


def read_text(path: Path) -> tuple[bytes, str]:
    """Reads a file; returns its bytes and their UTF-8 text."""
    try:
        content = path.read_bytes()
        return content, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadRequest(f"{path.name}:{line}: is not UTF-8 text") from None
    except OSError as error:
        raise BadRequest(f"{path}: cannot be read: {error.strerror}") from None


def checked(item: Item, folder: Path) -> Item:
    """Returns the item if its images exist and its task is not a reserved name."""
    for image in item.images:
        if not (folder / image).is_file():
            raise BadRequest(f"{item.location}: image {image!r}: no such file in {folder}")
    if item.task in RESERVED_TASKS:
        raise BadRequest(f"{item.location}: task {item.task!r} is what the report calls its means; rename it")
    return item


def grouped_by_image(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Puts items of the same images side by side, with images in order of first appearance."""
    rank = {images: index for index, images in enumerate(dict.fromkeys(item.images for item in items))}
    return tuple(sorted(items, key=lambda item: rank[item.images]))


def digest(content: bytes, images: Iterable[str], folder: Path) -> str:
    """Returns the SHA-256 of a file and of its images' sizes, so that other images count as other data."""
    sizes = ", ".join(str((folder / image).stat().st_size) for image in images)
    return hashlib.sha256(content + sizes.encode()).hexdigest()
