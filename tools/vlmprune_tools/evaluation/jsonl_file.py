"""Reads JSONL as POPE writes it (`image`, `text`, `label`) or as LLaVA does (`image`, `text`, `answer`)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.dataset import Item
from vlmprune_tools.evaluation.metrics import AGREEMENT, VQA_ANSWERS

LABELS = ("yes", "no")


def read_jsonl(text: str, path: Path) -> Iterator[Item]:
    """Yields the items of a file; all lines must be of the same kind as the first."""
    first: str | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        item = item_of(parse_line(line, f"{path.name}:{number}"), path.stem, f"{path.name}:{number}")
        kind = "exact" if item.metric == "vqa" else item.metric
        first = first or kind
        if kind != first:
            raise BadRequest(f"{item.location}: {_description(kind)}, but the lines before it: {_description(first)}")
        yield item


def parse_line(line: str, location: str) -> Mapping[str, Any]:
    """Parses one line, which must hold a JSON object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest(f"{location}: is not JSON") from None
    if not isinstance(record, dict):
        raise BadRequest(f"{location}: is not a JSON object")
    return record


def item_of(record: Mapping[str, Any], task: str, location: str) -> Item:
    """Returns the item of one line; the task is its `category`, or else the file's name."""
    (image, *more), question = images_of(record, location), text_of(record, "text", location)
    answers, metric = scoring_of(record, location)
    return Item(image, question, answers, str(record.get("category") or task), metric, location, tuple(more))


def images_of(record: Mapping[str, Any], location: str) -> list[str]:
    """Returns the names of the images; the field `image` holds one or a list of them."""
    value = record.get("image")
    if not isinstance(value, list):
        return [text_of(record, "image", location)]
    if not value:
        raise BadRequest(f"{location}: image is []; allowed: the name of an image, or a list of names")
    return [text_of({"image": name}, "image", location) for name in value]


def scoring_of(record: Mapping[str, Any], location: str) -> tuple[tuple[str, ...], str]:
    """Returns the accepted answers and the metric; the fields of the line decide which."""
    if "label" in record:
        return (label_of(record["label"], location),), "pope"
    if record.get("answer") is None:
        return (), AGREEMENT
    answers = answers_of(record["answer"], location)
    return answers, "vqa" if len(answers) == VQA_ANSWERS else "exact"


def text_of(record: Mapping[str, Any], name: str, location: str) -> str:
    """Returns a field that must hold text."""
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(f"{location}: {name} is {value!r}; allowed: text that is not empty")
    return value.strip()


def label_of(value: object, location: str) -> str:
    """Returns a label, which must be `yes` or `no`."""
    label = value.strip().lower() if isinstance(value, str) else value
    if label not in LABELS:
        raise BadRequest(f"{location}: label is {value!r}; allowed: yes or no")
    return str(label)


def answers_of(value: object, location: str) -> tuple[str, ...]:
    """Returns the accepted answers; the field holds one or a list of them."""
    answers: list[Any] = value if isinstance(value, list) else [value]
    if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise BadRequest(f"{location}: answer is {value!r}; allowed: text, or a list of texts, none empty")
    return tuple(answer.strip() for answer in answers)


def _description(kind: str) -> str:
    return {"pope": "has a label", "exact": "has an answer", AGREEMENT: "has no answer"}[kind]
