"""Asks a question and its follow-ups, and writes the answers while they are generated."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich.console import Console

from vlmprune_runtime.cli.fields import result_fields
from vlmprune_runtime.conversation import FurtherQuestion
from vlmprune_runtime.events import TIMED_STAGES, Finished, Pruned, RunEvent, RunResult, TextPiece
from vlmprune_runtime.generate import Request, Runner


@dataclass(frozen=True)
class Questions:
    """Holds a first question and the further questions of the same conversation."""

    request: Request
    follow_ups: tuple[FurtherQuestion, ...] = ()

    @property
    def prompts(self) -> tuple[str, ...]:
        """The text of every question in turn."""
        return (self.request.prompt, *(further.prompt for further in self.follow_ups))

    def asked_of(self, runner: Runner) -> Iterator[Iterator[RunEvent]]:
        """Yields the events of each turn; a turn must be run before the next one is asked."""
        yield runner.stream(self.request)
        for further in self.follow_ups:
            yield runner.follow_up(further.prompt, further.images)


def answer(runner: Runner, questions: Questions, as_json: bool, status: Console) -> list[RunResult]:
    """Writes the answers to stdout and their times to stderr, or everything as JSON to stdout."""
    results = []
    for prompt, events in zip(questions.prompts, questions.asked_of(runner), strict=True):
        if questions.follow_ups and not as_json:
            status.print(f"? {prompt}", style="bold")
        results.append(streamed(events, not as_json))
        if not as_json:
            status.print(summary(results[-1]), style="dim", soft_wrap=True)
    if as_json:
        print(json.dumps(turn_fields(questions.prompts, [result_fields(result) for result in results])))
    return results


def turn_fields(prompts: Sequence[str], fields: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the fields of a single turn as they are, and those of several as a list, each with its question."""
    if len(fields) == 1:
        return fields[0]
    return {"turns": [{"prompt": prompt, **turn} for prompt, turn in zip(prompts, fields, strict=True)]}


def streamed(events: Iterator[RunEvent], show_text: bool) -> RunResult:
    """Returns the result; with `show_text` the text is printed piece by piece as it is generated."""
    for event in events:
        if show_text and isinstance(event, TextPiece):
            print(event.text, end="", flush=True)
        if isinstance(event, Finished):
            result = event.result
    if show_text:
        print(flush=True)
    return result


def summary(result: RunResult) -> str:
    """Returns one line with the kept tokens and the times of an answer."""
    times = result.timings
    stages = ", ".join(f"{name} {times.stage_ms(name):.0f}" for name in TIMED_STAGES if times.stage_ms(name))
    kept = "".join(map(kept_tokens, images_of(result.pruned)))
    new = ""
    if result.prefilled_tokens < result.prompt_tokens:
        new = f"{result.prefilled_tokens} of {result.prompt_tokens} tokens are new; "
    speed = times.decode_tokens_per_s
    rate = f"; then {speed:.1f} tokens/s" if speed else ""
    return f"{kept}{new}first token after {times.ttft_ms:.0f} ms ({stages}){rate}"


def images_of(pruned: Sequence[Pruned]) -> list[list[Pruned]]:
    """Returns the views of each image."""
    return [list(views) for _, views in groupby(pruned, key=lambda view: view.image)]


def kept_tokens(views: Sequence[Pruned]) -> str:
    """Says how many visual tokens of an image stay.

    >>> kept_tokens([Pruned((0, 3), (0, 1), 16), Pruned((1, 2), (0, 1), 16, view=1)])
    '4 of 32 visual tokens in 2 views; '
    """
    kept, tokens = sum(len(view.kept) for view in views), sum(view.visual_tokens for view in views)
    return f"{kept} of {tokens} visual tokens{f' in {len(views)} views' if len(views) > 1 else ''}; "
