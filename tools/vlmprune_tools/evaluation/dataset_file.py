"""Datasets from the user's files: a table (CSV) or one JSON object per line (JSONL), with pictures beside it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.image_loading import load_image
from vlmprune_tools.evaluation.csv_file import read_csv
from vlmprune_tools.evaluation.dataset import MEAN_PICTURES, RESERVED_TASKS, Dataset, DatasetOptions, Item, balanced
from vlmprune_tools.evaluation.jsonl_file import read_jsonl

FORMATS: dict[str, Callable[[str, Path], Iterator[Item]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".json": read_jsonl,
}


@dataclass(frozen=True)
class PictureFolder:
    """The folder that holds a dataset's pictures."""

    path: Path

    def load_picture(self, picture: str) -> Image.Image:
        """Loads a picture by its name in the file."""
        return load_image(self.path / picture)


def open_file(path: Path, options: DatasetOptions) -> Dataset:
    """Opens a file of questions; `BadRequest` names the file and the first line that is wrong."""
    if path.suffix.lower() not in FORMATS:
        raise UnknownName("data layout", path.suffix or path.name, FORMATS)
    content, text = read_text(path)
    folder = options.images or path.parent
    items = [checked(item, folder) for item in FORMATS[path.suffix.lower()](text, path)]
    if not items:
        raise BadRequest(f"{path.name}: holds no question")
    pictures = tuple(dict.fromkeys(picture for item in items for picture in item.pictures))
    sha256 = digest(content, pictures, folder)
    selected = grouped_by_picture(balanced(items, options.limit))
    return Dataset(path.name, selected, PictureFolder(folder).load_picture, sha256, pictures[:MEAN_PICTURES])


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
    """Returns the item if its pictures exist and its task is not a reserved name."""
    for picture in item.pictures:
        if not (folder / picture).is_file():
            raise BadRequest(f"{item.location}: image {picture!r}: no such file in {folder}")
    if item.task in RESERVED_TASKS:
        raise BadRequest(f"{item.location}: task {item.task!r} is what the report calls its means; rename it")
    return item


def grouped_by_picture(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Puts items of the same pictures side by side, with pictures in order of first appearance."""
    rank = {pictures: index for index, pictures in enumerate(dict.fromkeys(item.pictures for item in items))}
    return tuple(sorted(items, key=lambda item: rank[item.pictures]))


def digest(content: bytes, pictures: Iterable[str], folder: Path) -> str:
    """Returns the SHA-256 of a file and of its pictures' sizes, so that other pictures count as other data."""
    sizes = ", ".join(str((folder / picture).stat().st_size) for picture in pictures)
    return hashlib.sha256(content + sizes.encode()).hexdigest()
