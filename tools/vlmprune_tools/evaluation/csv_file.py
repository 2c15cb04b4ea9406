"""CSV: columns image, question, answer with `|` between accepted answers, optional task."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.answers import VQA_ANSWERS
from vlmprune_tools.evaluation.items import Item

NEEDED = ("image", "question", "answer")
ALLOWED = (*NEEDED, "task")


def read_csv(text: str, path: Path) -> Iterator[Item]:
    """The items of a table; a task that is not given is the file's name."""
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True, skipinitialspace=True)
    try:
        check_columns([name.strip() for name in reader.fieldnames or ()], path)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        for record in reader:
            yield item_of(record, path.stem, f"{path.name}:{reader.line_num}")
    except csv.Error as error:
        raise BadRequest(f"{path.name}:{reader.reader.line_num}: is not CSV: {error}") from None


def check_columns(names: list[str], path: Path) -> None:
    """Refuse a header without the columns that are needed, or with one twice."""
    missing = [name for name in NEEDED if name not in names]
    if missing:
        got = ", ".join(names) or "nothing"
        raise BadRequest(f"{path.name}:1: no column {', '.join(missing)}; got {got}; allowed: {', '.join(ALLOWED)}")
    if len(set(names)) < len(names):
        raise BadRequest(f"{path.name}:1: a column is there twice: {', '.join(names)}")


def item_of(record: Mapping[str | None, object], task: str, place: str) -> Item:
    """One row; ten answers are scored as VQA does."""
    if None in record or None in record.values():
        raise BadRequest(f"{place}: the row has more or fewer cells than the header; quote cells that hold a comma")
    cells = {name: str(record[name]).strip() for name in NEEDED}
    empty = [name for name, cell in cells.items() if not cell]
    answers = tuple(part.strip() for part in cells["answer"].split("|"))
    if empty or not all(answers):
        raise BadRequest(f"{place}: {', '.join(empty) or 'one of the answers'} is empty")
    metric = "vqa" if len(answers) == VQA_ANSWERS else "exact"
    named = str(record.get("task") or "").strip() or task
    return Item(cells["image"], cells["question"], answers, named, metric, place)
