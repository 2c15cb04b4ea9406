"""Compares a pruned run with an unpruned one, as a table and as JSON fields."""

from typing import Any

from rich.table import Table

from vlmprune_runtime.cli.fields import result_fields, shown_stages
from vlmprune_runtime.events import RunResult


def comparison_fields(unpruned: RunResult, pruned: RunResult) -> dict[str, Any]:
    """Returns both results and how many times sooner the pruned first token came."""
    slow, fast = unpruned.timings, pruned.timings
    return {
        "unpruned": result_fields(unpruned),
        "pruned": result_fields(pruned),
        "ttft_ratio": round(slow.ttft_ms / fast.ttft_ms, 3),
        "llm_prefill_ratio": round(slow.llm_prefill_ms / fast.llm_prefill_ms, 3),
        "same_text": unpruned.text == pruned.text,
        "warm_up_runs": 1,
    }


def comparison_table(unpruned: RunResult, pruned: RunResult) -> Table:
    """Returns a table with a row for every stage, for the first token and for the speed after it."""
    slow, fast = unpruned.timings, pruned.timings
    table = Table()
    for name in ("", "unpruned", "pruned", "ratio"):
        table.add_column(name, justify="right" if name else "left", style="bold" if name == "ratio" else None)
    for stage in shown_stages(fast):
        table.add_row(*row(f"{stage}, ms", slow.stage_ms(stage), fast.stage_ms(stage)))
    table.add_section()
    table.add_row(*row("LLM prefill, ms", slow.llm_prefill_ms, fast.llm_prefill_ms))
    table.add_row(*row("first token, ms", slow.ttft_ms, fast.ttft_ms))
    speeds = (slow.decode_tokens_per_s or 0.0, fast.decode_tokens_per_s or 0.0)
    table.add_row(*row("then, tokens/s", *speeds, faster=True))
    return table


def row(name: str, slow: float, fast: float, faster: bool = False) -> tuple[str, ...]:
    """Returns the cells of one line; the ratio is above 1 where pruning gains.

    >>> row("tail, ms", 300.0, 100.0)
    ('tail, ms', '300.0', '100.0', '3.00x')
    >>> row("prune, ms", 0.0, 2.0)
    ('prune, ms', '-', '2.0', '')
    """
    upper, lower = (fast, slow) if faster else (slow, fast)
    ratio = f"{upper / lower:.2f}x" if upper and lower else ""
    return (name, *(f"{value:.1f}" if value else "-" for value in (slow, fast)), ratio)
