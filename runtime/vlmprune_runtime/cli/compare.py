"""Answers questions pruned and unpruned, and compares both as a table or as JSON fields."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vlmprune_runtime.cli.fields import result_fields, shown_stages
from vlmprune_runtime.cli.turns import Questions, streamed, turn_fields
from vlmprune_runtime.events import RunResult
from vlmprune_runtime.generate import Runner

MODES = {"unpruned": False, "pruned": True}


def compare(runner: Runner, questions: Questions, as_json: bool, status: Console) -> list[RunResult]:
    """Writes the answers of both modes and their times, and returns the pruned results.

    A warm-up run in both modes keeps the cost of first use out of them.
    """
    with status.status("warming up, pruned and unpruned"):
        for prune in MODES.values():
            warm_up = replace(questions, request=replace(questions.request, prune=prune, max_tokens=1))
            for events in warm_up.asked_of(runner):
                streamed(events, show_text=False)
    results = {mode: answers(runner, questions, mode, show_text=not as_json) for mode in MODES}
    pairs = list(zip(results["unpruned"], results["pruned"], strict=True))
    if as_json:
        print(json.dumps(turn_fields(questions.prompts, [comparison_fields(*pair) for pair in pairs])))
    else:
        Console(highlight=False).print(comparison_table(questions.prompts, pairs))
        status.print("one run each, after one warm-up run each", style="dim")
    return results["pruned"]


def answers(runner: Runner, questions: Questions, mode: str, *, show_text: bool) -> list[RunResult]:
    """Returns the results of all turns in one mode; with `show_text` the answers are printed as they come."""
    results = []
    asked = replace(questions, request=replace(questions.request, prune=MODES[mode]))
    for events in asked.asked_of(runner):
        if show_text:
            print(f"{mode}:".ljust(10), end="", flush=True)
        results.append(streamed(events, show_text))
    return results


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


def comparison_table(prompts: Sequence[str], pairs: Sequence[tuple[RunResult, RunResult]]) -> Table:
    """Returns a table with a part for each turn, unpruned beside pruned.

    A part has a row for every stage, for the first token and for the speed after it, and where there are several
    turns the question and both answers.
    """
    table = Table()
    for name in ("", "unpruned", "pruned", "ratio"):
        table.add_column(name, justify="right" if name else "left", style="bold" if name == "ratio" else None)
    for prompt, pair in zip(prompts, pairs, strict=True):
        if len(pairs) > 1:
            table.add_section()
            table.add_row(escape(prompt), *(escape(result.text) for result in pair))
        add_times(table, *pair)
    return table


def add_times(table: Table, unpruned: RunResult, pruned: RunResult) -> None:
    """Adds the rows of the times of one turn."""
    slow, fast = unpruned.timings, pruned.timings
    for stage in shown_stages(fast):
        if slow.stage_ms(stage) or fast.stage_ms(stage):
            table.add_row(*row(f"{stage}, ms", slow.stage_ms(stage), fast.stage_ms(stage)))
    table.add_section()
    table.add_row(*row("LLM prefill, ms", slow.llm_prefill_ms, fast.llm_prefill_ms))
    table.add_row(*row("first token, ms", slow.ttft_ms, fast.ttft_ms))
    speeds = (slow.decode_tokens_per_s or 0.0, fast.decode_tokens_per_s or 0.0)
    table.add_row(*row("then, tokens/s", *speeds, faster=True))


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
