"""Reads records; each file may hold one of any kind."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vlmprune_runtime.benchmark.record import BenchmarkRecord
from vlmprune_runtime.errors import BadRequest, UnknownName, first_line
from vlmprune_tools.methods.schema import MethodsRecord
from vlmprune_tools.report.accuracy import AccuracyRecord

MAX_RECORD_BYTES = 64 * 2**20
KINDS: dict[str, type[BaseModel]] = {
    "benchmark": BenchmarkRecord,
    "accuracy": AccuracyRecord,
    "methods": MethodsRecord,
}


@dataclass(frozen=True)
class Records:
    """The records of all kinds, in the order of the files."""

    benchmarks: tuple[BenchmarkRecord, ...]
    accuracies: tuple[AccuracyRecord, ...]
    methods: tuple[MethodsRecord, ...] = ()


def read_records(paths: Iterable[Path]) -> Records:
    """Reads all files; `BadRequest` names the file and the field that is wrong."""
    records = [read_record(path) for path in paths]
    benchmarks = tuple(record for record in records if isinstance(record, BenchmarkRecord))
    accuracies = tuple(record for record in records if isinstance(record, AccuracyRecord))
    return Records(benchmarks, accuracies, tuple(record for record in records if isinstance(record, MethodsRecord)))


def read_record(path: Path) -> BaseModel:
    """Reads the record of one file."""
    return parse_record(_read(path), str(path))


def parse_record(text: str, where: str) -> BaseModel:
    """Returns the record of a JSON text; `BadRequest` names the field that is wrong and `where` the text came from."""
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"{where}: is not JSON: {first_line(error)}") from None
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise UnknownName(f"kind of record in {where}", str(kind), KINDS)
    try:
        return KINDS[kind].model_validate_json(text, strict=True)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, problem["loc"]))
        raise BadRequest(f"{where}: {ascii(field)[1:-1]}: {first_line(problem['msg'])}") from None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            raise BadRequest(f"{path}: is larger than {MAX_RECORD_BYTES} bytes")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"{path}: is not UTF-8 text") from None
    except OSError as error:
        raise BadRequest(f"{path}: cannot be read: {error.strerror}") from None
