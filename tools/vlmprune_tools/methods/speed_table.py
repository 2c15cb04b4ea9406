"""The rates and engines of a record of methods and the rows of its speeds, which pages and the report share."""

from collections.abc import Sequence

from vlmprune_runtime.byte_size import format_bytes
from vlmprune_runtime.errors import BadRequest
from vlmprune_tools.methods.schema import MethodRow, MethodsRecord, Speed

SPEED_HEADS = ("first token, of unpruned", "selection", "vision", "head", "tail", "GFLOP", "memory")
STAGES = ("vision", "head", "tail")


def rates_of(record: MethodsRecord, requested: Sequence[int] = ()) -> list[int]:
    """Returns the requested rates, or all that the record has. Raises `BadRequest` for a rate that it does not have."""
    known = sorted({row.keep for row in record.rows}, reverse=True)
    if missing := sorted(set(requested) - set(known)):
        raise BadRequest(f"the record has no rate {missing[0]}; allowed: {', '.join(map(str, known))}")
    return list(requested) or known


def engines_of(record: MethodsRecord) -> list[str]:
    """Returns the engines that any method was timed on."""
    return sorted({speed.engine for row in record.rows for speed in row.speeds})


def timed_on(record: MethodsRecord, engine: str, keep: int) -> list[tuple[MethodRow, Speed]]:
    """Returns the methods that were timed on one engine at one rate, the fastest first."""
    timed = [(row, speed) for row in record.rows for speed in row.speeds if row.keep == keep and speed.engine == engine]
    return sorted(timed, key=lambda pair: pair[1].first_token_fraction)


def speed_cells(speed: Speed) -> Sequence[str]:
    """Returns the texts of one method's speed, one for each of `SPEED_HEADS`."""
    spread = f"[{100 * speed.fraction_low:.0f}, {100 * speed.fraction_high:.0f}]"
    share = 100 * speed.selection_ms / speed.first_token_ms
    return [
        f"{100 * speed.first_token_fraction:.0f} % {spread}",
        f"{speed.selection_ms:.1f} ms ({share:.1f} %)",
        *(f"{speed.stages_ms[name]:.0f} ms" if name in speed.stages_ms else "-" for name in STAGES),
        f"{speed.flops / 1e9:.0f}" if speed.flops else "-",
        format_bytes(speed.memory_bytes) if speed.memory_bytes else "-",
    ]
