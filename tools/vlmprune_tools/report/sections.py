"""Collects the page's sections: devices with their results, evaluations with their charts."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmprune_runtime.benchmark.record import BenchmarkRecord, Result
from vlmprune_runtime.benchmark.run_metadata import Device, Settings
from vlmprune_tools.methods.schema import MethodsRecord
from vlmprune_tools.methods.speed_table import engines_of, rates_of, speed_cells, timed_on
from vlmprune_tools.report.accuracy import UNPRUNED, AccuracyRecord, AccuracyRow
from vlmprune_tools.report.bars import (
    Bar,
    Meter,
    cache_bars,
    decode_bars,
    memory_bars,
    meters,
    stage_bar,
    widest_ms,
)
from vlmprune_tools.report.frontier import Frontier, frontiers
from vlmprune_tools.report.line_charts import Chart, draw_charts, methods_of


@dataclass(frozen=True)
class Card:
    """The results of one bundle on one device."""

    result: Result
    created: str
    settings: Settings
    device: Device
    stages: tuple[Bar, ...]
    meters: tuple[Meter, ...]
    decode: tuple[Bar, ...]
    memory: tuple[Bar, ...]
    cache: tuple[Bar, ...]


@dataclass(frozen=True)
class DeviceSection:
    """A device with all its results."""

    device: Device
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class RateTable:
    """A table with tasks and methods as rows and rates as columns."""

    keeps: tuple[int, ...]
    rows: tuple[tuple[str, str, tuple[AccuracyRow | None, ...]], ...]


@dataclass(frozen=True)
class MethodsSection:
    """All methods of a model with their charts of accuracy against time. `speeds`: method, rate, engine, cells."""

    record: MethodsRecord
    charts: tuple[Frontier, ...]
    speeds: tuple[tuple[str, int, str, Sequence[str]], ...]


@dataclass(frozen=True)
class AccuracySection:
    """An evaluation with its charts and its table."""

    record: AccuracyRecord
    methods: tuple[str, ...]
    charts: tuple[Chart, ...]
    table: RateTable


def device_sections(records: Sequence[BenchmarkRecord]) -> tuple[DeviceSection, ...]:
    """Returns the devices in order of first appearance; equal kind, name and system mean the same device."""
    groups: dict[tuple[str, str, str], list[BenchmarkRecord]] = {}
    for record in records:
        device = record.device
        groups.setdefault((device.kind, device.name, device.os), []).append(record)
    return tuple(_device_section(group) for group in groups.values())


def _device_section(records: Sequence[BenchmarkRecord]) -> DeviceSection:
    widest = widest_ms([result for record in records for result in record.results])
    cards = [_card(record, result, widest) for record in records for result in record.results]
    return DeviceSection(records[0].device, tuple(cards))


def _card(record: BenchmarkRecord, result: Result, widest: float) -> Card:
    return Card(
        result=result,
        created=record.created,
        settings=record.settings,
        device=record.device,
        stages=tuple(stage_bar(name, getattr(result, name), widest) for name in ("unpruned", "pruned")),
        meters=meters(result),
        decode=decode_bars(result),
        memory=memory_bars(result.memory),
        cache=cache_bars(result),
    )


def accuracy_section(record: AccuracyRecord) -> AccuracySection:
    """Returns the section of one evaluation."""
    return AccuracySection(record, tuple(methods_of(record.rows)), draw_charts(record), rate_table(record.rows))


def methods_section(record: MethodsRecord) -> MethodsSection:
    """Returns the section of one record of methods; its speeds come by engine, rate and time to the first token."""
    speeds = [
        (row.method, keep, engine, speed_cells(speed))
        for engine in engines_of(record)
        for keep in rates_of(record)
        for row, speed in timed_on(record, engine, keep)
    ]
    return MethodsSection(record, frontiers(record), tuple(speeds))


def rate_table(rows: Sequence[AccuracyRow]) -> RateTable:
    """Returns a row per task and method, with None at rates that were not measured."""
    pruned = [row for row in rows if row.method != UNPRUNED]
    keeps = tuple(sorted({row.keep for row in pruned}, reverse=True))
    by_key = {(row.task, row.method, row.keep): row for row in pruned}
    names = dict.fromkeys((row.task, row.method) for row in pruned)
    return RateTable(keeps, tuple((*name, tuple(by_key.get((*name, keep)) for keep in keeps)) for name in names))
