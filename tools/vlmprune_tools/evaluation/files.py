"""Data sets of the user's own: a table (CSV) or one JSON object a line (JSONL), each with pictures beside it."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_runtime.picture import load_image
from vlmprune_tools.evaluation.csv_file import read_csv
from vlmprune_tools.evaluation.items import MEAN_OF, RESERVED_TASKS, Data, Item, Wishes, balanced
from vlmprune_tools.evaluation.jsonl_file import read_jsonl

LAYOUTS: dict[str, Callable[[str, Path], Iterator[Item]]] = {
    ".csv": read_csv,
    ".jsonl": read_jsonl,
    ".json": read_jsonl,
}


@dataclass(frozen=True)
class Folder:
    """Where pictures lie."""

    path: Path

    def show(self, picture: str) -> Image.Image:
        """One picture by its name in the file."""
        return load_image(self.path / picture)


def open_file(path: Path, wishes: Wishes) -> Data:
    """The questions of a file; `BadRequest` names file and line of the first one that is not as it should be."""
    if path.suffix.lower() not in LAYOUTS:
        raise UnknownName("data layout", path.suffix or path.name, LAYOUTS)
    content, text = read_text(path)
    folder = wishes.images or path.parent
    items = [checked(item, folder) for item in LAYOUTS[path.suffix.lower()](text, path)]
    if not items:
        raise BadRequest(f"{path.name}: holds no question")
    pictures = tuple(dict.fromkeys(item.picture for item in items))
    chosen = _side_by_side(balanced(items, wishes.limit))
    return Data(path.name, chosen, Folder(folder).show, digest(content, pictures, folder), pictures[:MEAN_OF])


def read_text(path: Path) -> tuple[bytes, str]:
    """A file's bytes, and the text that they are in UTF-8."""
    try:
        content = path.read_bytes()
        return content, content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadRequest(f"{path.name}:{line}: is not UTF-8 text") from None
    except OSError as error:
        raise BadRequest(f"{path}: cannot be read: {error.strerror}") from None


def checked(item: Item, folder: Path) -> Item:
    """The item itself if its picture is there and its task has a name of its own."""
    if not (folder / item.picture).is_file():
        raise BadRequest(f"{item.place}: image {item.picture!r}: no such file in {folder}")
    if item.task in RESERVED_TASKS:
        raise BadRequest(f"{item.place}: task {item.task!r} is what the report calls its means; rename it")
    return item


def _side_by_side(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Items of one picture together, pictures in order of first appearance."""
    places = {picture: nth for nth, picture in enumerate(dict.fromkeys(item.picture for item in items))}
    return tuple(sorted(items, key=lambda item: places[item.picture]))


def digest(content: bytes, pictures: Iterable[str], folder: Path) -> str:
    """SHA-256 of a file of questions and of the sizes of its pictures, so that other pictures are other data."""
    sizes = ", ".join(str((folder / picture).stat().st_size) for picture in pictures)
    return hashlib.sha256(content + sizes.encode()).hexdigest()
