"""Turns a run's result into plain JSON fields."""

from dataclasses import asdict
from typing import Any

from vlmprune_runtime.events import TIMED_STAGES, Pruned, RunResult, Timings


def result_fields(result: RunResult) -> dict[str, Any]:
    """Returns all fields of a result, with times in milliseconds."""
    return {
        "text": result.text,
        "token_ids": list(result.token_ids),
        "reason": result.reason,
        "prompt_tokens": result.prompt_tokens,
        "prefilled_tokens": result.prefilled_tokens,
        "seen": [asdict(view) for view in result.seen],
        "pruned": [pruned_fields(view) for view in result.pruned],
        "timings": timing_fields(result.timings),
    }


def pruned_fields(pruned: Pruned) -> dict[str, Any]:
    """Returns the kept tokens of one view of an image."""
    return {
        "image": pruned.image,
        "view": pruned.view,
        "visual_tokens": pruned.visual_tokens,
        "kept": list(pruned.kept),
        "rank": list(pruned.rank),
    }


def shown_stages(timings: Timings) -> list[str]:
    """Returns the stages that every run has or that this run ran, in the order in which they are shown."""
    ran = {timed.stage for timed in timings.stages}
    return [stage for stage in TIMED_STAGES if stage in ran or stage not in ("prune_vision", "head")]


def timing_fields(timings: Timings) -> dict[str, Any]:
    """Returns the times of each stage, of the first token, and of the tokens after it."""
    stages = {f"{stage}_ms": round(timings.stage_ms(stage), 3) for stage in shown_stages(timings)}
    speed = timings.decode_tokens_per_s
    return {
        **stages,
        "ttft_ms": round(timings.ttft_ms, 3),
        "decode_ms": [round(ms, 3) for ms in timings.decode_ms],
        "decode_tokens_per_s": None if speed is None else round(speed, 2),
    }
