"""Writes the methods' record as Markdown tables, for pages that show it."""

import re
from collections.abc import Iterable, Sequence

from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_tools.methods.schema import MethodRow, MethodsRecord, Speed

MAX_NAMED = 8  # methods, of which more are only counted


def rates_of(record: MethodsRecord, requested: Sequence[int] = ()) -> list[int]:
    """Returns the requested rates, or all that the record has. Raises `BadRequest` for a rate that it does not have."""
    known = sorted({row.keep for row in record.rows}, reverse=True)
    if missing := sorted(set(requested) - set(known)):
        raise BadRequest(f"the record has no rate {missing[0]}; allowed: {', '.join(map(str, known))}")
    return list(requested) or known


def accuracy_markdown(record: MethodsRecord, keeps: Sequence[int] = ()) -> str:
    """Returns a table of accuracies with a column per rate, by falling accuracy at the smallest rate."""
    chosen = rates_of(record, keeps)
    rows = {(row.method, row.keep): row for row in record.rows}
    methods = sorted(
        dict.fromkeys(row.method for row in record.rows),
        key=lambda method: -(rows[method, chosen[-1]].accuracy if (method, chosen[-1]) in rows else 0.0),
    )
    heads = [f"{keep} (n = {next(row.questions for row in record.rows if row.keep == keep)})" for keep in chosen]
    body = [[f"`{method}`", *(accuracy_cell(rows.get((method, keep))) for keep in chosen)] for method in methods]
    return table(["", *heads], body)


def accuracy_cell(row: MethodRow | None) -> str:
    """Returns accuracy and interval in percent, a mark if it is told apart, and the method's own K and mean."""
    if row is None:
        return ""
    sign = "" if not row.apart else (" **+**" if (row.difference or 0) > 0 else " **-**")
    own = f"; K {row.kept_tokens}, mean {row.mean_visual_tokens:.0f}"
    return f"{100 * row.accuracy:.1f} [{100 * row.low:.0f}, {100 * row.high:.0f}]{sign}{own}"


def speed_markdown(record: MethodsRecord, engine: str, keep: int) -> str:
    """Returns a table of the methods that were timed on one engine at one rate, the fastest first."""
    timed = [(row, speed) for row in record.rows for speed in row.speeds if row.keep == keep and speed.engine == engine]
    timed.sort(key=lambda pair: pair[1].first_token_fraction)
    heads = ["", "first token, of unpruned", "selection", "vision", "head", "tail", "GFLOP", "memory"]
    return table(heads, [speed_cells(row, speed) for row, speed in timed])


def speed_cells(row: MethodRow, speed: Speed) -> list[str]:
    """Returns the cells of one method's speed."""
    spread = f"[{100 * speed.fraction_low:.0f}, {100 * speed.fraction_high:.0f}]"
    stages = [
        f"{speed.stages_ms[name]:.0f} ms" if name in speed.stages_ms else "-" for name in ("vision", "head", "tail")
    ]
    share = 100 * speed.selection_ms / speed.first_token_ms
    return [
        f"`{row.method}`",
        f"{100 * speed.first_token_fraction:.0f} % {spread}",
        f"{speed.selection_ms:.1f} ms ({share:.1f} %)",
        *stages,
        f"{speed.flops / 1e9:.0f}" if speed.flops else "-",
        format_bytes(speed.memory_bytes) if speed.memory_bytes else "-",
    ]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table.

    >>> print(table(["", "a"], [["x", "1"]]))
    |  | a |
    |---|---|
    | x | 1 |
    """
    head, *body = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join([head, "|---" * len(heads) + "|", *body])


def engines_of(record: MethodsRecord) -> list[str]:
    """Returns the engines that any method was timed on."""
    return sorted({speed.engine for row in record.rows for speed in row.speeds})


def verdict_markdown(record: MethodsRecord, keeps: Sequence[int] = ()) -> str:
    """Returns a line per rate that says which methods are above, below and not told apart from the first one."""
    chosen = rates_of(record, keeps)
    return "\n".join(f"- {verdict(record, keep)}" for keep in chosen)


def verdict(record: MethodsRecord, keep: int) -> str:
    """Returns one rate's line. Methods are above or below only where the paired interval leaves no difference out."""
    rows = [row for row in record.rows if row.keep == keep]
    rows.sort(key=lambda row: -row.accuracy)
    others = [row for row in rows if row.method != record.against]
    above = [row for row in others if row.apart and (row.difference or 0) > 0]
    below = [row for row in others if row.apart and (row.difference or 0) < 0]
    same = [row for row in others if not row.apart]
    first = [row.method for row in rows if row.accuracy == rows[0].accuracy]
    return (
        f"**{keep}**, {rows[0].questions} questions: most accurate {_names(first)} ({100 * rows[0].accuracy:.1f} %); "
        f"above `{record.against}`: {_names(row.method for row in above)}; "
        f"below: {_names(row.method for row in below)}; not told apart: {_rest(same)}."
    )


def _rest(rows: Sequence[MethodRow]) -> str:
    """Returns the names of a few methods, and of many the number."""
    return _names(row.method for row in rows) if len(rows) <= MAX_NAMED else f"the other {len(rows)}"


def _names(methods: Iterable[str]) -> str:
    return ", ".join(f"`{method}`" for method in methods) or "none"


def all_speeds(record: MethodsRecord) -> str:
    """Returns the speed tables of every engine and rate, with a heading each."""
    parts = []
    for engine in engines_of(record):
        for keep in rates_of(record):
            if any(speed.engine == engine for row in record.rows if row.keep == keep for speed in row.speeds):
                parts.append(f"**{engine}, rate {keep}**\n\n{speed_markdown(record, engine, keep)}")
    return "\n\n".join(parts)


def markdown(record: MethodsRecord) -> str:
    """Returns all tables and verdicts."""
    parts = [verdict_markdown(record), accuracy_markdown(record), all_speeds(record), *record.notes]
    return "\n\n".join(part for part in parts if part) + "\n"


PART = re.compile(r"(<!-- methods: (\w+)((?: \d+)*) -->\n).*?(<!-- end -->)", re.DOTALL)
"""A place of a page that is written from the record: `<!-- methods: accuracy 64 32 -->` up to `<!-- end -->`."""


def filled(page: str, record: MethodsRecord) -> str:
    """Returns a page with its marked places written from the record. Raises `BadRequest` if it has none.

    A place is one of accuracy, verdict, speed and notes, the first two with rates, all of them if none is named.
    """

    def text(place: re.Match[str]) -> str:
        keeps = [int(keep) for keep in place[3].split()]
        parts = {
            "accuracy": lambda: accuracy_markdown(record, keeps),
            "verdict": lambda: verdict_markdown(record, keeps),
            "speed": lambda: all_speeds(record),
            "notes": lambda: "\n".join(f"- {note}" for note in record.notes),
        }
        if place[2] not in parts:
            raise UnknownName("place for methods", place[2], parts)
        return f"{place[1]}{parts[place[2]]()}\n{place[4]}"

    if not PART.search(page):
        raise BadRequest("the page has no place for methods; allowed: <!-- methods: accuracy 64 32 --> to <!-- end -->")
    return PART.sub(text, page)
