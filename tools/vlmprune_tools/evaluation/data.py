"""Data sets by name, and files by path."""

from collections.abc import Callable
from pathlib import Path

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.drawn import open_easy_vqa, open_scenes, open_signs
from vlmprune_tools.evaluation.files import LAYOUTS, open_file
from vlmprune_tools.evaluation.items import Data, Wishes

DATA: dict[str, Callable[[str, Wishes], Data]] = {
    "scenes": open_scenes,
    "signs": open_signs,
    "easy-vqa": open_easy_vqa,
}


def open_data(name: str, wishes: Wishes) -> Data:
    """The data set of that name, or the file at that path. Errors: `BadRequest`, with file and line."""
    if wishes.limit is not None and wishes.limit < 1:
        raise BadRequest(f"limit: got {wishes.limit}; allowed: 1 or more")
    if wishes.seed < 0:
        raise BadRequest(f"seed: got {wishes.seed}; allowed: 0 or more")
    if name in DATA:
        return DATA[name](name, wishes)
    if not Path(name).is_file():
        raise BadRequest(f"no data {name!r}; allowed: {', '.join(DATA)}, or a file ({', '.join(LAYOUTS)})")
    return open_file(Path(name), wishes)
