"""Reads CSV with the columns image, question, answer and optionally task; `|` separates accepted answers and images."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from vlmprune_runtime.errors import BadRequest, comma_list
from vlmprune_tools.evaluation.dataset import Item
from vlmprune_tools.evaluation.metrics import VQA_ANSWERS

REQUIRED = ("image", "question", "answer")
ALLOWED = (*REQUIRED, "task")


def read_csv(text: str, path: Path) -> Iterator[Item]:
    """Yields the items of a table; without a task column the task is the file's name."""
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True, skipinitialspace=True)
    try:
        check_columns([name.strip() for name in reader.fieldnames or ()], path)
        reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
        for record in reader:
            yield item_of(record, path.stem, f"{path.name}:{reader.line_num}")
    except csv.Error as error:
        raise BadRequest(f"{path.name}:{reader.reader.line_num}: is not CSV: {error}") from None


def check_columns(names: list[str], path: Path) -> None:
    """Raises `BadRequest` if the header lacks a required column or repeats one."""
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        got = ", ".join(names) or "nothing"
        raise BadRequest(f"{path.name}:1: no column {comma_list(missing)}; got {got}; allowed: {comma_list(ALLOWED)}")
    if len(set(names)) < len(names):
        raise BadRequest(f"{path.name}:1: a column is there twice: {comma_list(names)}")


def item_of(record: Mapping[str | None, object], task: str, location: str) -> Item:
    """Returns the item of one row; ten answers are scored as VQA scores them."""
    if None in record or None in record.values():
        raise BadRequest(f"{location}: the row has more or fewer cells than the header; quote cells that hold a comma")
    cells = {name: str(record[name]).strip() for name in REQUIRED}
    empty = [name for name, cell in cells.items() if not cell]
    answers = tuple(part.strip() for part in cells["answer"].split("|"))
    if empty or not all(answers):
        raise BadRequest(f"{location}: {', '.join(empty) or 'one of the answers'} is empty")
    metric = "vqa" if len(answers) == VQA_ANSWERS else "exact"
    task = str(record.get("task") or "").strip() or task
    image, *more = (part.strip() for part in cells["image"].split("|"))
    return Item(image, cells["question"], answers, task, metric, location, tuple(more))
