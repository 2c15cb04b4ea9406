"""Joins an evaluation's record with the benchmarks of its methods."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vlmprune_runtime.benchmark.record import BenchmarkRecord, Result
from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.evaluation.dataset import MEAN, TESTED
from vlmprune_tools.evaluation.pruning_config import BLIND, UNPRUNED
from vlmprune_tools.methods.cells import Cell
from vlmprune_tools.methods.schema import MethodRow, MethodsRecord, Speed

Json = Mapping[str, Any]
PRUNE_STAGES = ("prune_vision", "prune")


def methods_record(accuracies: Iterable[Json], cells: Iterable[Path]) -> MethodsRecord:
    """Returns the record of all methods; later evaluations add what earlier ones do not have."""
    speeds, machines = dict[tuple[str, int], list[Speed]](), dict[str, None]()
    for path in sorted(cells):
        measured = json.loads(path.read_text(encoding="utf-8"))
        cell, benchmark = measured["cell"], BenchmarkRecord.model_validate(measured["benchmark"])
        speeds.setdefault((cell["method"], cell["keep"]), []).append(speed_of(cell, benchmark))
        threads = benchmark.settings.threads
        machines[f"{benchmark.device.name}, threads: {threads}"] = None
    evaluations = list(accuracies)
    rows = {(row.method, row.keep): row for record in reversed(evaluations) for row in rows_of(record, speeds)}
    first = evaluations[0]
    against = next((row.method for row in rows_of(first, speeds)), None)
    if against is None:
        raise BadRequest("the first evaluation has no pruning method; allowed: records of vlmprune-eval --pruners ...")
    return MethodsRecord(
        model=first["model"],
        visual_tokens=first["visual_tokens"],
        task=mean_task(first),
        data=first["data"]["name"],
        against=against,
        unpruned=unpruned_of(first),
        rows=tuple(rows.values()),
        notes=tuple(
            dict.fromkeys(
                note for record in evaluations for note in record["notes"] if "average over the layers" in note
            )
        ),
        machine="; ".join(machines),
    )


def mean_task(record: Json) -> str:
    """Returns the mean that the rows are of: over the tasks that test pruning, where some do not."""
    return TESTED if any(row["task"] == TESTED for row in record["rows"]) else MEAN


def unpruned_of(record: Json) -> dict[str, float]:
    """Returns the unpruned model's accuracy with its interval."""
    [row] = [row for row in record["rows"] if row["task"] == mean_task(record) and row["method"] == UNPRUNED]
    low, high = interval_of(row)
    return {"accuracy": row["accuracy"], "low": low, "high": high}


def rows_of(record: Json, speeds: Mapping[tuple[str, int], list[Speed]]) -> Iterable[MethodRow]:
    """Returns a row for every method and rate of an evaluation."""
    accuracy = {(row["method"], row["keep"]): row for row in record["rows"] if row["task"] == mean_task(record)}
    differences = {(row["method"], row["keep"]): row for row in record["differences"]}
    for config in record["methods"]:
        key = config["method"], config["keep"]
        if config["method"] in (UNPRUNED, BLIND):
            continue
        row, other = accuracy[key], differences.get(key, {})
        low, high = interval_of(row)
        yield MethodRow(
            method=config["method"],
            keep=config["keep"],
            kept_tokens=config["kept_tokens"],
            mean_visual_tokens=config["mean_visual_tokens"],
            questions=row["n"],
            accuracy=row["accuracy"],
            low=low,
            high=high,
            retained_percent=row["retained_percent"],
            difference=other.get("difference"),
            difference_low=other.get("low"),
            difference_high=other.get("high"),
            p_value=other.get("p_value"),
            speeds=tuple(speeds.get(key, ())),
        )


def interval_of(row: Json) -> tuple[float, float]:
    """Returns the interval of an accuracy, by the rule of three (3 in n) where the bootstrap has no width.

    >>> interval_of({"low": 1.0, "high": 1.0, "n": 30})
    (0.9, 1.0)
    """
    margin = 3 / row["n"] if row["low"] == row["high"] else 0.0
    return round(max(0.0, row["low"] - margin), 4), round(min(1.0, row["high"] + margin), 4)


def speed_of(cell: Json, benchmark: BenchmarkRecord) -> Speed:
    """Returns the figures of one bundle's benchmark."""
    [result] = benchmark.results
    pruned, ratio = result.pruned, result.ratios.ttft
    stages = {str(name): spread.p50 for name, spread in pruned.stages_ms.items()}
    return Speed(
        engine=Cell(**cell).engine,
        selection_ms=round(sum(stages.get(name, 0.0) for name in PRUNE_STAGES), 3),
        first_token_ms=pruned.ttft_ms.p50,
        first_token_unpruned_ms=result.unpruned.ttft_ms.p50,
        first_token_fraction=1 / ratio.median,
        fraction_low=1 / ratio.p90,
        fraction_high=1 / ratio.p10,
        stages_ms=stages,
        flops=flops_of(result),
        memory_bytes=memory_of(result),
        repetitions=sum(run.pruned for run in result.runs),
    )


def flops_of(result: Result) -> int | None:
    """Returns the FLOPs of the pruned prefill, vision tower included; None where they were not counted."""
    counted = result.pruned.flops
    return None if counted is None or counted.vision is None else counted.vision + counted.head + counted.tail


def memory_of(result: Result) -> int | None:
    """Returns by how much the process grew up to the end of the pruned run; None where it was not measured."""
    memory = result.memory
    if memory.before_load_bytes is None or memory.pruned_peak_bytes is None:
        return None
    return max(1, memory.pruned_peak_bytes - memory.before_load_bytes)
