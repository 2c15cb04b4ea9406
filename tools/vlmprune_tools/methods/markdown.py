"""Writes the methods' record as Markdown tables, for pages that show it."""

import re
from collections.abc import Callable, Iterable, Sequence

from vlmprune_runtime.errors import BadRequest, UnknownName
from vlmprune_tools.methods.schema import MethodRow, MethodsRecord
from vlmprune_tools.methods.speed_table import SPEED_HEADS, engines_of, rates_of, speed_cells, timed_on

MAX_NAMED = 8  # methods, of which more are only counted
OVERVIEW_ENGINE = "onnx fp32"  # whose times stand beside the accuracies


def accuracy_markdown(record: MethodsRecord, keeps: Sequence[int] = ()) -> str:
    """Returns a table of accuracies with a column per rate, by falling accuracy at the smallest rate."""
    questions = {row.keep: row.questions for row in record.rows}
    return table_of_rates(record, keeps, lambda keep: f"{keep} (n = {questions[keep]})", accuracy_cell)


def table_of_rates(
    record: MethodsRecord, keeps: Sequence[int], head: Callable[[int], str], cell: Callable[[MethodRow], str]
) -> str:
    """Returns a table with a row per method and a column per rate; a method without a rate has an empty cell there."""
    chosen = rates_of(record, keeps)
    cells = {(row.method, row.keep): cell(row) for row in record.rows}
    methods = by_accuracy(record, chosen[-1])
    body = [[f"`{method}`", *(cells.get((method, keep), "") for keep in chosen)] for method in methods]
    return table(["", *map(head, chosen)], body)


def by_accuracy(record: MethodsRecord, keep: int) -> list[str]:
    """Returns all methods by falling accuracy at one rate; those without it come last."""
    found = {row.method: row.accuracy for row in record.rows if row.keep == keep}
    return sorted(dict.fromkeys(row.method for row in record.rows), key=lambda method: -found.get(method, 0.0))


def accuracy_cell(row: MethodRow) -> str:
    """Returns accuracy and interval in percent, a mark if it is told apart, and the method's own K and mean."""
    own = f"; K {row.kept_tokens}, mean {row.mean_visual_tokens:.0f}"
    return f"{100 * row.accuracy:.1f} [{100 * row.low:.0f}, {100 * row.high:.0f}]{sign_of(row)}{own}"


def sign_of(row: MethodRow) -> str:
    """Returns the mark of a method that is told apart from the first one."""
    return "" if not row.apart else (" **+**" if (row.difference or 0) > 0 else " **-**")


def speed_markdown(record: MethodsRecord, engine: str, keep: int) -> str:
    """Returns a table of the methods that were timed on one engine at one rate, the fastest first."""
    rows = [[f"`{row.method}`", *speed_cells(speed)] for row, speed in timed_on(record, engine, keep)]
    return table(["", *SPEED_HEADS], rows)


def overview_markdown(record: MethodsRecord, keeps: Sequence[int] = ()) -> str:
    """Returns accuracy and time to the first token side by side, a column per rate; see `OVERVIEW_ENGINE`."""
    return table_of_rates(record, keeps, lambda keep: f"{keep} of {record.visual_tokens}", overview_cell)


def overview_cell(row: MethodRow) -> str:
    """Returns a method's accuracy, marked if it is told apart, and its time to the first token, in percent."""
    percents = [f"{100 * speed.first_token_fraction:.0f}" for speed in row.speeds if speed.engine == OVERVIEW_ENGINE]
    return ", ".join([f"{100 * row.accuracy:.1f}{sign_of(row)}", *percents])


def first_token_markdown(record: MethodsRecord) -> str:
    """Returns the time to the first token in percent of the unpruned one, a column per engine and rate."""
    columns = [(engine, keep) for engine in engines_of(record) for keep in rates_of(record)]
    fractions = {
        (row.method, speed.engine, row.keep): f"{100 * speed.first_token_fraction:.0f}"
        for row in record.rows
        for speed in row.speeds
    }
    body = [
        [f"`{method}`", *(fractions.get((method, *column), "-") for column in columns)]
        for method in by_accuracy(record, rates_of(record)[-1])
    ]
    return table(["", *(f"{engine}, {keep}" for engine, keep in columns)], body)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table.

    >>> print(table(["", "a"], [["x", "1"]]))
    |  | a |
    |---|---|
    | x | 1 |
    """
    head, *body = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join([head, "|---" * len(heads) + "|", *body])


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


def all_speeds(record: MethodsRecord) -> list[tuple[str, str]]:
    """Returns a heading and the speed table of every engine and rate that methods were timed at."""
    return [
        (f"{engine}, {keep} kept", speed_markdown(record, engine, keep))
        for engine in engines_of(record)
        for keep in rates_of(record)
        if timed_on(record, engine, keep)
    ]


def folded(tables: Iterable[tuple[str, str]]) -> str:
    """Returns tables for a page, each folded behind its heading."""
    return "\n\n".join(f"<details><summary>{head}</summary>\n\n{body}\n\n</details>" for head, body in tables)


def markdown(record: MethodsRecord) -> str:
    """Returns all tables and verdicts."""
    speeds = [f"**{head}**\n\n{body}" for head, body in all_speeds(record)]
    parts = [verdict_markdown(record), accuracy_markdown(record), *speeds, *record.notes]
    return "\n\n".join(part for part in parts if part) + "\n"


PART = re.compile(r"(<!-- methods: (\w+)((?: \d+)*) -->\n).*?(<!-- end -->)", re.DOTALL)
"""A place of a page that is written from the record: `<!-- methods: accuracy 64 32 -->` up to `<!-- end -->`."""


def filled(page: str, record: MethodsRecord) -> str:
    """Returns a page with its marked places written from the record. Raises `BadRequest` if it has none.

    A place is one of accuracy, overview, verdict, first_token, speed and notes. The first three take rates, and have
    all of them if none is named.
    """

    def text(place: re.Match[str]) -> str:
        keeps = [int(keep) for keep in place[3].split()]
        parts = {
            "accuracy": lambda: accuracy_markdown(record, keeps),
            "overview": lambda: overview_markdown(record, keeps),
            "verdict": lambda: verdict_markdown(record, keeps),
            "first_token": lambda: first_token_markdown(record),
            "speed": lambda: folded(all_speeds(record)),
            "notes": lambda: "\n".join(f"- {note}" for note in record.notes),
        }
        if place[2] not in parts:
            raise UnknownName("place for methods", place[2], parts)
        return f"{place[1]}{parts[place[2]]()}\n{place[4]}"

    if not PART.search(page):
        raise BadRequest("the page has no place for methods; allowed: <!-- methods: accuracy 64 32 --> to <!-- end -->")
    return PART.sub(text, page)
