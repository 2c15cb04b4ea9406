"""The page's parts: devices with their results, evaluations with their charts."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlmprune_runtime.benchmark.circumstances import Device, Settings
from vlmprune_runtime.benchmark.record import BenchmarkRecord, Result
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
from vlmprune_tools.report.lines import Chart, charts, methods_of


@dataclass(frozen=True)
class Card:
    """One bundle on one device."""

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
    """All results of one device."""

    device: Device
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class RateTable:
    """Tasks and methods down, rates across."""

    keeps: tuple[int, ...]
    rows: tuple[tuple[str, str, tuple[AccuracyRow | None, ...]], ...]


@dataclass(frozen=True)
class AccuracySection:
    """One evaluation."""

    record: AccuracyRecord
    methods: tuple[str, ...]
    charts: tuple[Chart, ...]
    table: RateTable


def device_sections(records: Sequence[BenchmarkRecord]) -> tuple[DeviceSection, ...]:
    """Devices in the order they come; a device is the same if it has the same name and system."""
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
    """Charts and the table of one evaluation."""
    return AccuracySection(record, tuple(methods_of(record.rows)), charts(record), rate_table(record.rows))


def rate_table(rows: Sequence[AccuracyRow]) -> RateTable:
    """Every task and method, at every rate or None where it was not measured."""
    pruned = [row for row in rows if row.method != UNPRUNED]
    keeps = tuple(sorted({row.keep for row in pruned}, reverse=True))
    found = {(row.task, row.method, row.keep): row for row in pruned}
    names = dict.fromkeys((row.task, row.method) for row in pruned)
    return RateTable(keeps, tuple((*name, tuple(found.get((*name, keep)) for keep in keeps)) for name in names))
