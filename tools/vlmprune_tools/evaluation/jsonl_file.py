"""JSONL as POPE writes it (`image`, `text`, `label`) and as LLaVA does (`question_id`, `image`, `text`, `answer`)."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.answers import AGREEMENT, VQA_ANSWERS
from vlmprune_tools.evaluation.items import Item

LABELS = ("yes", "no")


def read_jsonl(text: str, path: Path) -> Iterator[Item]:
    """The items of a file; all lines are of the kind that the first is of."""
    first: str | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        item = item_of(parsed(line, f"{path.name}:{number}"), path.stem, f"{path.name}:{number}")
        kind = "exact" if item.metric == "vqa" else item.metric
        first = first or kind
        if kind != first:
            raise BadRequest(f"{item.place}: {_shape(kind)}, but the lines before it: {_shape(first)}")
        yield item


def parsed(line: str, place: str) -> Mapping[str, Any]:
    """One line as an object."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest(f"{place}: is not JSON") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{place}: is not a JSON object")
    return found


def item_of(record: Mapping[str, Any], task: str, place: str) -> Item:
    """One line as an item; the task is its `category`, or the file's name."""
    picture, question = (text_of(record, name, place) for name in ("image", "text"))
    answers, metric = scoring_of(record, place)
    return Item(picture, question, answers, str(record.get("category") or task), metric, place)


def scoring_of(record: Mapping[str, Any], place: str) -> tuple[tuple[str, ...], str]:
    """Accepted answers, and the metric that goes with what the line has."""
    if "label" in record:
        return (label_of(record["label"], place),), "pope"
    if record.get("answer") is None:
        return (), AGREEMENT
    answers = answers_of(record["answer"], place)
    return answers, "vqa" if len(answers) == VQA_ANSWERS else "exact"


def text_of(record: Mapping[str, Any], name: str, place: str) -> str:
    """A field that must hold text."""
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRequest(f"{place}: {name} is {value!r}; allowed: text that is not empty")
    return value.strip()


def label_of(value: object, place: str) -> str:
    """`yes` or `no`."""
    label = value.strip().lower() if isinstance(value, str) else value
    if label not in LABELS:
        raise BadRequest(f"{place}: label is {value!r}; allowed: yes or no")
    return str(label)


def answers_of(value: object, place: str) -> tuple[str, ...]:
    """One accepted answer, or a list of them."""
    answers: list[Any] = value if isinstance(value, list) else [value]
    if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise BadRequest(f"{place}: answer is {value!r}; allowed: text, or a list of texts, none empty")
    return tuple(answer.strip() for answer in answers)


def _shape(kind: str) -> str:
    return {"pope": "has a label", "exact": "has an answer", AGREEMENT: "has no answer"}[kind]
